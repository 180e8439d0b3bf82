"""Labels saved: the share of the data on which a candidate reaches the baseline's score on all data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dsbs.reporting.comparisons import find_baselines, refuse
from dsbs.reporting.conditions import Condition, group_lines
from dsbs.reporting.effort import count_labels
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.stats import LEVEL, compare_scores

RESAMPLES, CHUNK = 2000, 250
ALREADY, NEVER = -math.inf, math.inf  # reached on the smallest share; not reached on the largest


@dataclass(frozen=True)
class Saving:
    """Where a candidate's curve reaches the baseline's score on all data.

    Attributes:
        candidate: the conditions of its curve, smallest share first.
        baseline: the condition on all data.
        fraction: the share of the data, interpolated; None: not reached.
        low: lower end of the 95% interval; None: below the smallest share with runs.
        high: upper end of the interval; None: not reached.
        reached: whether the curve reaches the score.
        noninferior: whether, on the share that was run at or after ``high``, the candidate is shown to be at most the
            margin worse. A bootstrap of answers that all agree looks certain even with five test examples.
        bound: whether ``fraction`` is the smallest share with runs, and so an upper bound.
    """

    candidate: list[Condition]
    baseline: Condition
    fraction: float | None
    low: float | None
    high: float | None
    reached: bool
    noninferior: bool
    bound: bool
    target: float

    @property
    def one_seed(self) -> bool:
        """Whether a condition has a single seed, so that the interval leaves out the variance between its seeds."""
        return any(len(condition.runs) == 1 for condition in (*self.candidate, self.baseline))

    @property
    def shown(self) -> bool:
        """Whether the interval ends below all of the data, the comparison there agrees, and all have several seeds."""
        return self.high is not None and self.high < 1 and self.noninferior and not self.one_seed

    def training_labels(self, fraction: float | None) -> float | None:
        """Return the number of training labels at a share of the data; None where unknown."""
        return self._labels(fraction, "training")

    def all_labels(self, fraction: float | None) -> float | None:
        """Return the number of training and validation labels at a share of the data; None where unknown."""
        return self._labels(fraction, "total")

    def _labels(self, fraction: float | None, kind: str) -> float | None:
        counts = [(cell.data_fraction, count_labels(cell)) for cell in self.candidate]
        known = [(share, float(getattr(count, kind))) for share, count in counts if count]
        if fraction is None or len(known) < len(counts):
            return None
        shares, labels = zip(*known, strict=True)
        return float(np.interp(fraction, shares, labels))


@dataclass(frozen=True)
class Refused:
    """A curve whose labels saved are unknown.

    Attributes:
        candidate: the first condition of the curve that cannot be compared with the baseline.
        reason: why not.
    """

    candidate: Condition
    baseline: Condition
    reason: str


def find_savings(conditions: Sequence[Condition], settings: ReportSettings) -> tuple[list[Saving], list[Refused]]:
    """Return the labels saved by each curve of a candidate, where the baseline was run on all data."""
    savings, refused = [], []
    for line in group_lines([one for one in conditions if one.objective in settings.candidates and not one.control]):
        for baseline in find_baselines(line[0], conditions, settings.baseline, 1.0):
            faults = [Refused(one, baseline, reason) for one in line if (reason := refuse(one, baseline))]
            refused += faults[:1]
            if not faults:
                savings.append(measure_saving(line, baseline, settings.allowance))
    return savings, refused


def measure_saving(line: list[Condition], baseline: Condition, margin: float) -> Saving:
    """Return where a candidate's curve reaches the baseline's score, with a bootstrap interval.

    Args:
        line: the candidate's conditions, smallest share first.
        margin: non-inferiority margin, as a difference of scores.
    """
    shares = np.array([condition.data_fraction for condition in line])
    scores = [condition.scores() for condition in line]
    curve = np.array([score.mean() for score in scores])
    target = float(baseline.scores().mean())
    point = find_crossing(shares, curve, target)
    low, high = bootstrap_crossing(shares, scores, baseline.scores())
    after = next((one for share, one in zip(shares, scores, strict=True) if share >= high * (1 - 1e-9)), None)
    return Saving(
        candidate=line,
        baseline=baseline,
        fraction=None if point == NEVER else float(shares[0]) if point == ALREADY else point,
        low=low if math.isfinite(low) else None,
        high=float(shares[0]) if high == ALREADY else high if math.isfinite(high) else None,
        reached=point != NEVER,
        noninferior=after is not None and compare_scores(after, baseline.scores()).p_above(-margin) < 1 - LEVEL,
        bound=point == ALREADY,
        target=target,
    )


def bootstrap_crossing(
    shares: NDArray[np.float64],
    scores: Sequence[NDArray[np.float64]],
    baseline: NDArray[np.float64],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, float]:
    """Return the 95% percentile interval of ``find_crossing``; its ends may be infinite.

    Test examples are resampled jointly for all conditions, seeds within each condition. Deviations of seeds are scaled
    by sqrt(n / (n - 1)), because n resampled seeds vary less than n new ones. A condition with one seed adds no
    variance of seeds, so the interval is then too narrow.

    Args:
        shares: of the data, ascending.
        scores: of the candidate on each share [seeds, examples].
        baseline: of the baseline on all data [its seeds, the same examples].
    """
    generator = np.random.default_rng(seed)
    examples = baseline.shape[1]
    crossings: list[float] = []
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        weights = generator.multinomial(examples, np.full(examples, 1 / examples), size=count) / examples
        resampled = np.stack([_resample_means(one, weights, generator) for one in scores], axis=1)
        targets = _resample_means(baseline, weights, generator)
        crossings += [find_crossing(shares, row, one) for row, one in zip(resampled, targets, strict=True)]
    low, high = np.quantile(np.array(crossings), [0.025, 0.975], method="inverted_cdf")
    return float(low), float(high)


def find_crossing(shares: NDArray[np.float64], curve: NDArray[np.float64], target: float) -> float:
    """Return the smallest share at which a curve reaches a score, interpolated over the logarithm of the share.

    ``ALREADY`` if it is reached on the smallest share, ``NEVER`` if on none.

    >>> round(find_crossing(np.array([0.25, 1.0]), np.array([0.6, 0.8]), 0.7), 3)
    0.5
    >>> find_crossing(np.array([0.25]), np.array([0.6]), 0.5), find_crossing(np.array([0.25]), np.array([0.6]), 0.7)
    (-inf, inf)
    """
    above = np.flatnonzero(curve >= target - 1e-12)
    if not len(above):
        return NEVER
    after = int(above[0])
    if after == 0:
        return ALREADY
    low, high = math.log(shares[after - 1]), math.log(shares[after])
    part = (target - curve[after - 1]) / (curve[after] - curve[after - 1])
    return math.exp(low + float(part) * (high - low))


def _resample_means(
    scores: NDArray[np.float64], weights: NDArray[np.float64], generator: np.random.Generator
) -> NDArray[np.float64]:
    """Return a condition's mean in each bootstrap sample, with its seeds resampled as well."""
    seeds = len(scores)
    by_seed = weights @ scores.T  # (resamples, seeds)
    mean = by_seed.mean(axis=1)
    if seeds == 1:
        return mean
    resampled = np.take_along_axis(by_seed, generator.integers(seeds, size=by_seed.shape), axis=1)
    return mean + (resampled.mean(axis=1) - mean) * math.sqrt(seeds / (seeds - 1))
