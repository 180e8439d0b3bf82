"""The teacher as fallback: asked where the student is unsure, within a budget; its answers are stored."""

import asyncio
import contextlib
import logging
import math
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

from dsbs.core.errors import DsbsError, TeacherError
from dsbs.core.records import LABELLED, Annotation, Completion, Example, Prediction, Request
from dsbs.deferral.policy import Policy
from dsbs.extraction.budget import Spending
from dsbs.extraction.committing import Committer
from dsbs.extraction.prompts import Prompt
from dsbs.extraction.retrying import Retrying
from dsbs.extraction.settings import ExtractionSettings
from dsbs.serving.answering import STUDENT, TEACHER, Answered, NoAnswer
from dsbs.serving.metrics import Metrics
from dsbs.serving.settings import Deferral
from dsbs.serving.traffic import TrafficStore
from dsbs.store import CompletionStore, Origin
from dsbs.tasks.base import Task
from dsbs.teachers.base import Ask, Teacher

logger = logging.getLogger(__name__)
SPLIT = "served"
# Recent answers whose shares of labels and deferrals are compared with those on validation.
WINDOW = 500
DRIFT = 0.15  # the least difference that is reported


class Referee:
    """Reviews the student's answers.

    Args:
        policy: confidence and threshold.
        mode: ``defer``: the teacher answers where the student is unsure; ``shadow``: it answers everything.
    """

    def __init__(
        self,
        policy: Policy,
        teacher: Teacher,
        task: Task,
        prompt: Prompt,
        mode: str,
        deferral: Deferral,
        store: Path,
        metrics: Metrics,
        traffic: TrafficStore | None = None,
    ) -> None:
        self.policy, self.teacher, self.task, self.prompt = policy, teacher, task, prompt
        self.mode, self.deferral, self.path, self.metrics, self.traffic = mode, deferral, store, metrics, traffic
        self.room = asyncio.Semaphore(deferral.concurrency)
        patience = ExtractionSettings(attempts=deferral.attempts, backoff=0.2, max_backoff=2.0)
        self.retrying = Retrying(patience, _worth_retrying, asyncio.sleep)
        self.labels: Counter[str] = Counter()
        self.deferrals = 0
        self._background: set[asyncio.Task[Answered]] = set()
        self._asking: dict[bytes, asyncio.Task[Completion | NoAnswer]] = {}  # by the key of the question
        self._ask: Ask | None = None

    def replace(self, policy: Policy, task: Task) -> None:
        """Use another student's policy, and its task to read answers; labels seen so far are none of its drift."""
        self.policy, self.task = policy, task
        self.labels.clear()
        self.deferrals = 0
        self.metrics.forget_drift()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connect to the teacher within the context; at its end, pending answers are awaited and stored."""
        async with contextlib.AsyncExitStack() as stack:
            store = stack.enter_context(CompletionStore(self.path))
            # Another connection than the one that the committer's thread writes with.
            self._known = stack.enter_context(CompletionStore(self.path, read_only=True))
            example = Example("0", "warm-up")
            identity = {"teacher": self.teacher.identity(), "prompt": self.prompt.identity(), "served": self.task.name}
            self.origin: Origin = store.origin(identity, self.prompt.request(example, SPLIT))
            totals = store.totals(self.origin)
            self.spending = Spending(self.deferral.budget, self.teacher.rates(), totals, self.teacher.most_written)
            self.spending.check()
            self.committer = await stack.enter_async_context(Committer(store, self.origin, lambda arrival: None))
            self._ask = await stack.enter_async_context(self.teacher.connect(self.task))
            yield
            if pending := [*self._background, *self._asking.values()]:
                await asyncio.wait(pending)
        if self.traffic is not None:
            self.traffic.close()

    async def review(self, examples: Sequence[Example], predictions: Sequence[Prediction]) -> list[Answered]:
        """Return the answers to give: the teacher's where it is asked and answers, else the student's."""
        return list(await asyncio.gather(*map(self._review, examples, predictions)))

    async def _review(self, example: Example, prediction: Prediction) -> Answered:
        prediction = replace(prediction, confidence=self.policy.confidence(prediction))
        unsure = self.policy.defers(prediction)
        self._watch(prediction, unsure)
        if unsure or self.mode == "shadow":
            return await self._consult(example, prediction)
        if random.random() < self.deferral.compare:  # noqa: S311 - a sample
            task = asyncio.create_task(self._consult(example, prediction))
            self._background.add(task)
            task.add_done_callback(self._background.discard)
        return Answered(prediction)

    async def _consult(self, example: Example, prediction: Prediction) -> Answered:
        """Return the teacher's answer; if there is none, the student's with a note why."""
        found = await self.opinion(example)
        if isinstance(found, NoAnswer):
            self.metrics.deferred.labels(found.outcome).inc()
            unsure = ", though it is unsure" * self.policy.defers(prediction)
            return Answered(prediction, STUDENT, f"{found.why}; the student answered{unsure}")
        self.metrics.deferred.labels(TEACHER).inc()
        same = self.task.answers.equivalent(found.label, prediction.label)
        deferred = self.policy.defers(prediction)
        self.metrics.compared.labels("same" if same else "other", str(deferred).lower()).inc()
        if self.traffic is not None:
            record = (prediction.confidence, deferred, prediction.label, found.label)
            try:
                await asyncio.to_thread(self.traffic.compare, *record)
            except DsbsError as error:  # a full disk, of which no request is to fail
                logger.error("a comparison was NOT recorded: %s", error)
        answer = Prediction(prediction.id, None, found.label, found.rationale or None)
        return Answered(answer, TEACHER, student=prediction)

    async def opinion(self, example: Example) -> Annotation | NoAnswer:
        """Return the teacher's answer: the stored one to the same question, else a new one within the budget.

        Equal questions at the same time are one request, which goes on if a client that waits for it is gone.
        """
        request = self.prompt.request(example, SPLIT)
        key = self.origin.key(request)
        completion = self._known.completions([key]).get(key)
        if completion is None:
            if key not in self._asking:
                asking = asyncio.create_task(self._question(replace(request, id=f"served-{key.hex()[:16]}")))
                self._asking[key] = asking
                asking.add_done_callback(lambda done: self._asking.pop(key))
            found = await asyncio.shield(self._asking[key])
            if isinstance(found, NoAnswer):
                return found
            completion = found
        annotation = self.prompt.annotate(example, completion, self.task.answers, self.teacher.most_written)
        if annotation.label is None or annotation.status not in LABELLED:
            return NoAnswer("unread", "the teacher's answer could not be parsed")
        return annotation

    async def _question(self, request: Request) -> Completion | NoAnswer:
        """Ask the teacher within the budget, and store its answer."""
        cost = self.spending.estimate(self.spending.characters(request))
        if self.spending.exceeded(cost):
            return NoAnswer("over_budget", "the teacher's budget is used up")
        self.spending.reserve(cost)
        sent = False
        try:
            async with asyncio.timeout(self.deferral.timeout_s), self.room:
                assert self._ask is not None
                sent = True
                completion: Completion = await self.retrying(self._ask, request)
        except (TeacherError, TimeoutError) as error:
            late = isinstance(error, TimeoutError)
            if late and sent:
                self.spending.lose(cost)
            reason = "did not answer in time" if late else "is not available"
            logger.warning("the teacher %s: %s", reason, str(error).splitlines()[0] if str(error) else "timeout")
            return NoAnswer("unavailable", f"the teacher {reason}")
        finally:
            self.spending.reserve(cost, -1)
        self.spending.count(request, completion)
        try:
            await self.committer.commit((request, completion))
        except DsbsError as error:  # it is paid for, so it is given all the same
            logger.error("the teacher's answer was given and NOT stored: %s", error)
        return completion

    def _watch(self, prediction: Prediction, deferred: bool) -> None:
        """Update the shares of labels and deferrals; warn where they drift from those on validation."""
        self.labels[str(prediction.label)] += 1
        self.deferrals += deferred
        total, known = self.labels.total(), self.policy.labels
        if total < WINDOW:
            return
        rate = self.deferrals / total
        self.metrics.rate.set(rate)
        if known:
            labels = {*self.labels, *known}
            shift = sum(abs(self.labels[one] / total - known.get(one, 0.0)) for one in labels) / 2
            self.metrics.shift.set(shift)
            if shift > max(DRIFT, shift_by_chance(len(labels), total, self.policy.examples)):
                logger.warning(
                    "the last %d answers differ from validation: %.0f%% of labels shifted", total, 100 * shift
                )
        drift = max(DRIFT, shift_by_chance(2, total, self.policy.examples))
        if self.mode == "defer" and abs(rate - self.policy.share) > drift:
            logger.warning(
                "%.0f%% of the last %d answers were deferred, %.0f%% on validation",
                100 * rate,
                total,
                100 * self.policy.share,
            )
        self.labels.clear()
        self.deferrals = 0


def shift_by_chance(outcomes: int, *samples: int) -> float:
    """Return the total variation distance of two samples' shares that chance exceeds in at most 5% of cases.

    It is a bound on its mean, and one on what exceeds that (McDiarmid 1989).

    Args:
        samples: their sizes; 0: unknown, taken as without noise.

    >>> round(shift_by_chance(4, 500, 500), 2), round(shift_by_chance(4, 500, 16), 2)
    (0.14, 0.56)
    """
    noise = sum(1 / size for size in samples if size)
    return math.sqrt(outcomes * noise) / 2 + math.sqrt(noise * math.log(20) / 2)


def _worth_retrying(error: BaseException) -> bool:
    return isinstance(error, TeacherError) and error.retryable and not error.fatal
