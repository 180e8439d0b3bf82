"""What a condition took (labels, steps, tokens, time), and the size and speed of its students."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from dsbs.reporting.conditions import Condition
from dsbs.reporting.reading import FinishedRun


@dataclass(frozen=True)
class LabelCount:
    """Labels of a condition, means over its seeds.

    Attributes:
        training: labelled training examples.
        choosing: labelled validation examples that the checkpoint is chosen on.
    """

    training: float
    choosing: float

    @property
    def total(self) -> float:
        """Labels for training and choosing together."""
        return self.training + self.choosing


def count_labels(condition: Condition) -> LabelCount | None:
    """Return how many labels a condition used, or None where that is unknown."""
    training, choosing = condition.mean("train_examples"), condition.mean("validation_examples")
    return None if training is None or choosing is None else LabelCount(training, choosing)


def measure_effort(condition: Condition) -> dict[str, Any]:
    """Return the effort of a condition's trainings, means over seeds; unknown values are None.

    ``example_visits`` counts an example every time it is seen, ``epochs`` is that divided by the number of examples;
    ``label_tokens`` and ``target_tokens`` are tokens in the loss: of labels, and of all targets.
    """
    runs = [_measure_run(run) for run in condition.runs]
    return {key: _mean([run[key] for run in runs]) for key in runs[0]}


def measure_student(condition: Condition) -> dict[str, Any]:
    """Return parameters, size in bytes and milliseconds per answer of a condition's students, means over seeds."""
    keys = ("parameters", "size_bytes", "milliseconds_per_example")
    return {key: condition.mean(key) for key in keys}


def _measure_run(run: FinishedRun) -> dict[str, Any]:
    metrics, config = run.metrics, run.config
    steps, examples = metrics.get("steps"), metrics.get("train_examples")
    visits = metrics.get("example_visits")
    if visits is None and steps is not None:  # older runs: a batch is no larger than the data
        batch = config.get("training.per_device_train_batch_size")
        times = config.get("training.gradient_accumulation_steps", 1)
        visits = steps * min(batch * times, examples or batch * times) if batch else None
    tokens = metrics.get("target_tokens")
    # Without rationales every token of the loss is one of a label.
    label_tokens = metrics.get("label_tokens", tokens if metrics.get("teacher") is None else None)
    return {
        "steps": steps,
        "best_step": metrics.get("best_step"),
        "epochs": visits / examples if visits and examples else None,
        "example_visits": visits,
        "label_tokens": label_tokens,
        "target_tokens": tokens,
        "seconds": metrics.get("seconds"),
    }


def _mean(values: list[Any]) -> float | None:
    return None if any(value is None for value in values) else float(np.mean(values))
