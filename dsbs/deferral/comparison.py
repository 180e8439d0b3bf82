"""Compare how well each confidence separates a student's right answers from its wrong ones."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbs.core.errors import ConfigError, StudentError
from dsbs.core.records import Example, Prediction
from dsbs.deferral.calibration import Calibration, calibrate
from dsbs.deferral.measures import augrc, bootstrap_interval, choose_threshold
from dsbs.deferral.settings import CONFIDENCES, DeferConfig
from dsbs.inference.confidence import MEASURED, add_confidence
from dsbs.inference.predictor import Predictor
from dsbs.reporting.reliability import expected_calibration_error
from dsbs.tasks.base import Task

SHARES = (0.5, 0.8)  # of the answers, the most confident ones
TARGET = 0.9  # accuracy of what is kept, where none is named


def compare_kinds(
    task: Task, predictor: Predictor, config: DeferConfig, validation: Sequence[Example], test: Sequence[Example]
) -> dict[str, Any]:
    """Return for each confidence its AUGRC with a bootstrap interval, calibration error, accuracy and time.

    ``coverage`` is the share of answers above the threshold that keeps ``config.accuracy`` on validation with 95%
    confidence, and ``accuracy_kept`` how many of them are right; None where none are above it.
    """
    answered = {"validation": predictor.predict(validation), "test": predictor.predict(test)}
    rights = {split: [task.answers.equivalent(one.label, one.gold) for one in of] for split, of in answered.items()}
    right = rights["test"]
    wrong = 1 - sum(right) / len(right)
    target = TARGET if config.accuracy is None else config.accuracy
    found: dict[str, Any] = {}
    for kind in CONFIDENCES:
        try:
            predictions, seconds = _measured(predictor, kind, config, (validation, test), answered)
        except (ConfigError, StudentError) as error:
            found[kind] = {"unavailable": str(error).splitlines()[0]}
            continue
        how = "auto" if kind in MEASURED and config.calibration == "temperature" else config.calibration
        raw = Calibration(kind, samples=config.samples)
        calibration, _ = calibrate(how, raw, predictions["validation"], rights["validation"])
        sure = [calibration.apply(one) for one in predictions["test"]]
        kept = np.asarray(sure) >= choose_threshold(
            [calibration.apply(one) for one in predictions["validation"]], rights["validation"], target
        )
        order = np.argsort(-np.asarray(sure), kind="stable")
        hits = np.asarray(right, dtype=float)[order]
        found[kind] = {
            "augrc": augrc(sure, right),
            "augrc_interval": bootstrap_interval(augrc, sure, right).tolist(),
            "ece_before": expected_calibration_error([raw.apply(one) for one in predictions["test"]], right),
            "ece": expected_calibration_error(sure, right),
            "accuracy_surest": [float(hits[: max(1, round(share * len(hits)))].mean()) for share in SHARES],
            "coverage": float(kept.mean()),
            "accuracy_kept": float(np.asarray(right)[kept].mean()) if kept.any() else None,
            "ms_per_answer": 1000 * seconds / len(test),
        }
    return {
        "examples": len(test),
        "validation_examples": len(validation),
        "accuracy": 1 - wrong,
        "augrc_random": wrong / 2,
        "augrc_oracle": wrong**2 / 2,
        "target": target,
        "confidences": found,
    }


def _measured(
    predictor: Predictor,
    kind: str,
    config: DeferConfig,
    parts: tuple[Sequence[Example], Sequence[Example]],
    answered: dict[str, list[Prediction]],
) -> tuple[dict[str, list[Prediction]], float]:
    """Return the predictions with a kind of confidence, and the seconds that it took on test."""
    if kind not in MEASURED:
        if any(one.scores is None for of in answered.values() for one in of):
            raise ConfigError("there are no closed answers")
        return answered, 0.0
    found, seconds = {}, 0.0
    for (split, predictions), examples in zip(answered.items(), parts, strict=True):
        started = time.perf_counter()
        found[split] = add_confidence(predictor, kind, examples, predictions, config.samples)
        seconds = time.perf_counter() - started
    return found, seconds
