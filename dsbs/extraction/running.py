"""The engine: survey what is missing, ask for it, read what came, write it down."""

import asyncio
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from dsbs.errors import ConfigError, RunError
from dsbs.extraction.annotating import SplitCount, annotate_split
from dsbs.extraction.asking import Asker, Tally
from dsbs.extraction.committing import Arrival, Committer
from dsbs.extraction.job import Job, batches
from dsbs.rationales import load_summary, write_summary
from dsbs.records import Completion, Request
from dsbs.store import CompletionStore, Origin

MOST_LEAKS_NAMED = 5


class Survey:
    """What an extraction needs before anything is asked.

    Attributes:
        needed: requests by split.
        missing: those of them that have no completion yet.
    """

    def __init__(self) -> None:
        self.needed: dict[str, int] = {}
        self.missing: dict[str, int] = {}

    @property
    def to_ask(self) -> int:
        """Requests to make."""
        return sum(self.missing.values())


def run_extraction(job: Job, watch: "Watch | None" = None) -> dict[str, Any]:
    """Ask for what is missing, annotate, and write the summary; return it. For callers without an event loop.

    Raises:
        DsbsError: with what is wrong; what was committed before stays, and the same call goes on from there.
    """
    return asyncio.run(extract(job, watch or Watch()))


async def extract(job: Job, watch: "Watch") -> dict[str, Any]:
    """See ``run_extraction``."""
    started = time.monotonic()
    job.check()
    with CompletionStore(job.store_path) as store:
        origin = job.register(store)
        survey = survey_job(job, store, origin)
        tally = Tally()
        stopped, error = None, None
        if survey.to_ask:
            try:
                stopped = await collect(job, store, origin, survey, tally, watch)
            except Exception as raised:  # annotate what came before it is told
                error = raised
        counts = {split: annotate_split(job, store, origin, split) for split in job.splits}
    summary = summarise(job, survey, tally, counts, time.monotonic() - started)
    write_summary(job.folder, summary)
    if error is not None:
        raise error
    if stopped:
        raise RunError(
            f"Stopped: {stopped}. {tally.answered:,} of {survey.to_ask:,} answers came and are kept in {job.folder}; "
            "the same command asks for the rest."
        )
    return summary


class Watch:
    """What wants to know how an extraction goes; this one does not care. See ``dsbs.extraction.progress``."""

    def begin(self, job: Job, survey: Survey, asker: Asker) -> None:
        """Called before the first request."""

    def arrived(self, request: Request, said: Any) -> None:
        """Called for every answer and every failure, once it is committed."""

    def end(self) -> None:
        """Called after the last request."""


def survey_job(job: Job, store: CompletionStore, origin: Origin) -> Survey:
    """Count what is needed and what is missing, and refuse exemplars that are among the examples.

    Raises:
        ConfigError: naming such examples.
    """
    survey = Survey()
    for split in job.splits:
        needed = missing = 0
        for batch in batches(job.examples(split)):
            if not job.teacher.by_id and (leaks := job.prompt.leaks(batch)):
                raise ConfigError(
                    f"prompt={job.prompt.name}: exemplars occur in split {split!r} of the data (examples "
                    f"{', '.join(leaks[:MOST_LEAKS_NAMED])}): the teacher would be shown its own questions. Replace "
                    "these exemplars."
                )
            keys = {origin.key(request) for example in batch for request in job.requests(example, split)}
            needed += len(batch) * job.settings.samples
            missing += len(keys) - len(store.present(keys))
        survey.needed[split], survey.missing[split] = needed, missing
    return survey


def missing_requests(job: Job, store: CompletionStore, origin: Origin) -> Iterator[Request]:
    """Yield the requests that have no completion yet, each question once."""
    for split in job.splits:
        for batch in batches(job.examples(split)):
            requests = {origin.key(request): request for example in batch for request in job.requests(example, split)}
            present = store.present(requests)
            yield from (request for key, request in requests.items() if key not in present)


async def collect(
    job: Job, store: CompletionStore, origin: Origin, survey: Survey, tally: Tally, watch: Watch
) -> str | None:
    """Ask for what is missing.

    Returns:
        why it stopped before the end, or None.

    Raises:
        TeacherError: where nothing can succeed.
    """

    def notice(arrival: Arrival) -> None:
        request, said = arrival
        tally.by_split[request.split] += 1
        if isinstance(said, Completion):
            tally.answered += 1
            tally.prompt_tokens += said.prompt_tokens or 0
            tally.completion_tokens += said.completion_tokens or 0
        else:
            tally.failed += 1
        watch.arrived(request, said)

    # A connection of its own for reading: writes happen in another thread meanwhile.
    with CompletionStore(job.store_path, read_only=True) as reader:
        async with job.teacher.connect(job.task) as ask, Committer(store, origin, notice) as committer:
            asker = Asker(ask, committer, job.settings, tally)
            watch.begin(job, survey, asker)
            try:
                with _interrupts(asker.stop, asker.cancel):
                    await asker.run(missing_requests(job, reader, origin))
            finally:
                watch.end()
            return asker.stopped


@contextmanager
def _interrupts(stop: Callable[[str], None], cancel: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C once: let what is under way end. Twice: stop now. Where there are no signals (a thread), nothing."""
    loop = asyncio.get_running_loop()
    pressed = 0

    def interrupted() -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            stop("interrupted")
        else:
            cancel()

    try:
        loop.add_signal_handler(signal.SIGINT, interrupted)
    except (NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def summarise(job: Job, survey: Survey, tally: Tally, counts: dict[str, SplitCount], seconds: float) -> dict[str, Any]:
    """Return the content of ``summary.json``; splits that were extracted before and not now keep their numbers."""
    earlier = load_summary(job.folder) or {}
    splits: dict[str, Any] = dict(earlier.get("splits", {}))
    for split, count in counts.items():
        splits[split] = {
            "examples": count.examples,
            "parsed": count.parsed,
            "failed": count.examples - count.parsed,
            "teacher_accuracy": count.accuracy,
            "requests": tally.by_split[split],
            "cached": survey.needed[split] - survey.missing[split],
            "prompt_tokens": count.prompt_tokens,
            "completion_tokens": count.completion_tokens,
            "cost_usd": cost(job, count),
            "statuses": dict(sorted(count.statuses.items())),
        }
    return {
        "task": job.task.name,
        "teacher": job.teacher.name,
        "model": job.identity["teacher"].get("model"),
        "splits": splits,
        "seconds": round(seconds, 3),
    }


def cost(job: Job, count: SplitCount) -> float | None:
    """Return the dollars that the completions of a split cost, or None where no price is known."""
    if job.teacher.free:
        return 0.0
    return None
