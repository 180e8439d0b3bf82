"""Calibrated confidences: temperature scaling (Guo et al. 2017) and isotonic regression."""

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
    """How the confidence in an answer is computed.

    Attributes:
        confidence: ``probability`` or ``margin``, from the scores of closed answers; ``agreement`` or ``logprob``,
            measured separately (``dsbs.inference.confidence``).
        temperature: divides the log-probabilities before the softmax.
        steps: (confidence, calibrated confidence), ascending; empty without isotonic regression.
        samples: answers sampled for ``agreement``.
    """

    confidence: str = "probability"
    temperature: float = 1.0
    steps: tuple[tuple[float, float], ...] = field(default=())
    samples: int = SAMPLES

    @property
    def measured(self) -> bool:
        """Whether the confidence must be measured and set in predictions before ``apply`` is called."""
        return self.confidence in MEASURED

    @property
    def measures(self) -> tuple[str, int] | None:
        """What ``add_confidence`` has to measure: the confidence and the number of samples; None: nothing."""
        return (self.confidence, self.samples) if self.measured else None

    def apply(self, prediction: Prediction) -> float:
        """Return the confidence in a prediction, from 0 to 1; 0 without an answer, or without scores and confidence.

        >>> Calibration("agreement").apply(Prediction("1", None, "7", confidence=0.8))
        0.8
        """
        if prediction.label is None:
            return 0.0
        if self.measured:
            return 0.0 if prediction.confidence is None else self._level(prediction.confidence)
        return self.from_scores(prediction.scores) if prediction.scores else 0.0

    def from_scores(self, scores: Mapping[str, float]) -> float:
        """Return the confidence in the best answer, from 0 to 1, given the log-probabilities of the closed answers.

        >>> round(Calibration().from_scores({"yes": math.log(0.6), "no": math.log(0.2)}), 6)
        0.75
        >>> round(Calibration("margin").from_scores({"yes": math.log(0.6), "no": math.log(0.2)}), 6)
        0.5
        >>> round(Calibration(steps=((0.0, 0.1), (0.5, 0.6))).from_scores({"yes": 0.0}), 4)
        0.6
        """
        values = sorted((score / self.temperature for score in scores.values()), reverse=True)
        weights = [math.exp(value - values[0]) for value in values]
        total = math.fsum(weights)
        if math.isnan(total):  # a score is NaN, or none is finite
            return 0.0
        raw = weights[0] / total
        if self.confidence == "margin":
            raw = (weights[0] - (weights[1] if len(weights) > 1 else 0.0)) / total
        return self._level(raw)

    def _level(self, raw: float) -> float:
        """Return the calibrated value of a raw confidence."""
        if not self.steps:
            return raw
        position = bisect_right([start for start, _ in self.steps], raw)
        level = self.steps[max(0, position - 1)][1]
        return level + RESOLUTION * (raw - level)  # answers on one step keep their order


def fit_temperature(scores: Sequence[Mapping[str, float]], gold: Sequence[str]) -> float:
    """Return the temperature, from 0.05 to 20, that maximizes the likelihood of the gold answers.

    One more answer, of average confidence, counts as wrong (a prior, as in Platt 1999): otherwise a student that is
    right on all of a small validation split would get the lowest temperature, and later answers the confidence 1.
    So do examples whose gold answer the student cannot give (a label of no training example): no temperature makes it
    more probable. Examples with less than two answers that it can give are left out; 1 without any.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import logsumexp

    rows: list[list[float]] = []  # the best score first
    golds: list[float] = []
    for one, label in zip(scores, gold, strict=True):
        known = sorted(filter(math.isfinite, one.values()), reverse=True)
        if len(known) > 1:
            rows.append(known)
            golds.append(one.get(label, -math.inf))
    if not rows:
        return 1.0
    width = max(map(len, rows))
    table, right = np.array([row + [-math.inf] * (width - len(row)) for row in rows]), np.array(golds)

    def loss(log_temperature: float) -> float:
        scaled = table / math.exp(log_temperature)
        total, others = logsumexp(scaled, axis=1), logsumexp(scaled[:, 1:], axis=1)
        found = total - np.where(np.isfinite(right), right / math.exp(log_temperature), others)
        return float(found.sum() + (total - others).mean())

    return math.exp(minimize_scalar(loss, bounds=(math.log(0.05), math.log(20.0)), method="bounded").x)


def fit_isotonic(confidences: Sequence[float], right: Sequence[bool]) -> tuple[tuple[float, float], ...]:
    """Return the ascending steps of an isotonic regression of correctness on confidence."""
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
    """Return a calibration fitted on validation, and its kind, which ``auto`` chooses by the number of examples."""
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
    return replace(scaled, steps=fit_isotonic([scaled.apply(one) for one in predictions], right)), kind
