"""A deferral study: calibrate and choose a threshold on validation, then measure once on test."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import LABELLED, Annotation, Example, Prediction
from dsbs.deferral.calibration import Calibration, calibrate
from dsbs.deferral.measures import (
    augrc,
    choose_threshold,
    interval_of_risks,
    lower_bound,
    risk_coverage,
    threshold_of_share,
)
from dsbs.deferral.policy import Policy, shares_of
from dsbs.deferral.settings import DeferConfig
from dsbs.inference.checkpoint import shared_choices
from dsbs.inference.confidence import SCORED
from dsbs.reporting.reliability import expected_calibration_error
from dsbs.tasks.base import Task

COVERAGES = [number / 20 for number in range(1, 21)]


@dataclass(frozen=True)
class Costs:
    """Costs; None where unknown."""

    teacher_usd_per_1000: float | None = None
    extraction_usd: float | None = None
    training_seconds: float | None = None


@dataclass(frozen=True)
class SplitData:
    """A split: its examples, the student's answers, and example id -> the teacher's annotation, where there is one."""

    examples: Sequence[Example]
    predictions: Sequence[Prediction]
    teacher: Mapping[str, Annotation]

    def right(self, task: Task) -> list[bool]:
        """Return whether each of the student's answers is right."""
        return [task.answers.equivalent(one.label, one.gold) for one in self.predictions]


def choose_policy(task: Task, config: DeferConfig, part: SplitData, costs: Costs) -> tuple[Policy, str]:
    """Return the policy fitted on validation, and the kind of its calibration.

    Raises:
        ConfigError: the goal cannot be reached, or needs a price that is unknown.
        DataError: the student gives no scores, or the teacher's answers are missing.
    """
    if config.confidence in SCORED and any(one.scores is None for one in part.predictions):
        raise DataError(
            "This student gives no log-probabilities of closed answers (it writes free ones), so they give no "
            "confidence to defer by. Type confidence=logprob or confidence=agreement; students of tasks with closed "
            "answers have scores with decoding=rank."
        )
    right = part.right(task)
    raw = Calibration(config.confidence, samples=config.samples)
    calibration, kind = calibrate(config.calibration, raw, part.predictions, right)
    confidences = [calibration.apply(one) for one in part.predictions]
    if config.goal in ("accuracy", "agreement"):
        goal = config.accuracy if config.goal == "accuracy" else config.agreement
        assert goal is not None
        hits = right if config.goal == "accuracy" else agreements(task, part)
        threshold = choose_threshold(confidences, hits, goal)
        if math.isinf(threshold):
            raise ConfigError(describe_unreached(config.goal, goal, len(hits)))
    else:
        threshold = threshold_of_share(confidences, wanted_share(config, costs))
    deferred = sum(one < threshold for one in confidences) / len(confidences)
    shared, _ = shared_choices(part.examples)
    labels = shares_of(list(part.predictions)) if shared else {}
    return Policy(calibration, threshold, deferred, labels, len(confidences)), kind


def describe_ties(wanted: float, policy: Policy, predictions: Sequence[Prediction]) -> str | None:
    """Return why fewer answers are deferred than wanted, and the next share that can be; None where none are missing.

    Args:
        wanted: share of the answers to defer.
        policy: chosen for that share.
        predictions: that it was chosen on.
    """
    confidences = [policy.confidence(one) for one in predictions]
    deferred, count = sum(one < policy.threshold for one in confidences), len(confidences)
    if wanted and not round(wanted * count):
        return f"{wanted:.2%} of {count:,} validation answers are less than half an answer, so none is deferred."
    if deferred >= round(wanted * count):
        return None
    alike = confidences.count(policy.threshold)
    rest = f"{alike:,} of {count:,} validation answers are equally confident ({policy.threshold:.4g})"
    return (
        f"{deferred / count:.1%} of validation is deferred, not {wanted:.1%}: {rest}, and a threshold cannot tell them "
        f"apart. share={(deferred + alike) / count:.6g} defers them, too; another confidence=... may tell them apart."
    )


def describe_unreached(name: str, goal: float, answers: int) -> str:
    """Return why no threshold reaches a goal.

    Args:
        name: of the goal, ``accuracy`` or ``agreement``.
        answers: of validation.
    """
    needed = math.ceil(math.log(0.05) / math.log(goal)) if goal < 1 else None
    if needed is None or answers < needed:
        rest = f"at least {needed:,} answers, all correct" if needed else "more answers than any data set has"
        return (
            f"{name}={goal:g}: showing it with 95% confidence takes {rest}; validation has {answers:,}. Try a lower "
            f"{name}, share=0.5, or more validation examples (task.validation_share)."
        )
    return (
        f"{name}={goal:g}: not reached with 95% confidence, even by the most confident of {answers:,} validation "
        f"answers. Try a lower {name}, share=0.5, or a better student."
    )


def wanted_share(config: DeferConfig, costs: Costs) -> float:
    """Return the share of answers to defer: ``share``, or what ``usd_per_1000`` allows.

    Raises:
        ConfigError: the teacher's price is unknown.
    """
    if config.share is not None:
        return config.share
    assert config.usd_per_1000 is not None
    if costs.teacher_usd_per_1000 is None:
        raise ConfigError(
            "usd_per_1000: the teacher's price is unknown. Type teacher_usd_per_1000=1.50, or use share=0.2."
        )
    if not costs.teacher_usd_per_1000:
        return 1.0  # the teacher's answers cost nothing
    return min(1.0, config.usd_per_1000 / costs.teacher_usd_per_1000)


def agreements(task: Task, part: SplitData) -> list[bool]:
    """Return whether each of the student's answers agrees with the teacher's.

    Raises:
        DataError: the teacher was not asked about some examples.
    """
    missing = [example.id for example in part.examples if example.id not in part.teacher]
    if missing:
        raise DataError(
            f"agreement: the teacher was not asked about {len(missing):,} of {len(part.examples):,} validation "
            f"examples (such as {missing[0]}). Ask it with dsbs.extract labels=teacher and the settings of the run, "
            "or use accuracy=0.95."
        )
    return [
        task.answers.equivalent(one.label, part.teacher[one.id].label) and part.teacher[one.id].status in LABELLED
        for one in part.predictions
    ]


def measure(task: Task, policy: Policy, part: SplitData, costs: Costs) -> dict[str, Any]:
    """Return the figures of a policy on a split, as in ``defer.json``."""
    right = part.right(task)
    confidences = [policy.confidence(one) for one in part.predictions]
    raw = [Calibration(policy.calibration.confidence).apply(one) for one in part.predictions]
    kept = [confidence >= policy.threshold for confidence in confidences]
    wrong = 1 - sum(right) / len(right)
    figures: dict[str, Any] = {
        "examples": len(right),
        "accuracy": 1 - wrong,
        "deferred": 1 - sum(kept) / len(kept),
        "accuracy_kept": _share(right, kept),
        "accuracy_kept_lower_95": lower_bound(sum(a and b for a, b in zip(right, kept, strict=True)), sum(kept)),
        "accuracy_deferred_student": _share(right, [not one for one in kept]),
        "augrc": augrc(confidences, right),
        "augrc_random": wrong / 2,
        "augrc_oracle": wrong**2 / 2,
        "ece_before": expected_calibration_error(raw, right),
        "ece_after": expected_calibration_error(confidences, right),
        "curve": {
            "coverage": COVERAGES,
            "risk": np.interp(COVERAGES, *risk_coverage(confidences, right)).tolist(),
            "interval": interval_of_risks(confidences, right, COVERAGES),
            "random": [wrong] * len(COVERAGES),
            "oracle": [max(0.0, (one - (1 - wrong)) / one) for one in COVERAGES],
        },
        "by_class": _by_class(part, right, kept),
    }
    return figures | _teacher_figures(task, part, right, kept) | prices(figures["deferred"], costs)


def prices(deferred: float, costs: Costs) -> dict[str, Any]:
    """Return the cost per 1,000 answers and the requests after which the extraction is paid back; None where unknown.

    Args:
        deferred: share of answers that the teacher gives.
    """
    teacher = costs.teacher_usd_per_1000
    own = None if teacher is None else teacher * deferred
    break_even = None
    if teacher and own is not None and costs.extraction_usd is not None and own < teacher:
        break_even = math.ceil(1000 * costs.extraction_usd / (teacher - own))
    return {
        "usd_per_1000_teacher": teacher,
        "usd_per_1000": own,
        "extraction_usd": costs.extraction_usd,
        "training_seconds": costs.training_seconds,
        "break_even_requests": break_even,
    }


def _teacher_figures(task: Task, part: SplitData, right: list[bool], kept: list[bool]) -> dict[str, Any]:
    """Return the accuracy of the teacher, overall and on deferred examples; None where it was not asked."""
    if any(example.id not in part.teacher for example in part.examples):
        names = ("accuracy_teacher", "accuracy_deferred_teacher", "accuracy_together", "agreement_kept")
        return dict.fromkeys(names)
    taught = [part.teacher[one.id].label for one in part.predictions]
    teacher = [task.answers.equivalent(label, one.gold) for label, one in zip(taught, part.predictions, strict=True)]
    same = [task.answers.equivalent(label, one.label) for label, one in zip(taught, part.predictions, strict=True)]
    together = [mine if keep else theirs for mine, theirs, keep in zip(right, teacher, kept, strict=True)]
    return {
        "accuracy_teacher": sum(teacher) / len(teacher),
        "accuracy_deferred_teacher": _share(teacher, [not one for one in kept]),
        "accuracy_together": sum(together) / len(together),
        "agreement_kept": _share(same, kept),
    }


def _by_class(part: SplitData, right: list[bool], kept: list[bool]) -> dict[str, dict[str, Any]]:
    classes: dict[str, dict[str, Any]] = {}
    for gold in sorted({str(one.gold) for one in part.predictions}):
        mine = [str(one.gold) == gold for one in part.predictions]
        both = [a and b for a, b in zip(mine, kept, strict=True)]
        classes[gold] = {
            "examples": sum(mine),
            "deferred": 1 - sum(both) / sum(mine),
            "accuracy": _share(right, mine),
            "accuracy_kept": _share(right, both),
        }
    return classes


def _share(values: Sequence[bool], among: Sequence[bool]) -> float | None:
    chosen = [value for value, one in zip(values, among, strict=True) if one]
    return sum(chosen) / len(chosen) if chosen else None
