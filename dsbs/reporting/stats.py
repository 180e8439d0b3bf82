"""Intervals and tests for scores and differences of scores, with few seeds and one shared test set.

Seeds and test examples are both samples, and crossed: every seed answers every example. The variance of a mean over
both is the sum of two parts: between seeds, and between examples. Either part contains the noise of single answers,
which is thus counted twice; with enough seeds to estimate it (``RESIDUAL_SEEDS``) it is subtracted once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

LEVEL = 0.95
RESIDUAL_SEEDS = 5  # with fewer, the noise stays counted twice, which is conservative
SEEDS, TEST_SET = "seeds and test set", "test set"

Scores = NDArray[np.float64]  # (seeds, examples)
Part = tuple[float, float]  # a part of a variance, and its degrees of freedom


@dataclass(frozen=True)
class Estimate:
    """A mean score with its 95% interval.

    Attributes:
        method: ``seeds and test set`` (variance of both), or ``test set`` (one seed: of examples only).
    """

    mean: float
    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Spread:
    """The components of the variance of a difference, for one seed on either side.

    Attributes:
        seeds: variance between seeds, summed over both sides; None where a side has a single seed.
        answers: variance of single answers, averaged over the test set, summed over both sides.
        examples: variance between test examples, which more seeds do not reduce.
    """

    seeds: float | None
    answers: float
    examples: float
    test_examples: int
    paired: bool

    def error(self, seeds: int) -> tuple[float, float]:
        """Return the expected standard error and degrees of freedom with ``seeds`` seeds on either side."""
        twice = 1 if seeds >= RESIDUAL_SEEDS else 2
        between = ((self.seeds or 0.0) + self.answers) / seeds
        rest = self.examples + (twice - 1) * self.answers / seeds
        freedom = (seeds - 1) * (1 if self.paired else 2)
        variance, expected = combine_parts([(between, freedom), (rest, self.test_examples - 1)])
        return math.sqrt(variance), expected


@dataclass(frozen=True)
class Difference:
    """Candidate minus baseline.

    Attributes:
        difference: of the means over seeds.
        bounded: whether scores lie between 0 and 1, so that no difference lies beyond -1 and 1.
    """

    difference: float
    error: float
    freedom: float
    spread: Spread
    bounded: bool = False

    @property
    def low(self) -> float:
        """Lower end of the 95% interval."""
        return self.interval()[0]

    @property
    def high(self) -> float:
        """Upper end of the 95% interval."""
        return self.interval()[1]

    def interval(self, level: float = LEVEL) -> tuple[float, float]:
        """Return the two-sided confidence interval."""
        if not self.error:
            return self.difference, self.difference
        reach = float(stats.t.isf((1 - level) / 2, self.freedom)) * self.error
        low, high = self.difference - reach, self.difference + reach
        return (max(-1.0, low), min(1.0, high)) if self.bounded else (low, high)

    @property
    def p_value(self) -> float:
        """The two-sided p-value of the null hypothesis that there is no difference."""
        return min(1.0, 2 * min(self.p_above(0.0), self.p_below(0.0)))

    def p_above(self, bound: float) -> float:
        """Return the one-sided p-value of the null hypothesis that the true difference is at most ``bound``."""
        if not self.error:
            return 0.0 if self.difference > bound else 1.0
        return float(stats.t.sf((self.difference - bound) / self.error, self.freedom))

    def p_below(self, bound: float) -> float:
        """Return the one-sided p-value of the null hypothesis that the true difference is at least ``bound``."""
        if not self.error:
            return 0.0 if self.difference < bound else 1.0
        return float(stats.t.cdf((self.difference - bound) / self.error, self.freedom))


def estimate_score(scores: Scores) -> Estimate:
    """Return the mean score with its 95% interval, over new seeds and new test examples.

    Its half-width is the root of the sum of two squares: a Student's t half-width for the seeds, which are few, and a
    normal one for the examples. Where every score is 0 or 1, it is Wilson's interval (1927) of that half-width, which
    stays between 0 and 1 and suits shares near either. With a single seed it covers the sampling of test examples only.

    >>> answers = np.array([[1.0] * right + [0.0] * (500 - right) for right in (400, 404, 408)])
    >>> estimate = estimate_score(answers)
    >>> round(estimate.mean, 2), round(estimate.low, 2), round(estimate.high, 2), estimate.method
    (0.81, 0.77, 0.84, 'seeds and test set')

    Args:
        scores: of every answer [seeds, examples].

    Raises:
        ValueError: there is no seed or no example.
    """
    if scores.ndim != 2 or not scores.size:
        raise ValueError("a score needs at least one seed and one test example")
    mean, (seeds, examples) = float(scores.mean()), scores.shape
    between_examples = _example_part(scores.mean(axis=0))[0] if examples > 1 else 0.0
    if seeds == 1:
        return _estimate(mean, between_examples, None, examples, is_binary(scores))
    if seeds >= RESIDUAL_SEEDS and examples > 1:
        between_examples = max(0.0, between_examples - _answer_part(scores)[0])
    return _estimate(mean, between_examples, _seed_part(scores), examples, is_binary(scores))


def estimate_means(per_seed: Sequence[float], examples: int, between_examples: float | None = None) -> Estimate:
    """Return what ``estimate_score`` does, from means alone, where seeds did not answer the same examples.

    Args:
        between_examples: variance of a mean over test examples; None: that of an accuracy.
    """
    mean, seeds, binary = float(np.mean(per_seed)), len(per_seed), between_examples is None
    between_seeds = (float(np.var(per_seed, ddof=1)) / seeds, seeds - 1.0) if seeds > 1 else None
    if between_examples is None:
        between_examples = mean * (1 - mean) / examples
    return _estimate(mean, between_examples, between_seeds, examples, binary)


def _estimate(
    mean: float, between_examples: float, between_seeds: Part | None, examples: int, binary: bool
) -> Estimate:
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    reach = z * math.sqrt(between_examples)
    if between_seeds:
        variance, freedom = between_seeds
        reach = math.hypot(reach, float(stats.t.ppf(0.5 + LEVEL / 2, freedom)) * math.sqrt(variance))
    method = SEEDS if between_seeds else TEST_SET
    if not binary:
        return Estimate(mean, mean - reach, mean + reach, method)
    size = mean * (1 - mean) * (z / reach) ** 2 if reach and 0 < mean < 1 else float(examples)
    low, high = wilson_interval(mean, size)
    return Estimate(mean, low, high, method)


def wilson_interval(share: float, examples: float) -> tuple[float, float]:
    """Return Wilson's 95% interval (1927) of a share observed among ``examples``; it contains the share.

    >>> low, high = wilson_interval(1.0, 1221)
    >>> round(low, 4), high
    (0.9969, 1.0)
    """
    z = float(stats.norm.ppf(0.5 + LEVEL / 2))
    scale = 1 + z * z / examples
    centre = (share + z * z / (2 * examples)) / scale
    reach = z * math.sqrt(share * (1 - share) / examples + z * z / (4 * examples * examples)) / scale
    # At a share of 0 or 1 rounding may put an end slightly beyond the share itself.
    return max(0.0, min(share, centre - reach)), min(1.0, max(share, centre + reach))


def compare_scores(candidate: Scores, baseline: Scores, paired: bool = False) -> Difference:
    """Compare two methods on one test set, each trained with some seeds.

    The variance of the difference of the two means is a sum of parts, each estimated from the data: between the
    candidate's and between the baseline's seeds (independent of each other), or, where seeds are ``paired``, between
    their differences; and between the differences on test examples (the same on both sides, so difficulty cancels).
    Degrees of freedom are Welch and Satterthwaite's. Where every score is 0 or 1, the part of the examples is at least
    that of Agresti and Min (2005) for pairs that all agree, so that identical answers do not look certain.

    A bootstrap is not used: resampling two or three seeds understates their variance (by half, for two).

    Where a side has a single seed, its variance between seeds is unknown and counts as zero: then the result is about
    this trained student, not the method. With one seed each, this is the paired test on examples.

    Args:
        candidate: score of each answer [seeds, examples].
        baseline: likewise [its seeds, the same examples in the same order].
        paired: whether the seeds of both sides pair up, row by row, by training subset and settings.

    Raises:
        ValueError: the examples do not match or are fewer than two, or paired sides differ in their number of seeds.
    """
    if candidate.ndim != 2 or baseline.ndim != 2 or candidate.shape[1] != baseline.shape[1]:
        raise ValueError(
            f"expected (seeds, examples) twice over the same examples: {candidate.shape}, {baseline.shape}"
        )
    if paired and len(candidate) != len(baseline):
        raise ValueError(f"expected as many seeds on either side to pair them: {len(candidate)}, {len(baseline)}")
    examples = candidate.shape[1]
    if examples < 2 or not len(candidate) or not len(baseline):
        raise ValueError("a comparison needs at least one seed each and two test examples")
    per_example = candidate.mean(axis=0) - baseline.mean(axis=0)
    binary = is_binary(candidate) and is_binary(baseline)
    floor = 1 / (examples + 2) ** 2 if binary else 0.0
    between_examples = max(_example_part(per_example)[0], floor)
    sides = [candidate - baseline] if paired else [candidate, baseline]
    seeds = [_seed_part(side) for side in sides if len(side) > 1]
    answers = [_answer_part(side) for side in sides if len(side) > 1]
    enough = min(len(side) for side in sides) >= RESIDUAL_SEEDS
    variance, freedom = combine_parts([(between_examples, examples - 1), *seeds], answers if enough else [])
    noise = sum(len(side) * _answer_part(side)[0] for side in sides if len(side) > 1)
    known = all(len(side) > 1 for side in sides)
    spread = Spread(
        seeds=max(0.0, sum(len(side) * _seed_part(side)[0] for side in sides) - noise) if known else None,
        answers=noise,
        examples=max(floor, between_examples - sum(part for part, _ in answers)),
        test_examples=examples,
        paired=paired,
    )
    return Difference(float(per_example.mean()), math.sqrt(variance), freedom, spread, bounded=binary)


def combine_parts(parts: Sequence[Part], counted_twice: Sequence[Part] = ()) -> Part:
    """Return the sum of the parts of a variance, less those counted twice, with Satterthwaite's degrees of freedom.

    The sum is at least the largest part, lest the subtraction of noisy estimates leave too little.
    """
    total = sum(part for part, _ in parts) - sum(part for part, _ in counted_twice)
    variance = max([total, *(part for part, _ in parts)], default=0.0)
    squares = sum(part**2 / degrees for part, degrees in [*parts, *counted_twice] if degrees > 0)
    return variance, (variance**2 / squares if squares else math.inf)


def is_binary(scores: Scores) -> bool:
    """Return whether every score is 0 or 1."""
    return bool(np.isin(scores, (0.0, 1.0)).all())


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm (1979) for multiple comparisons.

    >>> adjust_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    adjusted = [0.0] * len(p_values)
    floor = 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        floor = max(floor, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = floor
    return adjusted


def _seed_part(scores: Scores) -> Part:
    return float(scores.mean(axis=1).var(ddof=1)) / len(scores), len(scores) - 1


def _example_part(per_example: NDArray[np.float64]) -> Part:
    return float(per_example.var(ddof=1)) / len(per_example), len(per_example) - 1


def _answer_part(scores: Scores) -> Part:
    """Return the variance of a mean from the noise of single answers, which neither seed nor example explains."""
    seeds, examples = scores.shape
    rest = scores - scores.mean(axis=1, keepdims=True) - scores.mean(axis=0, keepdims=True) + scores.mean()
    freedom = (seeds - 1) * (examples - 1)
    return float((rest**2).sum()) / freedom / scores.size, freedom
