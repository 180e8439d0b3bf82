"""The comparisons of a report: which conditions are compared, and the results."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dsbs.reporting.claims import SHOWN, Remedy, choose_claim, choose_verdict, seeds_to_settle
from dsbs.reporting.conditions import Condition
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.stats import LEVEL, Difference, adjust_holm, compare_scores
from dsbs.reporting.variants import TEACHERS_OWN, differing_settings

HEADLINE, SAME_FRACTION = "headline", "same fraction"
CONTROL, CONTROL_BASELINE = "control", "control against baseline"
PAIRED_SEEDS = 4  # with fewer, pairing loses more degrees of freedom than it gains


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline.

    Attributes:
        kind: ``headline`` (a share of the data against all of it), ``same fraction``, ``control`` (a candidate against
            itself on annotations that a control changed) or ``control against baseline``.
        margin: non-inferiority margin, as a difference of scores.
        family: the number of comparisons of its kind, for which p-values are adjusted.
        result: candidate minus baseline, or None where they cannot be compared.
        p_adjusted: two-sided p-value, adjusted by Holm among the comparisons of the same kind.
        p_noninferior: adjusted one-sided p-value of the null hypothesis "worse by the margin or more".
        p_beyond: adjusted one-sided p-value of the null hypothesis "worse by the margin or less".
        refusal: why they cannot be compared, or None.
    """

    kind: str
    candidate: Condition
    baseline: Condition
    margin: float
    family: int = 1
    result: Difference | None = None
    p_adjusted: float = 1.0
    p_noninferior: float = 1.0
    p_beyond: float = 1.0
    refusal: str | None = None

    @property
    def one_seed(self) -> bool:
        """Whether a side has a single seed, so that the result is about that student, not the method."""
        return min(len(self.candidate.runs), len(self.baseline.runs)) == 1

    @property
    def claim(self) -> str:
        """Whether non-inferiority is shown, one-sided at the 5% level.

        ``shown``, ``not shown``, ``shown worse`` (by more than the margin), or ``this student only``.
        """
        return choose_claim(self.p_noninferior, self.p_beyond, self.one_seed)

    @property
    def holds(self) -> bool:
        """Whether the claim is shown."""
        return self.result is not None and self.claim == SHOWN

    @property
    def verdict(self) -> str:
        """Whether there is any difference, two-sided at the 5% level.

        ``better``, ``no difference shown``, ``worse``, or ``this student only``.
        """
        assert self.result is not None
        return choose_verdict(self.result.difference, self.p_adjusted, self.one_seed)

    @property
    def interval(self) -> tuple[float, float]:
        """The interval of the difference at the level of Holm's adjustment, so that interval and p-value agree."""
        assert self.result is not None
        times = self.p_adjusted / self.result.p_value if self.result.p_value else 1.0
        return self.result.interval(1 - (1 - LEVEL) / max(1.0, times))

    @property
    def remedy(self) -> Remedy | None:
        """The sample size that would settle the claim; None where it is unknown."""
        return seeds_to_settle(self.result, self.margin, self.family) if self.result else None


def compare_conditions(conditions: Sequence[Condition], settings: ReportSettings) -> list[Comparison]:
    """Return all comparisons: headlines, each method against the baseline on the same share of the data, controls.

    P-values are adjusted among the comparisons of a kind.
    """
    families = {
        HEADLINE: pair_headlines(conditions, settings),
        SAME_FRACTION: pair_same_fraction(conditions, settings),
        CONTROL: pair_controls(conditions, settings),
        CONTROL_BASELINE: [
            (control, baseline)
            for control in conditions
            if control.control
            for baseline in find_baselines(control, conditions, settings.baseline, control.data_fraction)
        ],
    }
    return [
        comparison
        for kind, pairs in families.items()
        for comparison in _finish([Comparison(kind, *pair, settings.allowance) for pair in pairs])
    ]


def choose_equal(
    comparisons: Sequence[Comparison], conditions: Sequence[Condition], settings: ReportSettings
) -> list[Comparison]:
    """Return the headline candidates' comparisons on equal labels.

    Without a headline, those of the candidates on the share of the claim, or on the smallest.
    """
    wanted = [item.candidate for item in comparisons if item.kind == HEADLINE]
    if not wanted:
        candidates = [one for one in conditions if one.objective in settings.candidates and not one.control]
        share = settings.share or min((one.data_fraction for one in candidates), default=None)
        wanted = [one for one in candidates if one.data_fraction == share]
    return [
        item
        for item in comparisons
        if item.kind == SAME_FRACTION and item.result and any(item.candidate is one for one in wanted)
    ]


def pair_headlines(conditions: Sequence[Condition], settings: ReportSettings) -> list[tuple[Condition, Condition]]:
    """Return for each student each candidate on the claim's share of the data, with the baseline on all data."""
    pairs = []
    for student in dict.fromkeys(condition.student for condition in conditions):
        for objective in settings.candidates:
            candidates = [
                condition
                for condition in conditions
                if (condition.student, condition.objective) == (student, objective) and not condition.control
            ]
            share = settings.share or min((condition.data_fraction for condition in candidates), default=1.0)
            if share < 1:
                for candidate in candidates:
                    if candidate.data_fraction == share:
                        found = find_baselines(candidate, conditions, settings.baseline, 1.0)
                        pairs += [(candidate, baseline) for baseline in found]
    return pairs


def pair_same_fraction(conditions: Sequence[Condition], settings: ReportSettings) -> list[tuple[Condition, Condition]]:
    """Return each condition of another objective with the baseline on the same share of the data."""
    return [
        (candidate, baseline)
        for candidate in conditions
        if candidate.objective != settings.baseline and not candidate.control
        for baseline in find_baselines(candidate, conditions, settings.baseline, candidate.data_fraction)
    ]


def pair_controls(conditions: Sequence[Condition], settings: ReportSettings) -> list[tuple[Condition, Condition]]:
    """Return each candidate with its controls on the same share of the data.

    Its controls are those of its own objective and those of the baseline.
    """
    return [
        (candidate, control)
        for control in conditions
        if control.control
        for candidate in conditions
        if candidate.objective in settings.candidates
        and not candidate.control
        and control.objective in (candidate.objective, settings.baseline)
        and (candidate.student, candidate.labels, candidate.data_fraction)
        == (control.student, control.labels, control.data_fraction)
        and candidate.agrees_with(control)
    ]


def find_baselines(
    candidate: Condition, conditions: Iterable[Condition], baseline: str, fraction: float
) -> list[Condition]:
    """Return the conditions of the baseline, with the candidate's student, to compare a candidate with.

    Those with the candidate's labels (gold or teacher) are preferred; a setting that varies on both sides must have the
    same value. With the teacher's labels, any objective of the baseline's class counts, as fine-tuning on them is
    ``distill``.
    """
    conditions = [condition for condition in conditions if not condition.control]
    kinds = {condition.kind for condition in conditions if condition.objective == baseline} or {baseline}
    found = [
        condition
        for condition in conditions
        if (condition.student, condition.data_fraction) == (candidate.student, fraction)
        and (condition.objective != candidate.objective or candidate.control)
        and (condition.objective == baseline or (candidate.labels != "gold" and condition.kind in kinds))
        and candidate.agrees_with(condition)
    ]
    alike = [condition for condition in found if condition.labels == candidate.labels]
    return alike or found


def refuse(candidate: Condition, baseline: Condition) -> str | None:
    """Return why two conditions cannot be compared, or None."""
    for role, condition in (("candidate", candidate), ("baseline", baseline)):
        if condition.fault:
            return f"{role}: {condition.fault}"
    if candidate.test_set != baseline.test_set:
        return "they were tested on different examples"
    if differences := differing_settings([candidate.data], [baseline.data]):
        return f"they learned from different data ({'; '.join(differences)})"
    if candidate.scores().shape[1] < 2:
        return "there is a single test example"
    return None


def may_pair_seeds(comparison: Comparison) -> bool:
    """Return whether a comparison pairs seeds.

    It does on the same share of the data, with the same four or more seeds, and equal settings except the methods' own:
    then runs of one seed saw the same subset in the same order. A headline never does.
    """
    candidate, baseline = comparison.candidate, comparison.baseline
    return (
        comparison.kind != HEADLINE
        and candidate.seeds == baseline.seeds
        and len(candidate.seeds) >= PAIRED_SEEDS
        and candidate.labels == baseline.labels
        and not unequal_settings(comparison)
    )


def unequal_settings(comparison: Comparison) -> list[str]:
    """Return the settings, with both values, in which the sides differ, except those of methods and teachers."""
    candidate, baseline = comparison.candidate, comparison.baseline
    ignored = ("control", *(TEACHERS_OWN if not (candidate.teacher and baseline.teacher) else ()))
    return differing_settings([run.config for run in candidate.runs], [run.config for run in baseline.runs], ignored)


def _finish(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Compute the comparisons of a kind and adjust their p-values."""
    computed = [_compute(comparison) for comparison in comparisons]
    made = [item for item in computed if item.result]
    two_sided = iter(adjust_holm([item.result.p_value for item in made if item.result]))
    noninferior = iter(adjust_holm([item.result.p_above(-item.margin) for item in made if item.result]))
    beyond = iter(adjust_holm([item.result.p_below(-item.margin) for item in made if item.result]))
    return [
        replace(
            item,
            family=len(made),
            p_adjusted=next(two_sided),
            p_noninferior=next(noninferior),
            p_beyond=next(beyond),
        )
        if item.result
        else item
        for item in computed
    ]


def _compute(comparison: Comparison) -> Comparison:
    candidate, baseline = comparison.candidate, comparison.baseline
    if refusal := refuse(candidate, baseline):
        return replace(comparison, refusal=refusal)
    result = compare_scores(candidate.scores(), baseline.scores(), may_pair_seeds(comparison))
    return replace(comparison, result=result)
