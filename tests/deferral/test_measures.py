"""Confidences mean what they say, thresholds keep what they promise, and areas are what they are by hand."""

import math

import numpy as np
import pytest

from dsbs.core.records import Prediction
from dsbs.deferral.calibration import Calibration, calibrate, fit_isotonic, fit_temperature
from dsbs.deferral.measures import (
    augrc,
    choose_threshold,
    interval_of_risks,
    lower_bound,
    threshold_of_share,
)
from dsbs.reporting.reliability import expected_calibration_error


def drawn(count: int, temperature: float, seed: int = 0) -> tuple[list[dict[str, float]], list[str]]:
    """Return scores that are too sure by a factor, and gold answers drawn from the true probabilities."""
    generator = np.random.default_rng(seed)
    logits = generator.normal(size=(count, 3)) * 1.5
    true = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    gold = ["abc"[generator.choice(3, p=row)] for row in true]
    scores = [dict(zip("abc", row * temperature, strict=True)) for row in logits]
    return scores, gold


def test_without_a_wrong_answer_in_validation_confidences_still_differ() -> None:
    """Else a good student with few validation examples would never defer."""
    scores = [{"a": -0.001 * one, "b": -6.0 - one / 4, "c": -9.0} for one in range(1, 31)]
    temperature = fit_temperature(scores, ["a"] * 30)
    confidences = [Calibration(temperature=temperature).from_scores(one) for one in scores]
    assert len(set(confidences)) == 30
    assert sum(confidences) / 30 == pytest.approx(30 / 31, abs=0.01)


def test_a_label_that_training_lacked_does_not_make_all_confidences_equal() -> None:
    """No temperature makes it more probable; one such example in validation got the highest."""
    scores, gold = drawn(50, 1.0)
    unlearned = [one | {"d": -math.inf} for one in scores]
    assert fit_temperature(unlearned, [*gold[:-1], "d"]) < 2 * fit_temperature(unlearned, gold) < 4
    assert fit_temperature([{"a": 0.0, "d": -math.inf}] * 9, ["a"] * 9) == 1.0


def test_the_temperature_is_found() -> None:
    scores, gold = drawn(4000, 3.0)
    assert fit_temperature(scores, gold) == pytest.approx(3.0, rel=0.1)


def test_calibration_lowers_the_error() -> None:
    scores, gold = drawn(4000, 3.0)
    right = [max(one, key=one.__getitem__) == label for one, label in zip(scores, gold, strict=True)]
    before = expected_calibration_error([Calibration().from_scores(one) for one in scores], right)
    pairs = zip(gold, scores, strict=True)
    predictions = [Prediction.ranked(str(number), *pair) for number, pair in enumerate(pairs)]
    for kind in ("temperature", "isotonic"):
        calibration, _ = calibrate(kind, Calibration(), predictions, right)
        after = expected_calibration_error([calibration.from_scores(one) for one in scores], right)
        assert after < before / 4
    assert calibrate("auto", Calibration(), predictions[:50], right[:50])[1] == "temperature"
    assert calibrate("auto", Calibration("agreement"), predictions[:50], right[:50])[1] == "none"


def test_steps_rise_and_keep_the_order_of_answers() -> None:
    steps = fit_isotonic([0.1, 0.2, 0.3, 0.4], [False, True, False, True])
    assert [level for _, level in steps] == sorted(level for _, level in steps)
    calibration = Calibration(steps=steps)
    values = [calibration.from_scores({"a": math.log(share), "b": math.log(1 - share)}) for share in (0.6, 0.7, 0.8)]
    assert values == sorted(set(values))


def test_a_threshold_keeps_its_promise() -> None:
    """Over draws of validation, the kept answers of the population are worse than the goal in about 5% or fewer."""
    broken = 0
    for seed in range(200):
        generator = np.random.default_rng(seed)
        confidence = generator.uniform(size=400)
        right = generator.uniform(size=400) < confidence
        threshold = choose_threshold(confidence.tolist(), right.tolist(), 0.8)
        broken += math.isfinite(threshold) and (1 + threshold) / 2 < 0.8  # the mean of a uniform confidence above it
    assert broken <= 0.08 * 200


def test_a_goal_beyond_reach_keeps_nothing() -> None:
    assert choose_threshold([0.9] * 20, [True] * 20, 0.99) == math.inf
    assert choose_threshold([0.9] * 20, [False] * 20, 0.5) == math.inf
    assert choose_threshold([0.9] * 400, [True] * 400, 0.99) == 0.9


def test_a_goal_is_reached_where_confidences_have_few_values() -> None:
    """Such as the agreement of ten samples: the end of equal ones rarely is where a test would be due."""
    levels = [level for level in range(10, 0, -1) for _ in range(97)]
    right = [level > 4 or number % 2 == 0 for number, level in enumerate(levels)]
    assert choose_threshold(levels, right, 0.9) == 4


def test_shares() -> None:
    confidences = [number / 10 for number in range(10)]
    for share in (0.0, 0.3, 1.0):
        threshold = threshold_of_share(confidences, share)
        assert sum(one < threshold for one in confidences) == round(10 * share)


def test_areas_between_oracle_and_random() -> None:
    right = [True] * 70 + [False] * 30
    oracle = [1 - place / 100 for place in range(100)]
    assert augrc(oracle, right) == pytest.approx(0.3**2 / 2, abs=1e-3)
    assert augrc([0.5] * 100, right) == pytest.approx(0.3 / 2)
    assert augrc(oracle[::-1], right) > 0.15


def test_bounds() -> None:
    assert lower_bound(100, 100) == pytest.approx(0.05 ** (1 / 100))
    [(low, high)] = interval_of_risks([0.9, 0.8, 0.7, 0.6] * 25, [True, True, False, True] * 25, [1.0])
    assert low < 0.25 < high
