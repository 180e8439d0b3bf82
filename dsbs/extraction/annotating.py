"""From the store to annotations: parsing alone, repeatable, without requests."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from dsbs.core.records import Annotation, Completion, Example
from dsbs.extraction.annotations import write_annotations
from dsbs.extraction.budget import price_tokens
from dsbs.extraction.filters import FilterCheck
from dsbs.extraction.job import Job, batches
from dsbs.extraction.page import PageData
from dsbs.extraction.parsing import answer_probabilities, mean_probabilities, vote
from dsbs.extraction.prompts import WHOLE
from dsbs.store import CompletionStore, Failure, Origin, Outcome, Spent
from dsbs.teachers.prices import Rates

# Characters of a completion below which equal samples say nothing: a mere label.
TELLING = 40


@dataclass
class ExampleCount:
    """Counts over some examples: of a split, or of one system prompt.

    Attributes:
        examples: examples that were asked about, now or before.
        parsed: examples with an answer of the teacher, before filters.
    """

    examples: int = 0
    parsed: int = 0
    gold: int = 0
    correct: int = 0

    @property
    def accuracy(self) -> float | None:
        """The teacher's accuracy on the examples with a gold label and a completion; None without any.

        A completion without an answer counts as wrong; a request that failed is asked again by the next run.
        """
        return self.correct / self.gold if self.gold else None


@dataclass
class SplitCount(ExampleCount):
    """Counts over the annotations of a split.

    Attributes:
        statuses: examples by status.
        systems: system prompt -> its counts, where there is a pool of them.
        spent: tokens of the completions.
        weighed: completions with log-probabilities.
        models: model, as the server names it -> its completions.
        sampled, alike: examples with several samples, and those of them whose samples are word for word the same.
    """

    statuses: Counter[str] = field(default_factory=Counter)
    systems: dict[str, ExampleCount] = field(default_factory=dict)
    spent: Spent = field(default_factory=Spent)
    weighed: int = 0
    models: Counter[str] = field(default_factory=Counter)
    sampled: int = 0
    alike: int = 0

    def cost(self, rates: Rates | None, batch_rates: Rates | None) -> float | None:
        """Return the cost of the completions in dollars, or None where prices or tokens are unknown."""
        if rates is None or batch_rates is None or (self.spent.uncounted and any(rates)):
            return None
        return round(price_tokens(self.spent.all[1:], self.spent.batched[1:], rates, batch_rates), 6)


def annotate_split(job: Job, store: CompletionStore, origin: Origin, split: str, page: PageData) -> SplitCount:
    """Rewrite ``<split>.parquet`` from all completions of this origin, and return the counts.

    Examples of earlier, larger selections stay in it.

    Args:
        page: counts and samples of the page; every annotation is added.
    """
    count, keeper = SplitCount(), FilterCheck(job.filter, job.task.answers)

    def annotations() -> Iterator[Annotation]:
        for example, outcomes in _find_outcomes(job, store, origin, split):
            annotation = read_example(job, example, outcomes)
            right = _count(job, count, example, annotation, outcomes)
            annotation = keeper.check(example, annotation)
            count.statuses[annotation.status] += 1
            page.add(split, example, annotation, outcomes, right)
            yield annotation

    write_annotations(job.folder, split, annotations())
    count.spent = store.spent(origin, split)
    return count


def _find_outcomes(
    job: Job, store: CompletionStore, origin: Origin, split: str
) -> Iterator[tuple[Example, list[Outcome]]]:
    """Yield the examples that were asked about with what came back."""
    for batch in batches(job.task.examples(split)):
        keys = {example.id: [origin.key(request) for request in job.requests(example, split)] for example in batch}
        flat = [key for own in keys.values() for key in own]
        found = store.outcomes(flat, logprobs=job.teacher.gives_logprobs)
        for example in batch:
            outcomes = [found[key] for key in keys[example.id] if key in found]
            if outcomes:
                yield example, outcomes


def read_example(job: Job, example: Example, outcomes: list[Outcome]) -> Annotation:
    """Return the annotation of an example: parsed from its completion, or the vote of several.

    Args:
        outcomes: its completions and failures; at least one.
    """
    completions = [one for one in outcomes if isinstance(one, Completion)]
    annotations = [job.annotate(example, completion) for completion in completions]
    probabilities = _weigh(job, example, completions, annotations)
    if not annotations:
        reason = next(one.reason for one in outcomes if isinstance(one, Failure))
        annotation = Annotation(example.id, status=f"request_failed: {reason}")
    else:
        annotation = annotations[0] if len(annotations) == 1 else vote(annotations, job.task.answers.equivalent)
    agreement = annotation.agreement
    if agreement is not None:  # samples that failed or are still to come agree with nothing
        agreement *= len(completions) / job.settings.samples
    system = job.prompt.system_of(example.id)
    return replace(annotation, agreement=agreement, system=system, probabilities=probabilities)


def _weigh(
    job: Job, example: Example, completions: list[Completion], annotations: list[Annotation]
) -> dict[str, float] | None:
    """Return closed answer -> probability by the completions' log-probabilities, a mean over samples; or None."""
    if not example.choices:
        return None
    cue = None if job.prompt.answer_format == WHOLE else job.prompt.cue
    found = [
        answer_probabilities(completion, one.label, example.choices, cue, job.task.answers)
        for completion, one in zip(completions, annotations, strict=True)
        if completion.logprobs and one.label is not None
    ]
    return mean_probabilities([one for one in found if one is not None])


def _count(job: Job, count: SplitCount, example: Example, annotation: Annotation, outcomes: list[Outcome]) -> bool:
    """Count an example; return whether the teacher answered it right."""
    right = job.task.answers.equivalent(annotation.label, example.label)
    counted: list[ExampleCount] = [count]
    if annotation.system is not None:
        counted.append(count.systems.setdefault(annotation.system, ExampleCount()))
    for one in counted:
        one.examples += 1
        one.parsed += annotation.label is not None
        one.gold += example.label is not None and any(isinstance(outcome, Completion) for outcome in outcomes)
        one.correct += right
    completions = [one for one in outcomes if isinstance(one, Completion)]
    count.weighed += sum(one.logprobs is not None for one in completions)
    count.models.update(one.model for one in completions if one.model)
    texts = [f"{one.reasoning or ''}{one.text}" for one in completions]
    if len(texts) > 1 and min(map(len, texts)) >= TELLING:
        count.sampled += 1
        count.alike += len(set(texts)) == 1
    return right
