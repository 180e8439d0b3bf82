"""The definition of an extraction: examples, prompt, teacher, and the folder of its results."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.records import Annotation, Completion, Example, Request
from dsbs.extraction.annotations import STORE
from dsbs.extraction.filters import Filter
from dsbs.extraction.prompts import Prompt
from dsbs.extraction.settings import ExtractionSettings
from dsbs.store import CompletionStore, Origin
from dsbs.tasks.base import Task
from dsbs.teachers.base import Teacher

BATCH = 500


@dataclass
class Job:
    """One extraction.

    Attributes:
        task, teacher, prompt, filter: its parts.
        folder: the folder of store, annotations and summary (``dsbs.extraction.annotations.variant_dir``).
        splits: the source's splits to ask about.
        select: split -> ids to ask about; a split that is missing here is asked about completely. None: all are.
        settings: pace, retries and budget.
        neighbours: a folder of other extractions, whose completions of the same requests are reused; None: none.
        base: the name of the folder for one sample without a filter; empty: that of ``folder``.
    """

    task: Task
    teacher: Teacher
    prompt: Prompt
    folder: Path
    splits: Collection[str]
    filter: Filter = field(default_factory=Filter)
    select: Mapping[str, Collection[str]] | None = None
    settings: ExtractionSettings = field(default_factory=ExtractionSettings)
    neighbours: Path | None = None
    base: str = ""

    @property
    def store_path(self) -> Path:
        """The path of the store of completions."""
        return self.folder / STORE

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The identities of task, teacher and prompt; computed once, since hashing a large model takes a while."""
        return {
            "task": self.task.identity() | {"name": self.task.name},
            "teacher": self.teacher.identity(),
            "prompt": self.prompt.identity(),
        }

    @property
    def asker(self) -> str:
        """A name for teacher and prompt; extractions that share it may ask the same questions."""
        return f"{self.teacher.name}-{fingerprint([self.identity['teacher'], self.identity['prompt']])}"

    def check(self) -> None:
        """Check splits, samples and exemplars against task and teacher.

        Raises:
            ConfigError: with what to type.
        """
        if self.settings.samples > 1 and (greedy := self.teacher.greedy):
            raise ConfigError(
                f"samples={self.settings.samples} with {greedy}: all samples would be the same. Type "
                f"{greedy.partition('=')[0]}=0.7, or samples=1."
            )
        if faults := [] if self.teacher.by_id else list(self._exemplar_faults()):
            raise ConfigError.from_faults(faults)
        known = self.task.splits()
        unknown = [split for split in self.splits if split not in known]
        if unknown or not self.splits:
            raise ConfigError(
                f"splits=[{','.join(self.splits)}]: task {self.task.name} has the splits {', '.join(known) or 'none'}. "
                f"Type splits=[{','.join(known)}]."
            )

    def _exemplar_faults(self) -> Iterator[str]:
        """Yield the exemplars whose answer is none of the task's: they would teach the teacher to answer so."""
        answers = self.task.answers
        labels = getattr(answers, "labels", None)
        closed = hasattr(answers, "labels")
        for number, exemplar in enumerate(self.prompt.exemplars):
            key, answer = f"prompt.exemplars[{number}].answer={exemplar.answer!r}", exemplar.answer
            if labels and answer not in labels:
                yield f"{key}: not an answer of task {self.task.name}; expected one of {', '.join(labels)}."
            elif (exemplar.choices or not closed) and not answers.equivalent(
                answers.parse(answer, tuple(exemplar.choices) or None), answer
            ):
                yield f"{key}: task {self.task.name} cannot parse it as an answer."

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a split to ask about."""
        wanted = self.select.get(split) if self.select is not None else None
        return (example for example in self.task.examples(split) if wanted is None or example.id in wanted)

    def requests(self, example: Example, split: str) -> list[Request]:
        """Return the requests of an example, one for every sample."""
        return [self.prompt.request(example, split, sample) for sample in range(self.settings.samples)]

    def annotate(self, example: Example, completion: Completion) -> Annotation:
        """Return the annotation that a completion gives."""
        return self.prompt.annotate(example, completion, self.task.answers, self.teacher.most_written)

    def register(self, store: CompletionStore) -> Origin:
        """Register the origin of the requests in a store, and return it.

        Raises:
            DataError: where there is no example to ask about.
        """
        for split in self.splits:
            for example in self.examples(split):
                request = self.prompt.request(example, split)
                return store.origin(self.identity, request, by_id=self.teacher.by_id)
        raise DataError(f"task {self.task.name}: no examples in {', '.join(self.splits)}; there is nothing to ask.")


def batches(examples: Iterator[Example]) -> Iterator[list[Example]]:
    """Yield lists of examples, so that memory does not grow with their number."""
    while batch := list(islice(examples, BATCH)):
        yield batch
