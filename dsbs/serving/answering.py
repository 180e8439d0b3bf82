"""Who answers: the student, in batches; and where it is unsure, the teacher (``dsbs.serving.deferral``)."""

import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from dsbs.core.records import Annotation, Example, Prediction
from dsbs.serving.batcher import Batcher
from dsbs.serving.metrics import Metrics
from dsbs.serving.service import Service
from dsbs.serving.settings import Limits

STUDENT, TEACHER = "student", "teacher"


@dataclass(frozen=True)
class Answered:
    """An answer, and who gave it.

    Attributes:
        prediction: the answer.
        source: ``student`` or ``teacher``.
        note: why the student answered where the teacher was to, or None.
        student: what the student would have answered, where the teacher did.
    """

    prediction: Prediction
    source: str = STUDENT
    note: str | None = None
    student: Prediction | None = None


@dataclass(frozen=True)
class Silence:
    """Why a teacher said nothing.

    Attributes:
        outcome: a word for it, as it is counted.
        why: in words.
    """

    outcome: str
    why: str


class Referee(Protocol):
    """Looks at the student's answers and may put others in their place."""

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Be ready while the server runs."""

    async def review(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Answered]:
        """Return the answers to give."""

    async def opinion(self, example: Example) -> Annotation | Silence:
        """Return what the teacher says to an example, whatever the student thinks."""


class Answerer:
    """Answers requests.

    Args:
        service: the student.
        limits: sizes and times.
        referee: who reviews the student's answers, or None.
    """

    def __init__(self, service: Service, limits: Limits, metrics: Metrics, referee: Referee | None = None) -> None:
        self.service, self.metrics, self.referee = service, metrics, referee
        self.batcher = Batcher(service.answer, limits, metrics.batch_size.observe)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer as long as the server runs; requests under way end before it does."""
        async with contextlib.AsyncExitStack() as stack:
            if self.referee is not None:
                await stack.enter_async_context(self.referee.running())
            self.batcher.start()
            stack.push_async_callback(self.batcher.stop)
            yield

    async def answer(self, examples: Sequence[Example], rationale: bool) -> list[Answered]:
        """Return the answers to examples, in their order.

        Raises:
            Full: where there is no room for them.
        """
        predictions = await self.batcher.ask(examples, rationale)
        if self.referee is None:
            found = [Answered(prediction) for prediction in predictions]
        else:
            found = await self.referee.review(examples, predictions)
        for one in found:
            label = one.prediction.label if self.service.student.remembered.choices else "free"
            self.metrics.answers.labels(str(label), one.source).inc()
        return found
