"""The engine: survey what is missing, ask for it, read what came, write it down."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from dsbs.errors import RunError
from dsbs.extraction.annotating import annotate_split
from dsbs.extraction.asking import Asker, Tally
from dsbs.extraction.committing import Arrival, Committer
from dsbs.extraction.job import Job
from dsbs.extraction.look import Look
from dsbs.extraction.page import build_page
from dsbs.extraction.spending import Spending
from dsbs.extraction.summary import summarise
from dsbs.extraction.survey import Estimate, Survey, estimate_job, missing_samples, survey_job
from dsbs.files import write_text
from dsbs.rationales import PAGE, write_summary
from dsbs.records import Completion, Request
from dsbs.store import CompletionStore, Failure, Origin

INTERRUPTED = "interrupted"


class Watch:
    """What wants to know how an extraction goes; this one does not care. See ``dsbs.extraction.progress``."""

    def begin(self, progress: "Progress") -> None:
        """Called before the first request."""

    def arrived(self, request: Request, said: Completion | Failure) -> None:
        """Called for every answer and every failure, once it is committed."""

    def end(self) -> None:
        """Called after the last request."""


@dataclass
class Progress:
    """An extraction under way."""

    job: Job
    survey: Survey
    estimate: Estimate
    spending: Spending
    tally: Tally
    asker: Asker


def run_extraction(job: Job, watch: Watch | None = None) -> dict[str, Any]:
    """Ask for what is missing, annotate, and write the summary; return it. For callers without an event loop.

    Raises:
        DsbsError: with what is wrong; what was committed before stays, and the same call goes on from there.
    """
    return asyncio.run(extract(job, watch or Watch()))


def estimate_extraction(job: Job) -> tuple[Survey, Estimate]:
    """Return what an extraction would ask and cost; asks nothing and writes no annotations."""
    job.check()
    with _open_store(job) as store:
        origin = job.register(store)
        spending = _spending(job, store, origin)
        survey = survey_job(job, store, origin, spending)
        return survey, estimate_job(job, survey, spending)


async def extract(job: Job, watch: Watch) -> dict[str, Any]:
    """See ``run_extraction``."""
    started = time.monotonic()
    job.check()
    tally, stopped, error = Tally(), None, None
    with _open_store(job) as store:
        origin = job.register(store)
        spending = _spending(job, store, origin)
        spending.check()
        survey = survey_job(job, store, origin, spending)
        if survey.to_ask:
            try:
                stopped = await _collect(job, store, origin, survey, spending, tally, watch)
            except Exception as raised:  # what came before it is annotated first
                error = raised
                if not store.count():
                    raise
        look = Look()
        counts = {split: annotate_split(job, store, origin, split, look) for split in job.splits}
    summary = summarise(job, survey, tally, counts, stopped, time.monotonic() - started)
    write_summary(job.folder, summary)
    write_text(job.folder / PAGE, build_page(summary, look, job.task.answers))
    if error is not None:
        raise error
    if stopped == INTERRUPTED:
        raise RunError(
            f"Interrupted: {tally.answered:,} of {survey.to_ask:,} answers came and are kept in {job.folder}; the same "
            "command asks for the rest."
        )
    return summary


@contextlib.contextmanager
def _open_store(job: Job) -> Iterator[CompletionStore]:
    """Open the store; where a new one stays empty, leave no trace of it."""
    new, empty = not job.store_path.exists(), False
    try:
        with CompletionStore(job.store_path) as store:
            try:
                yield store
            finally:
                empty = not store.count()
    finally:
        if new and empty and not any(job.folder.glob("*.parquet")):
            for path in job.folder.glob(f"{job.store_path.name}*"):
                path.unlink()
            with contextlib.suppress(OSError):
                job.folder.rmdir()


def _spending(job: Job, store: CompletionStore, origin: Origin) -> Spending:
    return Spending(
        job.settings.budget, job.teacher.rates(), store.totals(origin), getattr(job.teacher, "max_tokens", None)
    )


async def _collect(
    job: Job, store: CompletionStore, origin: Origin, survey: Survey, spending: Spending, tally: Tally, watch: Watch
) -> str | None:
    """Ask for what is missing.

    Returns:
        why it stopped before the end, or None.

    Raises:
        TeacherError: where nothing can succeed.
    """
    under_way: set[bytes] = set()

    def notice(arrival: Arrival) -> None:
        request, said = arrival
        under_way.discard(origin.key(request))
        tally.by_split[request.split] += 1
        if isinstance(said, Completion):
            tally.answered += 1
            spending.count(request, said)
        else:
            tally.failed += 1
        watch.arrived(request, said)

    estimate = estimate_job(job, survey, spending)
    spending.assume(survey.characters / survey.to_ask)
    # A connection of its own for reading: writes happen in another thread meanwhile.
    with CompletionStore(job.store_path, read_only=True) as reader:
        async with job.teacher.connect(job.task) as ask, Committer(store, origin, notice) as committer:
            asker = Asker(ask, committer, job.settings, tally, spending)
            watch.begin(Progress(job, survey, estimate, spending, tally, asker))
            try:
                with _interrupts(asker.stop, asker.cancel):
                    await asker.run(missing_samples(job, reader, origin, under_way))
            finally:
                watch.end()
            return asker.stopped


@contextlib.contextmanager
def _interrupts(stop: Callable[[str], None], cancel: Callable[[], None]) -> Iterator[None]:
    """Ctrl-C once: let what is under way end. Twice: stop now. Where there are no signals (a thread), nothing."""
    loop = asyncio.get_running_loop()
    pressed = 0

    def interrupted() -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            stop(INTERRUPTED)
        else:
            cancel()

    signals = (signal.SIGINT, signal.SIGTERM)  # batch systems send the latter before they kill
    try:
        for number in signals:
            loop.add_signal_handler(number, interrupted)
    except (NotImplementedError, RuntimeError, ValueError):
        yield
        return
    try:
        yield
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
