"""What a comparison shows: non-inferiority by a declared margin, superiority beside it, and what would settle it."""

import math
from dataclasses import dataclass

from scipy import stats

from dsbs.reporting.stats import LEVEL, Difference

SHOWN, NOT_SHOWN, SHOWN_WORSE, ONE_STUDENT = "shown", "not shown", "shown worse", "this student only"
BETTER, UNDECIDED, WORSE = "better", "no difference shown", "worse"
POWER = 0.8  # the chance of settling a question that `seeds_to_settle` aims at
MOST_SEEDS = 100


@dataclass(frozen=True)
class Remedy:
    """What would settle a claim that is not settled, if the true difference is the one that was seen.

    Attributes:
        seeds: seeds on either side that would, four times in five; None: no number of seeds up to 100 would.
        test_examples: test examples that would be needed even with many seeds, where those there are do not suffice.
    """

    seeds: int | None
    test_examples: int | None = None


def choose_claim(p_noninferior: float, p_beyond: float, one_seed: bool) -> str:
    """Return whether the candidate is shown to be no worse than the baseline, or worse, by no more than a margin.

    Args:
        p_noninferior: one-sided (adjusted) p-value of the hypothesis that it is worse by the margin or more.
        p_beyond: one-sided (adjusted) p-value of the hypothesis that it is worse by the margin or less.
        one_seed: whether a side has a single seed, whose result is about that student alone.

    >>> choose_claim(0.01, 0.99, one_seed=False), choose_claim(0.2, 0.8, False), choose_claim(0.99, 0.01, False)
    ('shown', 'not shown', 'shown worse')
    >>> choose_claim(0.01, 0.99, one_seed=True)
    'this student only'
    """
    if one_seed:
        return ONE_STUDENT
    if p_noninferior < 1 - LEVEL:
        return SHOWN
    return SHOWN_WORSE if p_beyond < 1 - LEVEL else NOT_SHOWN


def choose_verdict(difference: float, p_value: float, one_seed: bool = False) -> str:
    """Return whether there is a difference at the two-sided 5% level, given its (adjusted) p-value."""
    if one_seed:
        return ONE_STUDENT
    if p_value >= 1 - LEVEL:
        return UNDECIDED
    return BETTER if difference > 0 else WORSE


def seeds_to_settle(result: Difference, margin: float) -> Remedy | None:
    """Return how many seeds would show the claim, or that it is worse, if the true difference is the one seen.

    None where the spread between seeds is not known, as a side has one seed.

    Args:
        result: the comparison.
        margin: by how much the candidate may be worse, as a difference of scores.
    """
    if result.spread.seeds is None:
        return None
    distance = abs(result.difference + margin)
    for seeds in range(2, MOST_SEEDS + 1):
        error, freedom = result.spread.error(seeds)
        if distance >= error * _reach(freedom):
            return Remedy(seeds)
    error, freedom = result.spread.error(MOST_SEEDS)
    limit = math.sqrt(result.spread.examples) * _reach(math.inf)
    if distance and distance < limit:
        return Remedy(None, math.ceil(result.spread.test_examples * (limit / distance) ** 2))
    return Remedy(None)


def _reach(freedom: float) -> float:
    """Return the standard errors between a bound and a difference that is told from it so often as ``POWER`` says."""
    return float(stats.t.ppf(LEVEL, freedom) + stats.t.ppf(POWER, freedom))
