"""``executor=ray``: requests through Ray actors, one per node; this process hands out, commits and keeps the budget.

What an actor was given stays listed here until its answer is in the main store. When an actor is lost, its shard is
read if it can be reached from here, and what is still missing goes to another one.
"""

import asyncio
import contextlib
import copy
import dataclasses
import logging
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from dsbs.core.errors import RunError
from dsbs.core.records import Completion, Request
from dsbs.extraction.budget import Reservation
from dsbs.extraction.executors.base import Executor, Parts, QuestionQueue, describe_pace
from dsbs.extraction.executors.ray_actor import Report, Worker, WorkerConfig
from dsbs.extraction.executors.ray_cluster import count_actors, explain_loss, list_nodes, open_ray, start_actor
from dsbs.extraction.executors.ray_shards import merge_shards, name_shard, read_shard
from dsbs.store import CompletionStore, Outcome

logger = logging.getLogger(__name__)

# Questions that an actor holds for each concurrent request, so that it need not wait for the next.
AHEAD = 2
# Actors that may be lost without an answer in between, for each that there should be.
MAX_LOSSES = 2


@dataclasses.dataclass
class Question:
    """A question that an actor holds.

    Attributes:
        requests: key -> request, for those without an answer in the main store.
        cost: the reserved tokens.
    """

    requests: dict[bytes, Request]
    cost: Reservation


@dataclasses.dataclass
class ActorHandle:
    """An actor, as the driver knows it.

    Attributes:
        actor: Ray's handle.
        node: the name of its machine.
        shard: its store.
        capacity: maximum questions that it holds.
        questions: key of a request -> the question that it belongs to.
        report: its last report.
    """

    actor: Any
    node: str
    shard: Path
    capacity: int
    questions: dict[bytes, Question] = dataclasses.field(default_factory=dict)
    report: Report = dataclasses.field(default_factory=lambda: Report([]))

    @property
    def room(self) -> int:
        """How many more questions it may hold."""
        return 0 if self.report.stopped else self.capacity - len({id(question) for question in self.questions.values()})


class RayExecutor(Executor):
    """The executor of Ray actors."""

    @classmethod
    @asynccontextmanager
    async def open(cls, parts: Parts) -> AsyncIterator["RayExecutor"]:
        """Yield a ``RayExecutor`` on the cluster of the settings; at the end no actors and no shards are left."""
        job = parts.job
        job.teacher.announce()  # what its actors say is not shown here
        with open_ray(job.settings.ray) as ray:
            try:
                yield cls(ray, parts)
            finally:
                # A connection of its own: the committer writes in another thread meanwhile.
                with CompletionStore(job.store_path) as store:
                    parts.stats.answered += await asyncio.to_thread(merge_shards, store, job.folder)

    def __init__(self, ray: ModuleType, parts: Parts) -> None:
        super().__init__(parts.job.settings, parts.stats)
        self.ray, self.parts, self.spending = ray, parts, parts.spending
        self.count = min(self.settings.ray.actors or count_actors(ray), self.settings.concurrency)
        self.handles: dict[int, ActorHandle] = {}
        self.losses = 0
        self._queue = QuestionQueue([], self.spending)

    async def run(self, questions: Iterable[list[Request]]) -> None:
        """Send all requests; see ``Executor.run``.

        Raises:
            RunError: where too many actors are lost.
        """
        self._queue = QuestionQueue(questions, self.spending)
        self._tasks = {asyncio.create_task(self._run_slot(slot)) for slot in range(self.count)}
        try:
            await asyncio.wait(self._tasks)
        finally:
            self.cancel()
            for handle in self.handles.values():
                self._kill(handle)
        if self.error:
            raise self.error

    def describe(self) -> list[str]:
        reports = [handle.report for handle in self.handles.values()]
        limits = [handle.report.at_once for handle in self.handles.values()]
        shares = [handle.capacity // AHEAD for handle in self.handles.values()]
        at_once = None  # where no server holds any of them back
        if any(limit is not None for limit in limits):
            at_once = sum(share if limit is None else limit for limit, share in zip(limits, shares, strict=True))
        pause = max((report.pause for report in reports), default=0.0)
        actors = [f"{len(reports)} actors"] if reports else []
        return [*actors, *describe_pace(at_once, pause)]

    async def _run_slot(self, slot: int) -> None:
        """Keep one slot filled with an actor, and the actor with questions, to the end."""
        try:
            self.handles[slot] = handle = self._start(slot)
            while not self._done(handle):
                questions = self._next_questions(handle)
                try:
                    stopping, proven = self.stopped is not None, self.stats.proven or self.stats.answered > 0
                    report = await handle.actor.exchange.remote(questions, stopping, proven)
                except self.ray.exceptions.RayTaskError:
                    raise  # a fault of ours
                except self.ray.exceptions.RayError as error:
                    await self._recover(handle, error)
                    if self.stopped:
                        del self.handles[slot]
                        return
                    self.handles[slot] = handle = self._start(slot)
                    continue
                await self._accept(handle, report)
                if report.over:
                    break
            await self._release(slot)
        except Exception as error:
            self.stop("error", error)

    def _done(self, handle: ActorHandle) -> bool:
        if handle.questions:
            return False
        return self.stopped is not None or (
            self._queue.exhausted and not any(other.questions for other in self.handles.values())
        )

    def _start(self, slot: int) -> ActorHandle:
        """Start an actor on the node whose turn it is; on another one where that is gone."""
        job, nodes = self.parts.job, list_nodes(self.ray)
        node = nodes[slot % len(nodes)]
        settings, shard = self.settings.share(slot, self.count), name_shard(job.folder)
        config = WorkerConfig(
            # Without what they have loaded; an actor needs their settings alone.
            task=dataclasses.replace(job.task),
            teacher=dataclasses.replace(job.teacher),
            identity=job.identity,
            settings=settings,
            share=1 / self.count,
            shard=shard,
            home=Path.cwd(),
            proven=self.stats.proven,
        )
        return ActorHandle(
            start_actor(self.ray, node, Worker, config),
            node["NodeManagerHostname"],
            shard,
            AHEAD * settings.concurrency,
        )

    def _next_questions(self, handle: ActorHandle) -> list[list[Request]]:
        """Return new questions for an actor, as many as it has room for and the budget bears."""
        if self.stopped or not handle.room:
            return []
        portion = self._queue.take(handle.room, lambda question: True)
        for requests in portion.questions:
            cost = self.spending.estimate(self.spending.characters(requests[0]), len(requests))
            self.spending.reserve(cost)
            question = Question({self.parts.origin.key(request): request for request in requests}, cost)
            handle.questions.update(dict.fromkeys(question.requests, question))
        if self._queue.bound and not any(other.questions for other in self.handles.values()):
            self.stop(f"{self._queue.bound} is reached")
        return portion.questions

    async def _accept(self, handle: ActorHandle, report: Report) -> None:
        """Commit an actor's answers, and apply its report."""
        handle.report = report
        self.stats.retried += report.retried
        self.spending.lose(report.lost)
        self.stats.notes |= dict.fromkeys(report.notes)
        if report.error and handle.node != socket.gethostname():
            report.error = copy.copy(report.error)  # the actor may report it again
            report.error.args = (f"On {handle.node}: {report.error}",)
        await self._commit(handle, report.arrivals)
        if report.error and report.stopped != "hopeless":
            self.stop(report.stopped or "error", report.error)

    async def _commit(self, handle: ActorHandle, arrivals: Iterable[tuple[bytes, Outcome]]) -> None:
        arrivals = list(arrivals)
        if any(key not in handle.questions for key, _ in arrivals):
            raise RunError(
                f"An actor on {handle.node} sent answers to other questions: it has another version of dsbs. Install "
                f"the same one on every node; its answers are kept in {handle.shard}."
            )
        await asyncio.gather(
            *(self.parts.committer.commit((handle.questions[key].requests[key], outcome)) for key, outcome in arrivals)
        )
        for key, outcome in arrivals:
            question = handle.questions.pop(key)
            del question.requests[key]
            if not question.requests:
                self.spending.reserve(question.cost, sign=-1)
            if isinstance(outcome, Completion):
                self.losses = 0

    def _give_back(self, handle: ActorHandle) -> int:
        """Let others have the questions that an actor has not answered; return how many."""
        questions = {id(question): question for question in handle.questions.values()}
        for question in questions.values():
            self.spending.reserve(question.cost, sign=-1)
        self._queue.give_back([list(question.requests.values()) for question in questions.values()])
        handle.questions.clear()
        return len(questions)

    async def _recover(self, handle: ActorHandle, error: Exception) -> None:
        """Recover the shard of a lost actor, and give its open questions back."""
        self._kill(handle)
        found = await asyncio.to_thread(read_shard, handle.shard, list(handle.questions))
        self.losses += 1
        await self._commit(handle, found.items())
        rest, cause = self._give_back(handle), explain_loss(error)
        logger.warning(
            "An actor on %s was lost; %d answers were recovered from its shard, %d questions go to another. %s",
            handle.node, len(found), rest, cause,
        )  # fmt: skip
        if self.losses > MAX_LOSSES * self.count:
            self.stop("actors lost", RunError(
                f"{self.losses} actors were lost with no answer in between, the last one on {handle.node}. {cause} "
                "Every node needs the same versions of Python, ray and dsbs (pip install 'dsbs[ray]'). Earlier answers "
                "are kept; the same command resumes."
            ))  # fmt: skip

    async def _release(self, slot: int) -> None:
        """Release an actor without requests in flight; all its answers have arrived."""
        handle = self.handles.pop(slot)
        self._give_back(handle)
        if handle.report.stopped == "hopeless":
            if self.handles or self.stopped:
                logger.warning("No request is answered on %s; the others continue without it. %s", handle.node,
                               handle.report.error)  # fmt: skip
            else:
                self.stop("hopeless", handle.report.error)
        with contextlib.suppress(self.ray.exceptions.RayError):
            await handle.actor.close.remote()
        self._kill(handle)

    def _kill(self, handle: ActorHandle) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(handle.actor)
