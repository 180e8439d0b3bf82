"""Before anything is asked: what is needed, what is missing, and what that will cost."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from dsbs.core.errors import ConfigError
from dsbs.core.records import Request
from dsbs.extraction.budget import Spending
from dsbs.extraction.executors import asks_in_batches
from dsbs.extraction.job import Job, batches
from dsbs.store import CompletionStore, Neighbours, Origin

MOST_LEAKS_NAMED = 5
CHARACTERS_PER_TOKEN = 4
# A batch that has not ended by then has expired.
BATCH_SECONDS = 24 * 3600.0


@dataclass
class Survey:
    """What an extraction needs before anything is asked.

    Attributes:
        needed: requests by split.
        missing: those of them that have no completion yet, and are in no batch either.
        waiting: those that were sent off in a batch and have not come back.
        collects: whether what waits is collected in this run.
        characters: length of all that the missing ones send.
        finished: examples at the beginning of each split of which nothing is missing.
        found: what of it lies in other folders, a sentence each.
        repeated: requests that ask what another one asks, and are answered with it.
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
        """Requests that were made in a batch and have not come back."""
        return sum(self.waiting.values())

    @property
    def to_come(self) -> int:
        """Requests that end in this run, if all goes well."""
        return self.to_ask + (self.in_batches if self.collects else 0)

    @property
    def cached(self) -> int:
        """Requests that need not be made."""
        return sum(map(self.cached_of, self.needed))

    def cached_of(self, split: str) -> int:
        """Return the same for one split."""
        return self.needed[split] - self.missing[split] - self.waiting[split]


@dataclass
class Estimate:
    """What is to come, from the settings and from what was answered before.

    Attributes:
        requests: completions to ask for.
        prompt_tokens, completion_tokens: to be read and written.
        usd: dollars, or None where no price is known.
        most_written: the most that can be written, or None where there is no bound.
        seconds: time, from the pace of earlier answers and the rate limits that are set; a day for batches; None where
            nothing is known, until the first answers come.
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
    """Count what is needed and what is missing, and refuse exemplars that are among the examples.

    Args:
        job, store, origin: what is asked about.
        spending: measures requests.
        neighbours: where else the completions may lie.
        take: whether they are copied into the store; else they are only counted.

    Raises:
        ConfigError: naming such examples.
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
                    f"{', '.join(leaks[:MOST_LEAKS_NAMED])}), so the prompt would contain the answer. Replace "
                    "these exemplars."
                )
            requests = {origin.key(request): request for example in batch for request in job.requests(example, split)}
            sent = store.in_batches(requests)
            absent = requests.keys() - store.present(requests) - sent
            if absent:
                wanted = {key: requests[key] for key in absent}
                absent -= neighbours.lend(store, wanted) if take else neighbours.count(wanted)
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
    """Yield the requests that have no completion yet, the samples of one question together, each question once.

    Args:
        job, store, origin: what is asked about.
        survey: what was found before: where a million examples are finished, the million and first is at hand.
        under_way: keys of requests that were yielded and are not answered yet; the caller takes them out again.
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
    """Return what asking for all that is missing will take.

    Args:
        job, survey, spending: what is missing, and what it costs.
        pace: answers a second when the teacher was last asked, or None.
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
