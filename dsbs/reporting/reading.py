"""Read the folders of training runs: finished ones, and others with the reason why they are left out."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.untrusted import Fields, excerpt, load_json, read_file, read_yaml
from dsbs.inference.metrics import might_improve
from dsbs.reporting.answers import Answered, read_answers
from dsbs.reporting.schema import CONFIG, check, check_manifest, check_metrics, clean
from dsbs.students import STUDENTS
from dsbs.tasks.base import ACCURACY
from dsbs.training.run_folder import flatten

MARKS = ("metrics.json", "failed.json", "manifest.json", "config.yaml")
# Folders of other stages, where `runs` names a folder above the runs.
ELSEWHERE = ("rationales", "report", "wandb")
MAX_JSON = 2**24  # of metrics with their history


@dataclass(frozen=True)
class FinishedRun:
    """A run with ``metrics.json``.

    Attributes:
        config: ``config.yaml``, flat: ``objective.alpha`` -> 0.5; with the origin of data and annotations, as far as
            known, under ``data`` and ``learnt.``; see ``trace_origin``.
        manifest: ``manifest.json``; ``{}`` where it is missing.
        answers: content of ``predictions.parquet``, or None.
        fault: why there are no answers, or None.
    """

    folder: Path
    metrics: dict[str, Any]
    config: dict[str, Any]
    manifest: dict[str, Any]
    answers: Answered | None
    fault: str | None

    @property
    def seed(self) -> int:
        """The run's seed."""
        return int(self.metrics["seed"])

    @property
    def data_fraction(self) -> float:
        """The share of the training data."""
        return float(self.metrics["data_fraction"])

    @property
    def metric(self) -> str:
        """The task's metric, ``accuracy`` by default."""
        return str(self.metrics.get("metric") or ACCURACY)

    @property
    def score(self) -> float:
        """The mean score over the test examples."""
        return float(self.metrics["test"][self.metric])

    @property
    def tested(self) -> bool:
        """Whether it was measured on test."""
        return "test" in self.metrics

    @property
    def ends_at_its_best(self) -> bool:
        """Whether more steps might have helped a student that is trained in steps; see ``might_improve``."""
        kind = str(self.config.get("student.kind"))
        in_steps = kind not in STUDENTS or STUDENTS[kind].reads_training
        return in_steps and might_improve(self.metrics)


@dataclass(frozen=True)
class LeftOut:
    """A run that is left out.

    Attributes:
        command: that made it, or None.
    """

    folder: Path
    reason: str
    command: str | None = None


def read_runs(root: Path) -> tuple[list[FinishedRun], list[LeftOut]]:
    """Return the finished and the left-out runs under a folder.

    Raises:
        DataError: the folder is missing or has no runs.
    """
    if not root.is_dir():
        raise DataError(
            f"runs={root}: no such folder. Give the folder of training runs, such as runs=outputs/train/triage; "
            "`python -m dsbs.train` creates them."
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
            f"runs={root}: no runs here. `python -m dsbs.train` creates them, under outputs/train by default."
        )
    return finished, left_out


def find_runs(root: Path) -> Iterator[Path]:
    """Yield the folders of runs, sorted; folders inside a run are skipped."""
    for name, folders, files in os.walk(root):
        if any(mark in files for mark in MARKS):
            folders.clear()
            yield Path(name)
        folders[:] = sorted(folder for folder in folders if folder not in ELSEWHERE)


def read_run(folder: Path) -> FinishedRun | LeftOut:
    """Read one run."""
    try:
        manifest = _read_json(folder / "manifest.json")
        check_manifest(manifest)
        fault = None
    except DataError as error:  # some are left without one, and are finished all the same
        fault = f"cannot be read: {error}" if (folder / "manifest.json").exists() else None
        manifest = {}
    command = manifest.get("command")
    if not (folder / "metrics.json").exists():
        return LeftOut(folder, _read_failure(folder), command)
    if fault:
        return LeftOut(folder, fault, command)
    try:
        metrics = _read_json(folder / "metrics.json")
        check_metrics(metrics)
        config = _read_config(folder / "config.yaml")
    except DataError as error:
        return LeftOut(folder, f"cannot be read: {error}", command)
    metric = metrics.get("metric") or ACCURACY
    config |= trace_origin(config, manifest)
    if metrics.get("test") is None:  # a search, which leaves the test split alone
        if metrics["validation"].get(metric) is None:
            return LeftOut(folder, f"cannot be read: metrics.json lacks validation.{metric}", command)
        return FinishedRun(folder, metrics, config, manifest, None, "its test split was not read (test=false)")
    if metrics["test"][metric] is None:
        return LeftOut(folder, "not measured: its task has no test examples with gold labels", command)
    fault = None
    try:
        answers = read_answers(folder / "predictions.parquet", metrics["test"], metric)
    except DataError as error:
        answers, fault = None, str(error)
        if metric != ACCURACY or not metrics["test"].get("examples"):  # without the answers there is no interval
            return LeftOut(folder, _without(folder / "predictions.parquet", error, "predictions.parquet: "), command)
    return FinishedRun(folder, metrics, config, manifest, answers, fault)


def trace_origin(config: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the origin of a run's data and annotations as settings, which tell apart runs of the same command.

    ``data`` is a hash over the manifest's fields on the data that are no settings, such as hashes of files.
    ``learnt.*`` are its fields on the annotations, of which older runs have the folder only.

    Args:
        config: flat, of the run.
    """
    task = (manifest.get("settings") or {}).get("task") or {}
    content = {key: value for key, value in task.items() if f"task.{key}" not in config}
    origin: dict[str, Any] = {"data": fingerprint(content)} if content else {}
    origin |= trace_batch(manifest)
    annotations = manifest.get("annotations")
    if isinstance(annotations, dict):
        return origin | {f"learnt.{key}": value for key, value in flatten(annotations).items()}
    if place := manifest.get("rationales"):
        origin |= {"learnt.folder": Path(str(place)).name, "learnt.filter": "none", "learnt.samples": 1}
    return origin


def trace_batch(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return the global batch of an optimizer step as settings of a single process without accumulation."""
    settings = manifest.get("settings") or {}
    training = settings.get("training") or {}
    keys = ("training.per_device_train_batch_size", "training.gradient_accumulation_steps")
    cut = [number for key in keys if isinstance(number := training.get(key.partition(".")[2]), int)]
    if len(cut) < len(keys):
        return {}
    return dict(zip(keys, (math.prod(cut) * settings.get("processes", 1), 1), strict=True))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = load_json(read_file(path, MAX_JSON))
    except DataError as error:
        raise DataError(f"{path.name} is corrupt or missing ({_without(path, error)})") from None
    except ValueError as error:
        raise DataError(f"{path.name} is corrupt or missing ({excerpt(str(error))})") from None
    if not isinstance(value, dict):
        raise DataError(f"{path.name}: expected an object, found {type(value).__name__}")
    cleaned: dict[str, Any] = clean(value, path.name)
    return cleaned


def _read_config(path: Path) -> dict[str, Any]:
    """Return ``config.yaml``, flat."""
    try:
        values = read_yaml(path)
    except DataError as error:
        raise DataError(f"{path.name}: {_without(path, error)}") from None
    flat = flatten(clean(values, path.name))
    check(flat, CONFIG, path.name)
    return flat


def _without(path: Path, error: DataError, instead: str = "") -> str:
    return str(error).replace(f"{path}: ", instead)


def _read_failure(folder: Path) -> str:
    try:
        if reason := Fields(_read_json(folder / "failed.json")).text("reason", limit=1000):
            return f"failed: {reason}"
    except DataError:
        pass
    return "not finished: it is still running, or was stopped; the same command resumes from its last checkpoint"
