"""Answers of the server: by the student, in batches, reviewed by a referee (``dsbs.serving.referee``)."""

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
    """An answer and its source.

    Attributes:
        source: ``student`` or ``teacher``.
        note: why the student answered instead of the teacher, or None.
        student: the student's prediction, if the teacher answered.
    """

    prediction: Prediction
    source: str = STUDENT
    note: str | None = None
    student: Prediction | None = None


@dataclass(frozen=True)
class NoAnswer:
    """Why the teacher gave no answer.

    Attributes:
        outcome: label of the metric.
    """

    outcome: str
    why: str


class Referee(Protocol):
    """Reviews the student's answers and may replace them by the teacher's."""

    def running(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Return a context within which the teacher can be asked."""

    async def review(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Answered]:
        """Return the answers to give, in the order of the examples."""

    async def opinion(self, example: Example) -> Annotation | NoAnswer:
        """Return the teacher's answer to an example, whatever the student's confidence."""


class Answerer:
    """Answers requests."""

    def __init__(self, service: Service, limits: Limits, metrics: Metrics, referee: Referee | None = None) -> None:
        self.service, self.metrics, self.referee = service, metrics, referee
        self.batcher = Batcher(service.answer, limits, metrics.batch_size.observe)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Answer requests within the context; those in flight are finished at its end."""
        async with contextlib.AsyncExitStack() as stack:
            if self.referee is not None:
                await stack.enter_async_context(self.referee.running())
            self.batcher.start()
            stack.push_async_callback(self.batcher.stop)
            yield

    async def answer(self, examples: Sequence[Example], rationale: bool) -> list[Answered]:
        """Return the answers to examples, in their order.

        Raises:
            Full: the queue is full, or a request timed out in it.
        """
        predictions = await self.batcher.ask(examples, rationale)
        if self.referee is None:
            found = [Answered(prediction) for prediction in predictions]
        else:
            found = await self.referee.review(examples, predictions)
        for one in found:
            label = one.prediction.label if self.service.student.remembered.choices else "free"
            self.metrics.answers.labels(str(label), one.source).inc()
        self.metrics.truncated.inc(sum(prediction.truncated for prediction in predictions))
        return found
