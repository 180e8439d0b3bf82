"""Before the first request: what is needed, what is missing, and an estimate of its cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from dsbs.core.errors import ConfigError
from dsbs.core.records import Request
from dsbs.extraction.budget import CHARACTERS_PER_TOKEN, Spending
from dsbs.extraction.executors import asks_in_batches
from dsbs.extraction.job import Job, batches
from dsbs.store import CompletionStore, Neighbours, Origin

MAX_LEAKS_NAMED = 5
# A batch expires after this time.
BATCH_SECONDS = 24 * 3600.0


@dataclass
class Survey:
    """The requests that an extraction needs, before the first is sent.

    Attributes:
        needed: split -> requests.
        missing: split -> those without a completion, and not in a batch.
        waiting: split -> those that are pending in a batch.
        collects: whether pending ones are collected in this run.
        characters: length of all missing ones.
        finished: split -> examples at its beginning that are complete.
        found: sentences about completions in other folders.
        repeated: requests that are equal to another one, and answered with it.
    """

    needed: dict[str, int] = field(default_factory=dict)
    missing: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, int] = field(default_factory=dict)
    collects: bool = False
    characters: int = 0
    finished: dict[str, int] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)
    repeated: int = 0

    @property
    def to_ask(self) -> int:
        """Requests to make."""
        return sum(self.missing.values())

    @property
    def in_batches(self) -> int:
        """Requests that are pending in batches."""
        return sum(self.waiting.values())

    @property
    def to_come(self) -> int:
        """Requests that end in this run, unless it is stopped."""
        return self.to_ask + (self.in_batches if self.collects else 0)

    @property
    def stored(self) -> int:
        """Requests that are answered already, without those that only repeat another one."""
        return sum(map(self.cached_of, self.needed)) - self.repeated

    def cached_of(self, split: str) -> int:
        """Return the requests of a split that need not be made."""
        return self.needed[split] - self.missing[split] - self.waiting[split]


@dataclass
class Estimate:
    """An estimate of the missing requests, from the settings and from earlier completions.

    Attributes:
        usd: their price in dollars, or None where no price is known.
        most_written: maximum completion tokens, or None where there is no bound.
        seconds: time, from the pace of earlier completions and the rate limits that are set; a day for batches; None
            where unknown.
    """

    requests: int
    prompt_tokens: float
    completion_tokens: float
    usd: float | None
    most_written: float | None
    seconds: float | None


def survey_job(
    job: Job, store: CompletionStore, origin: Origin, spending: Spending, neighbours: Neighbours, *, take: bool
) -> Survey:
    """Return what is needed and what is missing.

    Args:
        take: whether completions found there are copied into the store, or only counted.

    Raises:
        ConfigError: where exemplars of the prompt are among the examples.
    """
    survey = Survey(collects=asks_in_batches(job.settings))
    counted: set[bytes] = set()  # what is missing or waiting; another example may ask it, too
    for split in job.splits:
        needed = missing = waiting = finished = 0
        complete = True
        for batch in batches(job.examples(split)):
            if not job.teacher.by_id and (leaks := job.prompt.leaks(batch)):
                raise ConfigError(
                    f"prompt={job.prompt.name}: exemplars occur in split {split!r} of the data (examples "
                    f"{', '.join(leaks[:MAX_LEAKS_NAMED])}), so the prompt would contain the answer. Replace "
                    "these exemplars."
                )
            requests = {origin.key(request): request for example in batch for request in job.requests(example, split)}
            sent = store.in_batches(requests)
            absent = requests.keys() - store.present(requests) - sent
            if absent:
                wanted = {key: requests[key] for key in absent}
                found, pending = neighbours.copy_into(store, wanted) if take else neighbours.count(wanted)
                absent, sent = absent - found - pending, sent | pending
            complete = complete and not (absent or sent)
            finished += len(batch) if complete else 0
            again = (absent | sent) & counted
            counted |= absent | sent
            absent, sent = absent - again, sent - again
            waiting += len(sent)
            missing += len(absent)
            needed += len(batch) * job.settings.samples
            survey.repeated += len(batch) * job.settings.samples - len(requests) + len(again)
            survey.characters += sum(spending.characters(requests[key]) for key in absent)
        survey.needed[split], survey.missing[split], survey.waiting[split] = needed, missing, waiting
        survey.finished[split] = finished
    return survey


def missing_samples(
    job: Job, store: CompletionStore, origin: Origin, survey: Survey, under_way: set[bytes]
) -> Iterator[list[Request]]:
    """Yield the requests without a completion: the missing samples of a question together, each question once.

    Args:
        survey: says how many examples at the beginning of a split can be skipped.
        under_way: keys of requests that were yielded and not answered yet; the caller removes them.
    """
    for split in job.splits:
        for batch in batches(islice(job.examples(split), survey.finished[split], None)):
            questions = [
                {origin.key(request): request for request in job.requests(example, split)} for example in batch
            ]
            flat = [key for keys in questions for key in keys]
            done = store.present(flat) | store.in_batches(flat)
            for keys in questions:
                missing = {key: request for key, request in keys.items() if key not in done and key not in under_way}
                if missing:
                    under_way.update(missing)
                    done.update(missing)
                    yield list(missing.values())


def estimate_job(job: Job, survey: Survey, spending: Spending, pace: float | None = None) -> Estimate:
    """Return the estimate for all missing requests.

    Args:
        pace: completions a second when the teacher was last asked, or None.
    """
    count, settings = survey.to_ask, job.settings
    prompt_tokens = survey.characters / CHARACTERS_PER_TOKEN
    written = count * (spending.mean_written or _written_by_exemplars(job))
    bound = job.teacher.most_written
    usd, most = spending.price(prompt_tokens, written), count * bound if bound else None
    if asks_in_batches(settings):
        return Estimate(count, prompt_tokens, written, usd, most, BATCH_SECONDS)
    seconds = [count / pace] if pace else []
    if settings.requests_per_minute:
        seconds.append(60 * count / settings.requests_per_minute)
    if settings.tokens_per_minute:
        seconds.append(60 * (prompt_tokens + written) / settings.tokens_per_minute)
    return Estimate(count, prompt_tokens, written, usd, most, max(seconds, default=0.0 if not count else None))


def _written_by_exemplars(job: Job) -> float:
    answers = [f"{shot.rationale} {job.prompt.cue} {shot.answer}." for shot in job.prompt.exemplars]
    if not answers:
        return float(job.teacher.most_written or 200)
    return sum(map(len, answers)) / len(answers) / CHARACTERS_PER_TOKEN
