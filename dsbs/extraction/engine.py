"""The engine: survey what is missing, request it, parse the answers, and write annotations and summary."""

import asyncio
import contextlib
import logging
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dsbs.core.errors import ConfigError, DataError, RunError, TeacherError
from dsbs.core.files import write_json, write_text
from dsbs.core.records import Completion
from dsbs.extraction.annotating import annotate_split
from dsbs.extraction.annotations import PAGE, STORE, SUMMARY
from dsbs.extraction.budget import Spending, price_tokens
from dsbs.extraction.committing import Arrival, Committer
from dsbs.extraction.executors import Parts, asks_in_batches, open_executor
from dsbs.extraction.executors.base import RequestStats
from dsbs.extraction.executors.ray_shards import SHARDS, merge_shards
from dsbs.extraction.job import Job
from dsbs.extraction.locking import hold_questions, hold_store, remove_store
from dsbs.extraction.page import PageData, build_page
from dsbs.extraction.progress import TICK, Observer
from dsbs.extraction.summary import summarise
from dsbs.extraction.survey import Estimate, Survey, estimate_job, missing_samples, survey_job
from dsbs.extraction.truncation import CutPrompts
from dsbs.store import Batches, CompletionStore, Neighbours, Origin
from dsbs.store.batches import open_batches

logger = logging.getLogger(__name__)

INTERRUPTED = "interrupted"
# Reasons of failures that are logged when they first occur; all of them are in the annotations.
MAX_REASONS = 5


def run_extraction(job: Job, new_observer: Callable[..., Observer] = Observer) -> dict[str, Any]:
    """Request what is missing, write annotations and the summary, and return the summary.

    Args:
        new_observer: builds an ``Observer`` from its fields.

    Raises:
        DsbsError: saying what is wrong; completions that were committed stay, and the same call resumes.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(hold_store(job.store_path, wait=job.settings.executor == "local"))
        if job.neighbours is None or job.teacher.by_id:
            return asyncio.run(extract(job, new_observer))
        all_sent = stack.enter_context(hold_questions(job.folder.parent, job.asker))
        return asyncio.run(extract(job, new_observer, all_sent))


def estimate_extraction(job: Job) -> tuple[Survey, Estimate]:
    """Return what an extraction would request and cost; it sends no requests and writes no annotations.

    It takes no lock, so it leaves a folder that another process may be about to fill as it is.

    Raises:
        DsbsError: as ``run_extraction`` before its first request.
    """
    _check(job)
    with contextlib.ExitStack() as stack:
        if job.store_path.exists() or (job.folder / SHARDS).exists():
            store = stack.enter_context(_open_store(job))
        else:
            elsewhere = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            store = stack.enter_context(CompletionStore(elsewhere / STORE))
        origin = job.register(store)
        spending = _spending(job, store, origin)
        with Neighbours(job.neighbours, job.store_path, origin) as neighbours:
            survey = survey_job(job, store, origin, spending, neighbours, take=False)
            pace = store.pace(origin) or neighbours.pace()
        survey.found = neighbours.describe()
        return survey, estimate_job(job, survey, spending, pace)


async def extract(
    job: Job, new_observer: Callable[..., Observer], all_sent: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """Run an extraction in the current event loop, without locking its folder; see ``run_extraction``.

    Args:
        all_sent: see ``Parts``.
    """
    started = time.monotonic()
    _check(job)
    stats, stopped = RequestStats(), None
    error: Exception | None = None
    with _open_store(job) as store:
        origin = job.register(store)
        measure = _spending(job, store, origin)
        measure.check()
        with Neighbours(job.neighbours, job.store_path, origin) as neighbours:
            survey = survey_job(job, store, origin, measure, neighbours, take=True)
        survey.found = neighbours.describe()
        for note in survey.found:
            logger.info(note)
            stats.notes[note] = None
        spending = _spending(job, store, origin)
        if survey.to_come:
            try:
                stopped = await _collect(job, store, origin, survey, spending, stats, new_observer, all_sent)
                _check_answers(job, survey, stats, stopped)
            except Exception as raised:  # what came before it is annotated first
                error = raised
                if not store.count():
                    raise
            if job.task.changed():
                raise error or DataError(
                    f"{job.task.path}: the data changed while its questions were asked, so nothing was annotated. The "
                    f"answers are stored in {job.folder}; the same command finds them and asks for what is new."
                )
        waiting = Batches(store, origin).waiting()
        stopped = stopped or (_describe_waiting(job, waiting) if waiting else None)
        page = PageData()
        counts = {split: annotate_split(job, store, origin, split, page) for split in job.splits}
    summary = summarise(job, survey, stats, counts, stopped, time.monotonic() - started)
    write_json(job.folder / SUMMARY, summary)
    write_text(job.folder / PAGE, build_page(summary, page))
    if error is not None:
        raise error
    if stopped == INTERRUPTED:
        raise RunError(
            f"Interrupted: {stats.answered:,} of {survey.to_come:,} answers are stored in {job.folder}; the "
            "same command resumes." + (f" {_describe_waiting(job, waiting)}." if waiting else "")
        )
    return summary


def _check(job: Job) -> None:
    """Refuse what cannot be asked."""
    if asks_in_batches(job.settings) and not job.teacher.has_batches:
        raise ConfigError(
            f"executor={job.settings.executor}: teacher={job.teacher.name} has no batch API. Type teacher=openai, or "
            f"leave executor={job.settings.executor} out."
        )
    job.check()


def _check_answers(job: Job, survey: Survey, stats: RequestStats, stopped: str | None) -> None:
    """Refuse to succeed where nothing was ever answered."""
    together = asks_in_batches(job.settings) and job.settings.samples > 1  # the next run asks for them one by one
    if stats.failures and not (stats.answered or survey.stored or stopped or together):
        first = next(iter(stats.failures.values()))
        raise TeacherError(f"None of {stats.failed:,} requests was answered. {first.message}")


@contextlib.contextmanager
def _open_store(job: Job) -> Iterator[CompletionStore]:
    """Open the store, with what actors left behind; where a new one stays empty, leave no trace of it."""
    new, empty = not job.store_path.exists(), False
    missing = [folder for folder in (job.folder, *job.folder.parents) if not folder.exists()]
    try:
        with CompletionStore(job.store_path) as store:
            try:
                if found := merge_shards(store, job.folder):
                    logger.info("%s answers were recovered from actors of an earlier run.", f"{found:,}")
                yield store
            finally:
                empty = not store.count() and not open_batches(store)
    finally:
        if new and empty and not any(job.folder.glob("*.parquet")):
            remove_store(job.store_path, missing)


def _describe_waiting(job: Job, waiting: int) -> str:
    how = "the same command collects them" if asks_in_batches(job.settings) else "executor=batch collects them"
    return f"{waiting:,} requests are pending in batches at the endpoint; {how}"


def _spending(job: Job, store: CompletionStore, origin: Origin) -> Spending:
    teacher, before, batched = job.teacher, store.totals(origin), store.batch_totals(origin)
    rates, (batch_rates, known) = teacher.rates(), teacher.batch_rates()
    usd = price_tokens(before[1:], batched[1:], rates, batch_rates) if rates and batch_rates else None
    if asks_in_batches(job.settings):
        if batch_rates and not known:
            logger.info("The batch price of this model is unknown; assuming the regular price less %.0f%% "
                        "(teacher.batch_discount).", 100 * getattr(teacher, "batch_discount", 0.0))  # fmt: skip
        rates = batch_rates
    return Spending(job.settings.budget, rates, before, teacher.most_written, usd)


async def _collect(
    job: Job,
    store: CompletionStore,
    origin: Origin,
    survey: Survey,
    spending: Spending,
    stats: RequestStats,
    new_observer: Callable[..., Observer],
    all_sent: Callable[[], None],
) -> str | None:
    """Ask for what is missing.

    Returns:
        why it stopped before the end, or None.
    """

    cut = CutPrompts()

    def notice(arrival: Arrival) -> None:
        request, outcome = arrival
        parts.under_way.discard(origin.key(request))
        stats.by_split[request.split] += 1
        if isinstance(outcome, Completion):
            stats.answered += 1
            spending.count(request, outcome)
            if cut.look(spending.characters(request), outcome.prompt_tokens):
                logger.warning(cut.describe())
        else:
            stats.failed += 1
            if outcome.reason not in stats.failures and len(stats.failures) < MAX_REASONS:
                stats.failures[outcome.reason] = outcome
                logger.warning("%s %s failed: %s", request.split, request.id, outcome.message)
        observer.arrived(request, outcome)

    stats.proven = survey.stored > 0 or job.teacher.by_id
    spending.assume(survey.characters / max(survey.to_ask, 1))
    # A connection of its own for reading: writes happen in another thread meanwhile.
    with CompletionStore(job.store_path, read_only=True) as reader:
        async with Committer(store, origin, notice) as committer:
            parts = Parts(job, origin, committer, stats, spending, all_sent)
            async with open_executor(parts) as executor:
                with (
                    new_observer(job, survey, spending, stats, executor) as observer,
                    _ticking(observer),
                    _interrupts(executor.stop, executor.cancel),
                ):
                    try:
                        await executor.run(missing_samples(job, reader, origin, survey, parts.under_way))
                    finally:
                        stats.notes |= dict.fromkeys([cut.describe()] * (cut.count > 0) + spending.describe_lost())
                return executor.stopped


@contextlib.contextmanager
def _ticking(observer: Observer) -> Iterator[None]:
    async def tick() -> None:
        while True:
            await asyncio.sleep(TICK)
            observer.tick()

    ticker = asyncio.create_task(tick())
    try:
        yield
    finally:
        ticker.cancel()


@contextlib.contextmanager
def _interrupts(stop: Callable[[str], None], cancel: Callable[[], None]) -> Iterator[None]:
    """On Ctrl-C, finish requests in flight; on a second one, stop at once. Does nothing outside the main thread."""
    loop = asyncio.get_running_loop()
    pressed = 0

    def interrupted() -> None:
        nonlocal pressed
        pressed += 1
        if pressed == 1:
            stop(INTERRUPTED)
        else:
            cancel()

    signals = [signal.SIGINT, signal.SIGTERM]  # batch systems send the latter before they kill
    hangup = getattr(signal, "SIGHUP", None)  # the terminal was closed
    if hangup is not None and signal.getsignal(hangup) is not signal.SIG_IGN:  # nohup
        signals.append(hangup)
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
