"""The base of tasks: where examples come from, how answers are parsed, and how they are scored.

A task is a dataclass whose fields are its configuration; ``conf/task/*.yaml`` sets them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from dsbs.core.names import name_faults
from dsbs.core.records import Example

ACCURACY = "accuracy"  # the metric of right and wrong answers


class Answers(Protocol):
    """How the answers of a task are parsed from text and compared."""

    def parse(self, text: str, choices: tuple[str, ...] | None) -> str | None:
        """Return the answer that a text gives, in canonical form; None where it gives none of the task's answers.

        Implementations undo what tokenizers do to spacing and case.

        Args:
            text: what follows the cue in a completion, or what a student wrote.
            choices: the closed answers of the example, or None.
        """

    def parse_alone(self, text: str, choices: tuple[str, ...] | None) -> str | None:
        """Return the answer given by a line without a cue, if the line is nothing but an answer; else None."""

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Return whether two answers in canonical form mean the same; None is equivalent to nothing."""


@dataclass
class Task:
    """Base of all tasks.

    Attributes:
        kind: which class this is; a key of ``dsbs.tasks.TASKS``.
        name: name in folders and reports; the option's name in ``conf/task/``.
        path: a folder or file with the data; None: the task's own source.
        validation_share: fraction of train used for validation where the source has no validation split.
        validation_fraction: whether the validation split, cut off or its own, shrinks with ``data_fraction``.
    """

    kind: str = "???"
    name: str = "???"
    path: str | None = None
    validation_share: float = 0.1
    validation_fraction: bool = False

    @property
    def answers(self) -> Answers:
        """How answers of this task are parsed and compared."""
        raise NotImplementedError

    @property
    def metric(self) -> str:
        """The name of the metric that ``score`` returns, as in ``metrics.json`` and plots; higher is better."""
        return ACCURACY

    def score(self, prediction: str | None, gold: str) -> float:
        """Return the score of one answer; that of a data set is the mean over its examples.

        By default 1 for an answer that is equivalent to the gold one, else 0.

        Args:
            prediction: the answer in canonical form, or None where there is none.
            gold: the gold answer.
        """
        return float(self.answers.equivalent(prediction, gold))

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each with the key and what to type."""
        faults = name_faults("task.name", self.name)
        if not 0 < self.validation_share < 1:
            faults.append(f"task.validation_share={self.validation_share}: expected between 0 and 1.")
        return faults

    def settled(self) -> "Task":
        """Return the task with all that was found in its data (such as labels) as settings; checkpoints save that."""
        return self

    def splits(self) -> tuple[str, ...]:
        """Return the names of the splits that the source has, among train, validation and test.

        Raises:
            DataError: where the source cannot be found.
        """
        raise NotImplementedError

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a split in the source's order, one at a time.

        Raises:
            DataError: with file, line and what is wrong.
        """
        raise NotImplementedError

    def hidden_facts(self, example: Example) -> str | None:
        """Return the facts that an example's rationale should name, in a few words; None where the task has none."""
        return None

    def data_counts(self) -> dict[str, dict[str, int]]:
        """Return split -> unexpected finding -> number of rows, for the splits that were read to their end."""
        return {}

    def remarks(self) -> list[str]:
        """Return ``data_counts`` in words, a sentence for each split."""
        return []

    def changed(self) -> bool:
        """Return whether the data is no longer that of ``identity``."""
        return False

    def identity(self) -> dict[str, object]:
        """Return what decides the examples: settings and a hash of the content, but no paths."""
        raise NotImplementedError
