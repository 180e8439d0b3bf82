"""How far confidences can be taken at their word: the reliability curve and the expected calibration error."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

BINS = 15


@dataclass(frozen=True)
class Bin:
    """Answers of similar confidence.

    Attributes:
        confidence: their mean.
        accuracy: the share of them that is right.
    """

    confidence: float
    accuracy: float
    answers: int


def reliability(
    confidences: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = BINS
) -> list[Bin]:
    """Return bins of equally many answers, the least confident first; fewer bins where there are fewer answers."""
    order = np.argsort(np.asarray(confidences), kind="stable")
    values, hits = np.asarray(confidences, dtype=float)[order], np.asarray(right, dtype=float)[order]
    parts = np.array_split(np.arange(len(values)), min(bins, len(values)))
    return [Bin(float(values[part].mean()), float(hits[part].mean()), len(part)) for part in parts]


def expected_calibration_error(
    confidences: Sequence[float] | np.ndarray, right: Sequence[bool] | np.ndarray, bins: int = BINS
) -> float:
    """Return the expected calibration error (ECE): the mean of |confidence - accuracy| over answers, in bins.

    >>> expected_calibration_error([0.75] * 4, [True, True, True, False], bins=1)
    0.0
    """
    parts = reliability(confidences, right, bins)
    return sum(part.answers * abs(part.confidence - part.accuracy) for part in parts) / len(confidences)
