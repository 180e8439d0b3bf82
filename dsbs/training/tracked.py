"""What W&B records of a run, derived from the run's files, so that it can be recorded again."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from dsbs.core.errors import ConfigError
from dsbs.core.run_ids import find_run_id
from dsbs.core.secrets import mask
from dsbs.core.tracking import WANDB, Tracker, Tracking, open_tracker
from dsbs.data.controls import NO_CONTROL
from dsbs.data.subsets import sample_ids
from dsbs.training.run_folder import Run
from dsbs.training.settings import MEASURES

TABLE = "predictions"
NAMES = ("task", "student", "objective", "labels", "teacher", "data_fraction", "seed")
EFFORT = (
    *("steps", "best_step", "epochs", "example_visits", "label_tokens", "target_tokens", "seconds"),
    *("evaluation_seconds", "examples_per_second", "parameters", "size_bytes", "milliseconds_per_example"),
)
MEASURED = ("validation", "test", *MEASURES.values())
COLUMNS = ("id", "input", "gold", "label", "correct", "confidence", "rationale")


def describe_run(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields by which W&B's panels group and filter runs.

    Returns:
        task, student, objective, labels, teacher, data_fraction, seed, control; and ``method``: the objective, with
        control and labels in parentheses where they are not the defaults. A curve has one line per method.

    >>> describe_run({"objective": "step_by_step", "control": "shuffled", "labels": "gold"})["method"]
    'step_by_step (shuffled)'
    """
    control = metrics.get("control") or NO_CONTROL
    extra = [control] if control != NO_CONTROL else []
    extra += {"teacher": ["teacher's labels"], "mixed": ["mixed labels"]}.get(str(metrics.get("labels")), [])
    method = str(metrics.get("objective")) + (f" ({', '.join(extra)})" if extra else "")
    return {name: metrics.get(name) for name in NAMES} | {"control": control, "method": method}


def summarise_run(metrics: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the W&B summary of a finished run; unknown values are left out.

    Scores are prefixed by their split: ``validation/accuracy``, ``test/accuracy``. The test score is repeated with the
    share of the data, ``test/accuracy@0.125``, so that a bar chart can show a single share.
    """
    metric = str(metrics.get("metric") or "accuracy")
    summary = describe_run(metrics) | {"metric": metric}
    for split in MEASURED:
        for name, value in (metrics.get(split) or {}).items():
            summary[f"{split}/{name}"] = value
    summary[at_share(metric, metrics["data_fraction"])] = summary.get(f"test/{metric}")
    training, choosing = metrics["train_examples"], metrics.get("validation_examples")
    summary |= {"labels_training": training, "labels_choosing": choosing}
    summary["labels_total"] = None if choosing is None else training + choosing
    summary |= {name: metrics.get(name) for name in EFFORT}
    summary["tokens_per_second"] = _speed(metrics)
    summary["best_is_last"] = metrics["best_step"] >= metrics["steps"]
    summary |= _describe_teacher(metrics, manifest)
    return {name: value for name, value in summary.items() if _is_known(value)}


def at_share(metric: str, fraction: float) -> str:
    """Return the name of the test score at a share of the data.

    >>> at_share("accuracy", 0.125)
    'test/accuracy@0.125'
    """
    return f"test/{metric}@{fraction:g}"


def _describe_teacher(metrics: Mapping[str, Any], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return the teacher's accuracy, on test if known, and the cost of its annotations in dollars.

    The cost is that of the whole folder of annotations, whichever share of it the run used.
    """
    if not metrics.get("teacher"):
        return {"teacher_cost_usd": 0.0}
    known = manifest.get("teacher_accuracy")
    known = known if isinstance(known, Mapping) else {}
    split = next((split for split in ("test", "train") if known.get(split) is not None), None)
    return {
        "teacher_accuracy": known.get(split),
        "teacher_accuracy_split": split,
        "teacher_cost_usd": manifest.get("teacher_cost_usd"),
    }


def _speed(metrics: Mapping[str, Any]) -> float | None:
    """Return target tokens per second of training, evaluation left out."""
    tokens, seconds = metrics.get("target_tokens"), metrics.get("seconds")
    spent = None if seconds is None else seconds - metrics.get("evaluation_seconds", 0.0)
    return round(tokens / spent, 1) if tokens and spent and spent > 0 else None


def _is_known(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and not math.isfinite(value))


def open_run(settings: Tracking, run: Run, described: Mapping[str, Any], output_dir: Path) -> Tracker:
    """Open the W&B run of a run's folder; opened again, it is the same W&B run."""
    names, parts = describe_run(described), run.folder.parts[-5:]
    tags = [str(names["task"]), str(names["student"]), str(names["objective"])]
    return open_tracker(
        settings,
        run_id=find_run_id(run.folder),
        name="-".join(parts[1:]),
        config={**names, "folder": "/".join(parts), "settings": run.settings},
        directory=output_dir,
        group="/".join([*parts[:2], str(names["method"]), parts[3]]),
        tags=[*tags, *([names["control"]] if names["control"] != NO_CONTROL else [])],
    )


def track_result(
    tracker: Tracker, settings: Tracking, run: Run, metrics: Mapping[str, Any], manifest: Mapping[str, Any]
) -> None:
    """Log the result of a run: summary, its point on the learning curve, a table of answers, the student."""
    if not tracker.active:
        return
    summary, metric = summarise_run(metrics, manifest), str(metrics.get("metric") or "accuracy")
    if (score := summary.get(f"test/{metric}")) is not None:
        tracker.log({f"test/{metric}": score, "data_fraction": metrics["data_fraction"]}, step=metrics["steps"])
        tracker.table(TABLE, partial(sample_answers, run.folder / "predictions.parquet", settings.predictions))
    tracker.summary(summary)
    if settings.artifact:
        tracker.artifact("-".join(run.folder.parts[-5:]), run.checkpoint, summary)


def find_tracked(settings: Tracking, folder: Path) -> Path:
    """Return the absolute folder of a finished run, whose last parts identify it at W&B.

    Raises:
        ConfigError: the run was not recorded at W&B, or W&B is disabled now.
    """
    folder = folder.resolve()
    if WANDB not in settings.report_to:
        raise ConfigError("track=true: this run was trained with tracking.report_to without wandb: drop it.")
    if settings.mode == "disabled":
        raise ConfigError("track=true: this run was trained with tracking.mode=disabled, so W&B does not know it.")
    if settings.chosen_mode == "disabled":
        raise ConfigError("track=true: WANDB_MODE=disabled, so nothing is recorded: unset it.")
    if len(folder.parts) < 7 or folder.parts[-6] != "train":
        raise ConfigError(
            f"track=true: {folder}: W&B knows a run by its path, which ends with "
            "train/TASK/STUDENT/OBJECTIVE/FRACTION/SEED-HASH. Name the run where it was trained, or drop track=true."
        )
    return folder


def track_figures(settings: Tracking, folder: Path, name: str, figures: Mapping[str, Any]) -> str | None:
    """Add later measurements to the W&B summary of a finished run, under ``evaluate/<name>/``.

    Args:
        folder: of the run, as ``find_tracked`` returns it.
        name: of the data, such as ``test`` or a file's name.
        figures: name -> number.

    Returns:
        URL of the run; ``offline`` where it has none yet; None where nothing was recorded.
    """
    run = Run(folder, {})
    run = Run(folder, run.load_manifest().get("settings") or {})
    with open_run(settings, run, run.finished_metrics() or {}, folder.parents[5]) as tracker:
        tracker.summary({f"evaluate/{name}/{key}": value for key, value in figures.items() if _is_known(value)})
        return (tracker.url or "offline") if tracker.active else None


def sample_answers(path: Path, limit: int) -> list[dict[str, Any]]:
    """Return answers to test examples as rows of a table, with whatever looks like an API key masked.

    The examples are drawn as by ``explain``, so all runs show the same ones, and those with a rationale are among them.
    """
    if not limit or not path.is_file():
        return []
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    known = set(pq.read_schema(path).names)
    columns = [name for name in COLUMNS if name in known]
    chosen = sample_ids(pq.read_table(path, columns=["id"])["id"].to_pylist(), limit, 0, "explain")
    found = pq.read_table(path, columns=columns, filters=pc.field("id").isin(sorted(chosen)))
    return [
        {name: mask(value) if isinstance(value, str) else value for name, value in row.items()}
        for row in found.to_pylist()
    ]


def curves(history: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return the ``history`` of ``metrics.json`` as the entries that were logged to W&B during the training.

    >>> curves([{"step": 5, "loss": 1.2, "loss_label": 1.0}, {"step": 5, "validation": 0.5}], "accuracy")
    [{'step': 5, 'train/loss': 1.2, 'train/loss_label': 1.0}, {'step': 5, 'validation/accuracy': 0.5}]
    """
    names = {"step": "step", "validation": f"validation/{metric}"}
    return [{names.get(name, f"train/{name}"): value for name, value in entry.items()} for entry in history]
