"""What a comparison shows: non-inferiority by a margin, any difference, and how many seeds would settle it."""

import math
from dataclasses import dataclass

from scipy import stats

from dsbs.reporting.stats import LEVEL, Difference

SHOWN, NOT_SHOWN, SHOWN_WORSE, ONE_STUDENT = "shown", "not shown", "shown worse", "this student only"
BETTER, UNDECIDED, WORSE = "better", "no difference shown", "worse"
POWER = 0.8  # that `seeds_to_settle` plans for
MAX_SEEDS = 100


@dataclass(frozen=True)
class Remedy:
    """The sample size that would settle an open claim, if the true difference is the observed one.

    Attributes:
        seeds: seeds on either side, for a power of 80%; None: 100 seeds would not suffice.
        test_examples: test examples needed even with many seeds, where the present ones do not suffice.
    """

    seeds: int | None
    test_examples: int | None = None


def choose_claim(p_noninferior: float, p_beyond: float, one_seed: bool) -> str:
    """Return whether the candidate is shown to be worse by less than the margin, or by more, at the one-sided 5% level.

    Args:
        p_noninferior: (adjusted) p-value of the null hypothesis that it is worse by the margin or more.
        p_beyond: (adjusted) p-value of the null hypothesis that it is worse by the margin or less.
        one_seed: whether a side has a single seed, so that the result is about that student only.

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
    """Return whether there is a difference at the two-sided 5% level.

    Args:
        p_value: (adjusted) two-sided p-value.
    """
    if one_seed:
        return ONE_STUDENT
    if p_value >= 1 - LEVEL:
        return UNDECIDED
    return BETTER if difference > 0 else WORSE


def seeds_to_settle(result: Difference, margin: float, family: int = 1) -> Remedy | None:
    """Return how many seeds would settle the claim either way, if the true difference is the observed one.

    None where a side has one seed, so that the variance between seeds is unknown.

    Args:
        margin: non-inferiority margin, as a difference of scores.
        family: the number of comparisons that share the 5% level; each has its part of it (Bonferroni), lest seeds be
            promised to show what Holm's adjustment still leaves open.
    """
    if result.spread.seeds is None:
        return None
    distance = abs(result.difference + margin)
    for seeds in range(2, MAX_SEEDS + 1):
        error, freedom = result.spread.error(seeds)
        if distance >= error * _reach(freedom, family):
            return Remedy(seeds)
    error, freedom = result.spread.error(MAX_SEEDS)
    limit = math.sqrt(result.spread.examples) * _reach(math.inf, family)
    if distance and distance < limit:
        return Remedy(None, math.ceil(result.spread.test_examples * (limit / distance) ** 2))
    return Remedy(None)


def _reach(freedom: float, family: int) -> float:
    """Return how many standard errors a difference must lie from a bound to be detected with probability ``POWER``."""
    return float(stats.t.isf((1 - LEVEL) / family, freedom) + stats.t.ppf(POWER, freedom))
