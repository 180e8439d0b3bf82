"""How sure an accuracy and a difference of accuracies are, with few seeds and one shared test set."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95

BETTER, UNDECIDED, WORSE = "better", "no difference shown", "worse"


@dataclass(frozen=True)
class Estimate:
    """An accuracy and how far it may be off.

    Attributes:
        mean: mean over seeds.
        low: lower end of the 95% interval.
        high: upper end of it.
        method: ``seeds`` (spread between seeds) or ``test set`` (sampling of test examples alone).
    """

    mean: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline, in accuracy.

    Attributes:
        difference: of the means over seeds.
        low: lower end of the 95% interval.
        high: upper end of it.
        p_value: two-sided, of the hypothesis that there is no difference.
    """

    difference: float
    low: float
    high: float
    p_value: float


def estimate_accuracy(per_seed: Sequence[float], examples: int) -> Estimate:
    """Return the mean accuracy over seeds with its 95% interval.

    Two seeds or more: Student's t interval of the mean over seeds. It tells where the mean of many more seeds would
    lie on *this* test set; with two seeds it is wide (12.7 standard errors), and rightly so. A single seed, or seeds
    that agree to the last example, show no spread: then it is Wilson's interval for a share of ``examples`` test
    examples, which says nothing about other seeds.

    >>> estimate = estimate_accuracy([0.80, 0.82, 0.84], examples=1000)
    >>> round(estimate.mean, 3), round(estimate.low, 3), round(estimate.high, 3), estimate.method
    (0.82, 0.77, 0.87, 'seeds')
    >>> estimate = estimate_accuracy([0.82], examples=1000)
    >>> round(estimate.low, 3), round(estimate.high, 3), estimate.method
    (0.795, 0.843, 'test set')

    Raises:
        ValueError: without any seed or example.
    """
    if not per_seed or examples < 1:
        raise ValueError("an accuracy needs at least one seed and one test example")
    mean = float(np.mean(per_seed))
    if len(per_seed) > 1 and np.ptp(per_seed) > 0:
        error = float(np.std(per_seed, ddof=1)) / math.sqrt(len(per_seed))
        reach = float(stats.t.ppf(0.5 + LEVEL / 2, len(per_seed) - 1)) * error
        return Estimate(mean, max(0.0, mean - reach), min(1.0, mean + reach), "seeds")
    low, high = wilson_interval(mean, examples)
    return Estimate(mean, low, high, "test set")


def wilson_interval(share: float, examples: int) -> tuple[float, float]:
    """Return Wilson's 95% interval of a share that was seen among ``examples`` (Wilson 1927); it holds the share.

    >>> low, high = wilson_interval(1.0, 1221)
    >>> round(low, 4), high
    (0.9969, 1.0)
    """
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    scale = 1 + z * z / examples
    centre = (share + z * z / (2 * examples)) / scale
    reach = z * math.sqrt(share * (1 - share) / examples + z * z / (4 * examples * examples)) / scale
    # At a share of 0 or 1 rounding may leave an end a hair on the wrong side of the share itself.
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))


def compare_accuracies(candidate: NDArray[np.bool_], baseline: NDArray[np.bool_]) -> Difference:
    """Compare two methods on one test set, each trained with some seeds.

    Seeds and test examples are both samples, and crossed: every seed answers every example. So the variance of the
    difference of the two means is the sum of three parts, each estimated from the data:

    - between the candidate's seeds: variance of its accuracies / number of its seeds,
    - between the baseline's seeds: likewise (the two methods' seeds count as independent),
    - between test examples: variance over examples of (candidate's share of seeds that are right - baseline's) /
      number of examples; the examples are the same for both, so what is hard for both cancels.

    Interval and p-value come from Student's t with the degrees of freedom of Welch and Satterthwaite. The noise of a
    single answer is in the first parts and in the last, so the test is a little cautious. A bootstrap is not used:
    resampling two or three seeds understates their spread (by half in variance, for two), this does not.

    Where a method has a single seed, its spread between seeds is unknown and counts as zero: then the result is about
    this trained student and not about the method. With one seed each, this is the paired test on examples.

    Args:
        candidate: whether each answer is right, (seeds, examples).
        baseline: likewise, (its seeds, the same examples in the same order).

    Raises:
        ValueError: where the examples do not match or are fewer than two.
    """
    if candidate.ndim != 2 or baseline.ndim != 2 or candidate.shape[1] != baseline.shape[1]:
        raise ValueError(
            f"expected (seeds, examples) twice over the same examples: {candidate.shape}, {baseline.shape}"
        )
    examples = candidate.shape[1]
    if examples < 2 or not len(candidate) or not len(baseline):
        raise ValueError("a comparison needs at least one seed each and two test examples")
    per_example = candidate.mean(axis=0) - baseline.mean(axis=0)
    difference = float(per_example.mean())
    parts = [(float(per_example.var(ddof=1)) / examples, examples - 1)]
    for cell in (candidate, baseline):
        if len(cell) > 1:
            parts.append((float(cell.mean(axis=1).var(ddof=1)) / len(cell), len(cell) - 1))
    variance = sum(part for part, _ in parts)
    if variance == 0:  # every example answers alike: nothing is left to chance
        return Difference(difference, difference, difference, 0.0 if difference else 1.0)
    freedom = variance**2 / sum(part**2 / degrees for part, degrees in parts)
    error = math.sqrt(variance)
    reach = float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * error
    p_value = float(2 * stats.t.sf(abs(difference) / error, freedom))
    return Difference(difference, max(-1.0, difference - reach), min(1.0, difference + reach), p_value)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return Holm's (1979) adjusted p-values, for several comparisons that are made at once.

    >>> adjust_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def choose_verdict(difference: float, p_value: float) -> str:
    """Return in plain words what a comparison shows at the 5% level, given its (adjusted) p-value."""
    if p_value >= 1 - LEVEL:
        return UNDECIDED
    return BETTER if difference > 0 else WORSE
