"""What a teacher is: something that answers requests. A dataclass whose fields are its configuration.

``connect`` yields an ``Ask``. It may carry two attributes: ``several``, which answers several samples of one question
with a single request, and ``limits``, a ``ServerLimits`` that it keeps up to date.
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from dsbs.core.names import name_faults
from dsbs.core.records import Completion, Request
from dsbs.tasks.base import Task
from dsbs.teachers.prices import Rates

if TYPE_CHECKING:
    from dsbs.teachers.batches import BatchApi

Ask = Callable[[Request], Awaitable[Completion]]
AskSeveral = Callable[[Sequence[Request]], Awaitable[list[Completion]]]


@dataclass
class Teacher:
    """Base of all teachers.

    Attributes:
        kind: which class this is; a key of ``dsbs.teachers.TEACHERS``.
        name: name in folders and reports; the option's name in ``conf/teacher/``.
        model: the model's name; None if there is only one.
        path: files that the teacher reads, or None.
        licence: license or terms of its outputs, for model cards; None: unknown.
    """

    # What it is where it is no language model, for everything that shows a figure of its students; None: it is one.
    stand_in: ClassVar[str | None] = None

    kind: str = "???"
    name: str = "???"
    model: str | None = None
    path: str | None = None
    licence: str | None = None

    @property
    def free(self) -> bool:
        """Whether asking costs nothing, so that ``dsbs.train`` may extract by itself."""
        return False

    @property
    def by_id(self) -> bool:
        """Whether completions belong to examples rather than to questions, as in a replay."""
        return False

    @property
    def has_batches(self) -> bool:
        """Whether it can be asked through a batch API (``executor=batch``)."""
        return False

    @property
    def tells_logprobs(self) -> bool:
        """Whether its completions may come with log-probabilities of their tokens."""
        return False

    @property
    def most_written(self) -> int | None:
        """Most tokens of a completion, or None where there is no such bound."""
        return None

    def rates(self) -> Rates | None:
        """Return dollars per token read and per token written, or None where no price is known."""
        return (0.0, 0.0) if self.free else None

    def batch_rates(self) -> tuple[Rates | None, bool]:
        """Return the same for what is asked through a batch API, and whether that is known or assumed."""
        return self.rates(), True

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        return name_faults("teacher.name", self.name)

    def identity(self) -> dict[str, object]:
        """Return what decides a completion: model and sampling settings, never an address or a key."""
        raise NotImplementedError

    def announce(self) -> None:
        """Tell the user where their key is sent, before the first request; by default there is none."""

    def connect(self, task: Task) -> AbstractAsyncContextManager[Ask]:
        """Open the teacher: ``async with teacher.connect(task) as ask: completion = await ask(request)``.

        Raises:
            TeacherError: where it cannot be reached or does not fit the task.
        """
        raise NotImplementedError

    def connect_batches(self) -> AbstractAsyncContextManager["BatchApi"]:
        """Open the teacher's batch API; only where ``has_batches``."""
        raise NotImplementedError
