"""Measures of confidences and deferral: risk and coverage, AUGRC, thresholds with a guarantee."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

LEVEL = 0.95  # of confidence bounds
RESAMPLES = 500  # of the bootstrap
Numbers = Sequence[float] | np.ndarray
Flags = Sequence[bool] | np.ndarray


def lower_bound(successes: int, trials: int) -> float:
    """Return the one-sided lower 95% confidence bound of a share (Clopper and Pearson).

    >>> round(lower_bound(95, 100), 4), lower_bound(0, 10), lower_bound(0, 0)
    (0.8977, 0.0, 0.0)
    """
    from scipy.stats import beta

    return float(beta.ppf(1 - LEVEL, successes, trials - successes + 1)) if successes else 0.0


def choose_threshold(confidences: Numbers, right: Flags, goal: float) -> float:
    """Return the lowest threshold above which answers have at least the accuracy ``goal``, with 95% confidence.

    Thresholds are tested from the most confident answers down until one fails, so that no correction for multiple
    tests is needed (fixed sequence testing; Angelopoulos et al. 2021). The first test takes the fewest answers that
    could pass it.

    Returns:
        The threshold; infinite where not even the most confident answers reach the goal.
    """
    order = sorted(range(len(confidences)), key=lambda position: -confidences[position])
    least = next((count for count in range(1, len(order) + 1) if lower_bound(count, count) >= goal), None)
    if least is None:
        return float("inf")
    found, correct = float("inf"), 0
    # At most 50 tests: one after every answer would soon end by a single wrong one. Equally confident answers are kept
    # together, so a test that is due among them comes after the last one.
    stride, due = max(1, len(order) // 50), least
    for kept, position in enumerate(order, 1):
        correct += right[position]
        last_of_ties = kept == len(order) or confidences[order[kept]] < confidences[position]
        if not last_of_ties or (kept < due and kept != len(order)) or kept < least:
            continue
        if lower_bound(correct, kept) < goal:
            break
        found, due = confidences[position], kept + stride
    return found


def threshold_of_share(confidences: Numbers, share: float) -> float:
    """Return the threshold below which a share of the answers lies, or less where many are equally confident.

    For a share of 0 it is 0, below which no answer lies, be it less confident than all of these.

    >>> threshold_of_share([0.1, 0.2, 0.3, 0.4], 0.5), threshold_of_share([0.1, 0.2], 0.0)
    (0.3, 0.0)
    """
    if share == 0:
        return 0.0
    ordered = sorted(confidences)
    position = min(round(share * len(ordered)), len(ordered))
    return float("inf") if position == len(ordered) else ordered[position]


def risk_coverage(confidences: Numbers, right: Flags) -> tuple[np.ndarray, np.ndarray]:
    """Return coverages and risks (wrong answers among those kept), most confident first; ties are kept together.

    >>> coverage, risk = risk_coverage([0.9, 0.5, 0.7, 0.5], [True, False, True, True])
    >>> coverage.tolist(), [round(one, 3) for one in risk.tolist()]
    ([0.25, 0.5, 1.0], [0.0, 0.0, 0.25])
    """
    order = np.argsort(-np.asarray(confidences), kind="stable")
    values, wrong = np.asarray(confidences)[order], ~np.asarray(right, dtype=bool)[order]
    last = np.append(values[1:] < values[:-1], True)
    kept = np.arange(1, len(values) + 1)
    return kept[last] / len(values), np.cumsum(wrong)[last] / kept[last]


def augrc(confidences: Numbers, right: Flags) -> float:
    """Return the area under the generalized risk-coverage curve (AUGRC; Traub et al. 2024).

    It is the mean over coverages of the share of all answers that are both wrong and kept; lower is better.

    >>> augrc([0.9, 0.1], [True, False]), augrc([0.1, 0.9], [True, False])
    (0.125, 0.375)
    """
    coverage, risk = risk_coverage(confidences, right)
    coverage, failures = np.append(0.0, coverage), np.append(0.0, coverage * risk)
    return float(np.trapezoid(failures, coverage))


def bootstrap_interval(measure: Callable[[np.ndarray, np.ndarray], Any], confidences: Numbers, right: Flags) -> Any:
    """Return the lower and the upper bound of the 95% bootstrap interval, over examples, of a measure.

    Args:
        measure: a function of confidences and of which answers are right; returns a number or several.

    Returns:
        The bounds, of shape (2,) or (2, numbers of the measure).
    """
    generator, values, hits = np.random.default_rng(0), np.asarray(confidences), np.asarray(right, dtype=bool)
    resamples = (generator.integers(0, len(values), len(values)) for _ in range(RESAMPLES))
    return np.quantile([measure(values[rows], hits[rows]) for rows in resamples], (0.025, 0.975), axis=0)


def interval_of_risks(confidences: Numbers, right: Flags, coverages: Sequence[float]) -> list[tuple[float, float]]:
    """Return the 95% bootstrap interval, over examples, of the risk at each coverage."""

    def risks(values: np.ndarray, hits: np.ndarray) -> np.ndarray:
        return np.interp(coverages, *risk_coverage(values, hits))

    low, high = bootstrap_interval(risks, confidences, right)
    return list(zip(low.tolist(), high.tolist(), strict=True))
