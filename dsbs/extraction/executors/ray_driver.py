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
from dsbs.extraction.executors.base import Executor, Parts, tell_pace
from dsbs.extraction.executors.ray_actor import Order, Report, Worker
from dsbs.extraction.executors.ray_cluster import count_actors, explain_loss, list_nodes, open_ray, start_actor
from dsbs.extraction.executors.ray_shards import name_shard, read_shard, take_up_shards
from dsbs.extraction.feeding import Feed
from dsbs.store import CompletionStore, Failure

logger = logging.getLogger(__name__)

# Questions that an actor holds for each concurrent request, so that it need not wait for the next.
AHEAD = 2
# Actors that may be lost without an answer in between, for each that there should be.
MOST_LOSSES = 2


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
class Hand:
    """An actor, as the driver knows it.

    Attributes:
        actor: Ray's handle.
        node: the name of its machine.
        shard: its store.
        most: maximum questions that it holds.
        questions: key of a request -> the question that it belongs to.
        report: its last report.
    """

    actor: Any
    node: str
    shard: Path
    most: int
    questions: dict[bytes, Question] = dataclasses.field(default_factory=dict)
    report: Report = dataclasses.field(default_factory=lambda: Report([]))

    @property
    def room(self) -> int:
        """How many more questions it may hold."""
        return 0 if self.report.stopped else self.most - len({id(question) for question in self.questions.values()})


class Spreader(Executor):
    """The executor of Ray actors."""

    def __init__(self, ray: ModuleType, parts: Parts) -> None:
        super().__init__(parts.job.settings, parts.tally)
        self.ray, self.parts, self.spending = ray, parts, parts.spending
        self.count = min(self.settings.ray.actors or count_actors(ray), self.settings.concurrency)
        self.hands: dict[int, Hand] = {}
        self.losses = 0
        self._feed = Feed([], self.spending)

    async def run(self, questions: Iterable[list[Request]]) -> None:
        """Send all requests; see ``Executor.run``.

        Raises:
            RunError: where too many actors are lost.
        """
        self._feed = Feed(questions, self.spending)
        self._tasks = {asyncio.create_task(self._attend(place)) for place in range(self.count)}
        try:
            await asyncio.wait(self._tasks)
        finally:
            self.cancel()
            for hand in self.hands.values():
                self._dismiss(hand)
        if self.error:
            raise self.error

    def tell(self) -> list[str]:
        """Return notes on the current state; see ``Executor.tell``."""
        reports = [hand.report for hand in self.hands.values()]
        limits = [hand.report.at_once for hand in self.hands.values()]
        shares = [hand.most // AHEAD for hand in self.hands.values()]
        at_once = None  # where no server holds any of them back
        if any(limit is not None for limit in limits):
            at_once = sum(share if limit is None else limit for limit, share in zip(limits, shares, strict=True))
        pause = max((report.pause for report in reports), default=0.0)
        actors = [f"{len(reports)} actors"] if reports else []
        return [*actors, *tell_pace(at_once, pause)]

    async def _attend(self, place: int) -> None:
        """Keep one place filled with an actor, and the actor with questions, to the end."""
        try:
            self.hands[place] = hand = self._hire(place)
            while not self._done(hand):
                handed = self._hand_out(hand)
                try:
                    report = await hand.actor.exchange.remote(handed, self.stopped is not None)
                except self.ray.exceptions.RayTaskError:
                    raise  # a fault of ours
                except self.ray.exceptions.RayError as error:
                    await self._lose(hand, error)
                    if self.stopped:
                        del self.hands[place]
                        return
                    self.hands[place] = hand = self._hire(place)
                    continue
                await self._take_in(hand, report)
                if report.over:
                    break
            await self._part(place)
        except Exception as error:
            self.stop("error", error)

    def _done(self, hand: Hand) -> bool:
        if hand.questions:
            return False
        return self.stopped is not None or (
            self._feed.exhausted and not any(other.questions for other in self.hands.values())
        )

    def _hire(self, place: int) -> Hand:
        """Start an actor on the node whose turn it is; on another one where that is gone."""
        job, nodes = self.parts.job, list_nodes(self.ray)
        node = nodes[place % len(nodes)]
        settings, shard = self.settings.share(place, self.count), name_shard(job.folder)
        order = Order(
            # Without what they have loaded; an actor needs their settings alone.
            task=dataclasses.replace(job.task),
            teacher=dataclasses.replace(job.teacher),
            identity=job.identity,
            settings=settings,
            share=1 / self.count,
            shard=shard,
            home=Path.cwd(),
        )
        return Hand(
            start_actor(self.ray, node, Worker, order), node["NodeManagerHostname"], shard, AHEAD * settings.concurrency
        )

    def _hand_out(self, hand: Hand) -> list[list[Request]]:
        """Return new questions for an actor, as many as it has room for and the budget bears."""
        if self.stopped or not hand.room:
            return []
        portion = self._feed.take(hand.room, lambda question: True)
        for requests in portion.questions:
            cost = self.spending.estimate(self.spending.characters(requests[0]), len(requests))
            self.spending.reserve(cost)
            question = Question({self.parts.origin.key(request): request for request in requests}, cost)
            hand.questions.update(dict.fromkeys(question.requests, question))
        if self._feed.bound and not any(other.questions for other in self.hands.values()):
            self.stop(f"{self._feed.bound} is reached")
        return portion.questions

    async def _take_in(self, hand: Hand, report: Report) -> None:
        """Commit what an actor handed over, and apply its report."""
        hand.report = report
        self.tally.retried += report.retried
        self.tally.notes |= dict.fromkeys(report.notes)
        if report.error and hand.node != socket.gethostname():
            report.error = copy.copy(report.error)  # the actor may report it again
            report.error.args = (f"On {hand.node}: {report.error}",)
        await self._commit(hand, report.arrivals)
        if not report.arrivals:
            self.parts.waiting()
        if report.error and report.stopped != "hopeless":
            self.stop(report.stopped or "error", report.error)

    async def _commit(self, hand: Hand, arrivals: Iterable[tuple[bytes, Completion | Failure]]) -> None:
        arrivals = list(arrivals)
        if any(key not in hand.questions for key, _ in arrivals):
            raise RunError(
                f"An actor on {hand.node} sent answers to other questions: it has another version of dsbs. Install the "
                f"same one on every node; its answers are kept in {hand.shard}."
            )
        await asyncio.gather(
            *(self.parts.committer.commit((hand.questions[key].requests[key], said)) for key, said in arrivals)
        )
        for key, said in arrivals:
            question = hand.questions.pop(key)
            del question.requests[key]
            if not question.requests:
                self.spending.reserve(question.cost, sign=-1)
            if isinstance(said, Completion):
                self.losses = 0

    def _take_back(self, hand: Hand) -> int:
        """Let others have the questions that an actor has not answered; return how many."""
        questions = {id(question): question for question in hand.questions.values()}
        for question in questions.values():
            self.spending.reserve(question.cost, sign=-1)
        self._feed.give_back([list(question.requests.values()) for question in questions.values()])
        hand.questions.clear()
        return len(questions)

    async def _lose(self, hand: Hand, error: Exception) -> None:
        """Recover the shard of a lost actor, and give its open questions back."""
        self._dismiss(hand)
        found = await asyncio.to_thread(read_shard, hand.shard, list(hand.questions))
        self.losses += 1
        await self._commit(hand, found.items())
        rest, cause = self._take_back(hand), explain_loss(error)
        logger.warning(
            "An actor on %s was lost; %d answers were recovered from its shard, %d questions go to another. %s",
            hand.node, len(found), rest, cause,
        )  # fmt: skip
        if self.losses > MOST_LOSSES * self.count:
            self.stop("actors lost", RunError(
                f"{self.losses} actors were lost with no answer in between, the last one on {hand.node}. {cause} Every "
                "node needs the same versions of Python, ray and dsbs (pip install 'dsbs[ray]'). Earlier answers are "
                "kept; the same command resumes."
            ))  # fmt: skip

    async def _part(self, place: int) -> None:
        """Release an actor without requests in flight; all its answers have arrived."""
        hand = self.hands.pop(place)
        self._take_back(hand)
        if hand.report.stopped == "hopeless":
            if self.hands or self.stopped:
                logger.warning("No request is answered on %s; the others continue without it. %s", hand.node,
                               hand.report.error)  # fmt: skip
            else:
                self.stop("hopeless", hand.report.error)
        with contextlib.suppress(self.ray.exceptions.RayError):
            await hand.actor.close.remote()
        self._dismiss(hand)

    def _dismiss(self, hand: Hand) -> None:
        with contextlib.suppress(self.ray.exceptions.RayError):
            self.ray.kill(hand.actor)


@asynccontextmanager
async def open_ray_executor(parts: Parts) -> AsyncIterator[Spreader]:
    """Yield a ``Spreader`` on the cluster of the settings; at the end no actors and no shards are left."""
    job = parts.job
    job.teacher.announce()  # what its actors say is not shown here
    with open_ray(job.settings.ray) as ray:
        try:
            yield Spreader(ray, parts)
        finally:
            # A connection of its own: the committer writes in another thread meanwhile.
            with CompletionStore(job.store_path) as store:
                parts.tally.answered += await asyncio.to_thread(take_up_shards, store, job.folder)
