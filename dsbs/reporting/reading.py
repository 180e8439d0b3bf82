"""Reading the folders of training runs: finished ones whole, all others with the reason why they do not count."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint

MARKS = ("metrics.json", "failed.json", "manifest.json", "config.yaml")
# Folders of other stages, where `runs` names a folder above the runs.
ELSEWHERE = ("rationales", "report", "wandb")
REQUIRED = ("task", "student", "objective", "labels", "data_fraction", "seed", "steps", "best_step", "test")


@dataclass(frozen=True)
class Graded:
    """What a finished run answered on the test split, in the order of the ids.

    Attributes:
        test_set: a hash over ids and gold answers; equal where two runs were tested on the same.
        correct: whether each answer is right, (examples,).
        majority: the share of the most frequent gold answer: the accuracy of who always gives that one.
    """

    test_set: str
    correct: NDArray[np.bool_]
    majority: float = 0.0


@dataclass(frozen=True)
class FinishedRun:
    """A run with ``metrics.json``.

    Attributes:
        folder: where it lies.
        metrics: ``metrics.json``.
        config: ``config.yaml``, flat: ``objective.alpha`` -> 0.5.
        manifest: ``manifest.json``; empty where it is missing.
        answers: what ``predictions.parquet`` holds, or None.
        fault: why there are no answers, or None.
    """

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]
    manifest: dict[str, Any]
    answers: Graded | None
    fault: str | None

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.metrics["seed"])

    @property
    def data_fraction(self) -> float:
        """The share of the training data that the run saw."""
        return float(self.metrics["data_fraction"])

    @property
    def accuracy(self) -> float:
        """The share of test examples that are answered right."""
        return float(self.metrics["test"]["accuracy"])

    @property
    def ends_at_its_best(self) -> bool:
        """Whether the best checkpoint is the last, so that more steps might have helped."""
        return int(self.metrics["best_step"]) >= int(self.metrics["steps"])


@dataclass(frozen=True)
class LeftOut:
    """A run that does not count, and why."""

    folder: Path
    reason: str
    command: str | None = None


def read_runs(root: Path) -> tuple[list[FinishedRun], list[LeftOut]]:
    """Read every run under a folder.

    Raises:
        DataError: where the folder is missing or holds no run at all.
    """
    if not root.is_dir():
        raise DataError(
            f"runs={root}: no such folder. Give the folder of training runs, such as runs=outputs/train/triage; "
            "`python -m dsbs.train` makes them."
        )
    finished: list[FinishedRun] = []
    left_out: list[LeftOut] = []
    for folder in find_runs(root):
        run = read_run(folder)
        if isinstance(run, FinishedRun):
            finished.append(run)
        else:
            left_out.append(run)
    if not finished and not left_out:
        raise DataError(
            f"runs={root}: no runs here. `python -m dsbs.train` makes them, under outputs/train by default."
        )
    return finished, left_out


def find_runs(root: Path) -> Iterator[Path]:
    """Yield the folders of runs, sorted; what lies inside a run is not looked at."""
    for name, folders, files in os.walk(root):
        if any(mark in files for mark in MARKS):
            folders.clear()
            yield Path(name)
        folders[:] = sorted(folder for folder in folders if folder not in ELSEWHERE)


def read_run(folder: Path) -> FinishedRun | LeftOut:
    """Read one run."""
    try:
        manifest = _read_json(folder / "manifest.json")
    except DataError:
        manifest = {}
    command = manifest.get("command")
    if not (folder / "metrics.json").exists():
        return LeftOut(folder, _read_failure(folder), command)
    try:
        metrics = _read_json(folder / "metrics.json")
        missing = [key for key in REQUIRED if key not in metrics]
        missing += [] if "accuracy" in metrics.get("test", {}) else ["test.accuracy"]
        if missing:
            raise DataError(f"metrics.json lacks {', '.join(missing)}")
        config = flatten(yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8")))
    except (DataError, OSError, ValueError, yaml.YAMLError) as error:
        return LeftOut(folder, f"cannot be read: {error}", command)
    try:
        answers, fault = _read_answers(folder / "predictions.parquet", metrics["test"]), None
    except DataError as error:
        answers, fault = None, str(error)
    return FinishedRun(folder, metrics, config, manifest, answers, fault)


def flatten(node: Any, prefix: str = "") -> dict[str, Any]:
    """Return a nested mapping as one with dotted keys.

    >>> flatten({"objective": {"name": "finetune", "alpha": 0.5}, "seed": 0})
    {'objective.name': 'finetune', 'objective.alpha': 0.5, 'seed': 0}
    """
    if not isinstance(node, dict):
        return {prefix: node}
    flat: dict[str, Any] = {}
    for key, value in node.items():
        flat |= flatten(value, f"{prefix}.{key}" if prefix else str(key))
    return flat


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} is broken or missing ({error})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path.name}: expected an object, found {type(value).__name__}")
    return value


def _read_failure(folder: Path) -> str:
    try:
        return f"failed: {_read_json(folder / 'failed.json')['reason']}"
    except (DataError, KeyError):
        return "not finished: it is still running, or was stopped; the same command goes on from its last checkpoint"


def _read_answers(path: Path, test: dict[str, Any]) -> Graded:
    """Read predictions, and check that they are those which the metrics were computed from."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path, columns=["id", "gold", "correct"])
        rows = sorted(zip(*(table[name].to_pylist() for name in ("id", "gold", "correct")), strict=True))
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise DataError(f"predictions.parquet cannot be read ({str(error).splitlines()[0]})") from None
    ids = [id for id, _, _ in rows]
    correct = np.array([right for _, _, right in rows], dtype=np.bool_)
    if len(set(ids)) != len(ids):
        raise DataError("predictions.parquet names an id twice")
    if len(ids) != test.get("examples", len(ids)) or not ids or abs(correct.mean() - test["accuracy"]) > 1e-6:
        raise DataError("predictions.parquet and metrics.json do not agree on the test accuracy")
    golds = Counter(gold for _, gold, _ in rows)
    majority = golds.most_common(1)[0][1] / len(rows)
    return Graded(fingerprint([[id, gold] for id, gold, _ in rows], length=16), correct, majority)
