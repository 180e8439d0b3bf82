"""A package that adds a task, a teacher, students, an objective and a filter; ``docs/extending.md`` shows it."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from dsbs.core.records import Annotation, Completion, Example, Request, Target
from dsbs.objectives import StepByStep
from dsbs.students import T5Scratch
from dsbs.tasks import Task
from dsbs.tasks.answers import ClosedAnswers
from dsbs.teachers import Ask, Teacher

SIDES = {"triangle": 3, "square": 4, "pentagon": 5}


@dataclass
class ShapesTask(Task):
    """Which shape has so many sides?

    Attributes:
        size: examples in each split.
    """

    kind: str = "shapes"
    size: int = 24

    @property
    def answers(self) -> ClosedAnswers:
        """One of the shapes."""
        return ClosedAnswers()

    def splits(self) -> tuple[str, ...]:
        """All three."""
        return ("train", "validation", "test")

    def examples(self, split: str) -> Iterator[Example]:
        """Yield questions about shapes in turn."""
        for number in range(self.size):
            shape = list(SIDES)[number % len(SIDES)]
            text = f"{split} {number}: which shape has {SIDES[shape]} sides?"
            yield Example(f"{split}-{number}", text, shape, tuple(SIDES))

    def identity(self) -> dict[str, object]:
        """The size makes the examples."""
        return {"kind": self.kind, "size": self.size}


@dataclass
class OracleTeacher(Teacher):
    """Knows the shapes."""

    kind: str = "oracle"
    model: str | None = "oracle"

    free = True

    def identity(self) -> dict[str, object]:
        """There is only one."""
        return {"kind": self.kind}

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        """Open the oracle."""
        yield self._answer

    async def _answer(self, request: Request) -> Completion:
        shape = next(name for name, sides in SIDES.items() if f"{sides} sides" in request.question)
        return Completion(f"It has {SIDES[shape]} sides. Answer: {shape}", "stop", "oracle")


def names_no_sides(example: Example, annotation: Annotation) -> bool:
    """Refuse a rationale that names no number of sides."""
    return not any(f"{sides} sides" in (annotation.rationale or "") for sides in SIDES.values())


@dataclass
class SmallStudent(T5Scratch):
    """A very small T5."""

    kind: str = "small"
    vocab_size: int = 300
    d_model: int = 32
    d_kv: int = 16
    d_ff: int = 32
    num_heads: int = 2


@dataclass
class WithHints(StepByStep):
    """Step by step, with a hint as a third kind of target."""

    kind: str = "with_hints"

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return label and rationale, and a hint."""
        return [*super().targets(example, annotation), Target("hint", "Count the sides.", 0.1)]
