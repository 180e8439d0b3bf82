"""The base of teachers, which answer requests; dataclasses whose fields are their configuration.

``connect`` yields an ``Ask``, a function from request to completion. It may have two attributes: ``several``, an
``AskSeveral`` that gets several samples of one question with a single HTTP request, and ``limits``, the
``ServerLimits`` of the last reply.
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
    from dsbs.teachers.endpoint.batches import BatchApi

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

    # A sentence on what it is if it is not a language model, shown beside all figures of its students; else None.
    stand_in: ClassVar[str | None] = None
    # Whether asking costs nothing, so that ``dsbs.train`` may start an extraction.
    free: ClassVar[bool] = False
    # Whether completions belong to examples, not to questions, as in a replay of files.
    by_id: ClassVar[bool] = False
    # Whether it can be asked through a batch API (``executor=batch``).
    has_batches: ClassVar[bool] = False

    kind: str = "???"
    name: str = "???"
    model: str | None = None
    path: str | None = None
    licence: str | None = None

    @property
    def gives_logprobs(self) -> bool:
        """Whether its completions may have log-probabilities of their tokens."""
        return False

    @property
    def repeats_gold(self) -> bool:
        """Whether its labels are the gold labels, so that nothing is known about its accuracy."""
        return False

    @property
    def greedy(self) -> str | None:
        """The setting with which all samples of a question are the same, such as ``teacher.temperature=0``, or None."""
        return "teacher.temperature=0" if getattr(self, "temperature", None) == 0 else None

    @property
    def most_written(self) -> int | None:
        """Maximum tokens of a completion, or None where there is no bound."""
        return None

    def rates(self) -> Rates | None:
        """Return dollars per prompt token and per completion token, or None where no price is known."""
        return (0.0, 0.0) if self.free else None

    def batch_rates(self) -> tuple[Rates | None, bool]:
        """Return the rates of the batch API, and whether they are known; else they are assumed."""
        return self.rates(), True

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        return name_faults("teacher.name", self.name)

    def identity(self) -> dict[str, object]:
        """Return what decides a completion: model and sampling settings, never an address or an API key."""
        raise NotImplementedError

    def announce(self) -> None:
        """Log to which host the API key is sent, before the first request; by default there is none."""

    def connect(self, task: Task) -> AbstractAsyncContextManager[Ask]:
        """Return a context manager: ``async with teacher.connect(task) as ask: completion = await ask(request)``.

        Raises:
            TeacherError: where it cannot be reached or does not fit the task.
        """
        raise NotImplementedError

    def connect_batches(self) -> AbstractAsyncContextManager["BatchApi"]:
        """Return an async context manager that yields the batch API; only where ``has_batches``."""
        raise NotImplementedError
