"""Prompts: an instruction, exemplars with rationales, and the cue that marks the answer (paper, section 3.1)."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from dsbs.records import Example, Request


@dataclass
class Exemplar:
    """A worked example: what the teacher is shown.

    Attributes:
        input: as an ``Example``'s input.
        rationale: why the answer is right.
        answer: the answer in the task's canonical form.
        choices: the closed answers of this exemplar where they differ from example to example.
    """

    input: str = "???"
    rationale: str = "???"
    answer: str = "???"
    choices: list[str] = field(default_factory=list)


@dataclass
class Prompt:
    """How a task is put to a teacher.

    Attributes:
        name: the option's name in ``conf/prompt/``.
        instruction: what the teacher is told first; may be empty.
        cue: the words that mark the answer in the exemplars, such as ``So the answer is``.
        show_choices: whether the question lists the example's choices as ``(a) ...`` and the answers name the letter.
        exemplars: the worked examples, in the order shown.
    """

    name: str = "???"
    instruction: str = ""
    cue: str = "So the answer is"
    show_choices: bool = False
    exemplars: list[Exemplar] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        raise NotImplementedError

    def request(self, example: Example, split: str, sample: int = 0) -> Request:
        """Return the question about an example."""
        raise NotImplementedError

    def leaks(self, examples: Iterable[Example]) -> list[str]:
        """Return the ids of examples that are exemplars of this prompt (compared without case, space and punctuation)."""
        raise NotImplementedError

    def identity(self) -> dict[str, object]:
        """Return what decides a request besides the example."""
        raise NotImplementedError
