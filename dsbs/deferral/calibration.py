"""From a student's scores to probabilities that mean what they say: temperature scaling (Guo et al. 2017), isotonic
regression.
"""

import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from dsbs.core.records import Prediction
from dsbs.inference.confidence import MEASURED, SAMPLES

ENOUGH_FOR_ISOTONIC = 1000
RESOLUTION = 1e-6


@dataclass(frozen=True)
class Calibration:
    """How a confidence is computed from the log-probabilities of the closed answers.

    Attributes:
        confidence: ``probability`` or ``margin``, from the scores; ``agreement`` or ``logprob``, measured beside the
            answer (``dsbs.inference.confidence``).
        temperature: by which log-probabilities are divided before they become probabilities.
        steps: (confidence, calibrated confidence), rising; empty without isotonic regression.
        samples: how many answers are drawn for ``agreement``.
    """

    confidence: str = "probability"
    temperature: float = 1.0
    steps: tuple[tuple[float, float], ...] = field(default=())
    samples: int = SAMPLES

    @property
    def measured(self) -> bool:
        """Whether predictions need a confidence before they get here."""
        return self.confidence in MEASURED

    def sure(self, prediction: Prediction) -> float:
        """Return the confidence in a prediction, from 0 to 1; 0 where it has no answer, or no scores.

        >>> Calibration("agreement").sure(Prediction("1", None, "7", confidence=0.8))
        0.8
        """
        if prediction.label is None:
            return 0.0
        if self.measured:
            return 0.0 if prediction.confidence is None else self._level(prediction.confidence)
        return self.of(prediction.scores) if prediction.scores else 0.0

    def of(self, scores: Mapping[str, float]) -> float:
        """Return the confidence in the best answer, from 0 to 1.

        >>> round(Calibration().of({"yes": math.log(0.6), "no": math.log(0.2)}), 6)
        0.75
        >>> round(Calibration("margin").of({"yes": math.log(0.6), "no": math.log(0.2)}), 6)
        0.5
        >>> round(Calibration(steps=((0.0, 0.1), (0.5, 0.6))).of({"yes": 0.0}), 4)
        0.6
        """
        values = sorted((score / self.temperature for score in scores.values()), reverse=True)
        weights = [math.exp(value - values[0]) for value in values]
        total = math.fsum(weights)
        raw = weights[0] / total
        if self.confidence == "margin":
            raw = (weights[0] - (weights[1] if len(weights) > 1 else 0.0)) / total
        return self._level(raw)

    def _level(self, raw: float) -> float:
        """Return the step of a confidence."""
        if not self.steps:
            return raw
        place = bisect_right([start for start, _ in self.steps], raw)
        level = self.steps[max(0, place - 1)][1]
        return level + RESOLUTION * (raw - level)  # answers on one step keep their order


def fit_temperature(scores: Sequence[Mapping[str, float]], gold: Sequence[str]) -> float:
    """Return the temperature under which the gold answers are the most probable.

    Examples whose gold answer is not among the scores say nothing about it and are left out.
    """
    from scipy.optimize import minimize_scalar

    rows = [(one, label) for one, label in zip(scores, gold, strict=True) if label in one]
    if not rows:
        return 1.0
    values = [np.array(list(one.values())) for one, _ in rows]
    places = [list(one).index(label) for one, label in rows]

    def loss(log_temperature: float) -> float:
        total = 0.0
        for row, place in zip(values, places, strict=True):
            scaled = row / math.exp(log_temperature)
            peak = scaled.max()
            total += peak + math.log(np.exp(scaled - peak).sum()) - scaled[place]
        return total / len(values)

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded").x)


def fit_steps(confidences: Sequence[float], right: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """Return the rising steps of isotonic regression of being right on confidence."""
    from sklearn.isotonic import IsotonicRegression

    values = IsotonicRegression(y_min=0.0, y_max=1.0).fit(list(confidences), [float(one) for one in right])
    steps: list[tuple[float, float]] = []
    for start, level in zip(values.X_thresholds_.tolist(), values.y_thresholds_.tolist(), strict=True):
        if not steps or level > steps[-1][1]:
            steps.append((start, level))
    return tuple(steps)


def calibrate(
    kind: str, raw: Calibration, predictions: Sequence[Prediction], right: Sequence[bool]
) -> tuple[Calibration, str]:
    """Return a calibration fitted on validation, and which kind it is.

    Args:
        kind: ``temperature``, ``isotonic``, ``none`` or ``auto``.
        raw: which confidence is calibrated.
        predictions: the student's answers, with scores, or with the confidence that was measured.
        right: whether they are right.
    """
    if kind == "auto":
        small = "none" if raw.measured else "temperature"
        kind = "isotonic" if len(predictions) >= ENOUGH_FOR_ISOTONIC else small
    if kind == "none":
        return raw, kind
    scaled = raw
    if not raw.measured:
        scores = [one.scores or {} for one in predictions]
        scaled = replace(raw, temperature=fit_temperature(scores, [str(one.gold) for one in predictions]))
    if kind == "temperature":
        return scaled, kind
    return replace(scaled, steps=fit_steps([scaled.sure(one) for one in predictions], right)), kind
