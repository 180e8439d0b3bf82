"""Folders of training runs as ``dsbs.train`` leaves them behind, without any training."""

import json
import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml


def write_run(
    root: Path,
    correct: list[bool],
    *,
    task: str = "triage",
    objective: str = "finetune",
    fraction: float = 1.0,
    seed: int = 0,
    suffix: str = "aaaaaaaa",
    config: dict[str, Any] | None = None,
    manifest: dict[str, Any] | None = None,
    gold: str = "yes",
    **metrics: Any,
) -> Path:
    """Write a finished run that answered ``correct``; ``metrics`` are for ``edit_json``."""
    student, teacher = "t5_scratch", None if objective == "finetune" else "handbook"
    folder = root / "train" / task / student / objective / str(fraction) / f"{seed}-{suffix}"
    folder.mkdir(parents=True)
    settings = {
        "task": {"name": task},
        "objective": {"name": objective},
        "training": {"max_steps": 100, "threads": 1},
        "seed": seed,
        "output_dir": str(root),
    }
    for key, value in (config or {}).items():
        group, _, name = key.rpartition(".")
        (settings.setdefault(group, {}) if group else settings)[name] = value  # type: ignore[index]
    (folder / "config.yaml").write_text(yaml.safe_dump(settings))
    said = {
        "dsbs": "0.1.0",
        "python": "3.11.2",
        "platform": "Linux",
        "packages": {"torch": "2.6"},
        "command": f"python -m dsbs.train objective={objective} data_fraction={fraction} seed={seed}",
        "rationales": f"rationales/{task}/handbook-12345678",
    }
    (folder / "manifest.json").write_text(json.dumps(said | (manifest or {})))
    count = len(correct)
    columns = {
        "id": [f"test-{index}" for index in range(count)],
        "gold": [gold] * count,
        "label": [gold if right else "no" for right in correct],
        "rationale": [None] * count,
        "score": [None] * count,
        "correct": correct,
    }
    pq.write_table(pa.table(columns), folder / "predictions.parquet")
    content = {
        "task": task,
        "student": student,
        "objective": objective,
        "labels": "gold",
        "teacher": teacher,
        "data_fraction": fraction,
        "seed": seed,
        "train_examples": int(800 * fraction),
        "validation_examples": 80,
        "steps": 100,
        "target_tokens": 4000,
        "seconds": 12.5,
        "examples_per_second": 256.0,
        "best_step": 75,
        "validation": {"accuracy": 0.9, "examples": 80},
        "test": {"accuracy": sum(correct) / count, "examples": count},
    }
    (folder / "metrics.json").write_text(json.dumps(content))
    edit_json(folder / "metrics.json", **metrics)
    return folder


def edit_json(path: Path, **changes: Any) -> None:
    """Replace fields of a file; ``...`` removes one."""
    values = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in values.items() if value is not ...}))


def edit_answers(folder: Path, **columns: list[Any]) -> None:
    """Replace columns of a run's predictions."""
    table = pq.read_table(folder / "predictions.parquet").to_pydict()
    pq.write_table(pa.table(table | columns), folder / "predictions.parquet")


def score_by(metric: str, scores: list[float], folder: Path) -> Path:
    """Let a run be scored by another metric."""
    edit_answers(folder, metric_score=scores)
    test = {metric: sum(scores) / len(scores), "examples": len(scores)}
    edit_json(folder / "metrics.json", metric=metric, test=test)
    return folder


def write_failure(root: Path, reason: str | None, task: str = "triage", name: str = "9-dddddddd") -> Path:
    """Write a run that failed for a reason, or that was just left behind."""
    folder = root / "train" / task / "t5_scratch" / "step_by_step" / "0.125" / name
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"command": "python -m dsbs.train seed=9"}))
    if reason is not None:
        (folder / "failed.json").write_text(json.dumps({"reason": reason}))
    return folder


def share(right: int, of: int = 100, first: int = 0) -> list[bool]:
    """Return ``of`` answers of which ``right`` are right, beginning with the example ``first``."""
    return [(index - first) % of < right for index in range(of)]


CLASSES = ("refund", "replace", "repair", "decline")


def write_study(root: Path, fractions: tuple[float, ...] = (0.0625, 0.125, 0.25, 0.5, 1.0), seeds: int = 3) -> Path:
    """Write a whole study with everything that a report can show: both methods over the shares, two controls on 1/8,
    confidences, rationales, learning curves, and the teacher's annotations. Return the folder of the runs.
    """
    for fraction in fractions:
        for seed in range(seeds):
            grown = 0.25 * math.log2(fraction * 16) / 4
            _write_rich(root, 0.62 + grown + 0.01 * seed, "finetune", fraction, seed)
            _write_rich(root, 0.76 + 0.6 * grown + 0.01 * seed, "step_by_step", fraction, seed)
    for seed in range(seeds):
        for control, level in (("shuffled", 0.66), ("same_label", 0.72)):
            _write_rich(root, level + 0.01 * seed, "step_by_step", 0.125, seed, control=control)
    folder = root / "rationales/triage/handbook-12345678"
    folder.mkdir(parents=True)
    split = {"teacher_accuracy": 0.93, "cost_usd": 1.25, "prompt_tokens": 120_000, "completion_tokens": 31_000}
    summary = {"model": "a model", "filter": "none", "splits": {"train": split, "test": split}}
    (folder / "summary.json").write_text(json.dumps(summary))
    rows = {
        "id": [f"test-{index}" for index in range(200)],
        "label": [CLASSES[index % 4] for index in range(200)],
        "rationale": [f"The teacher says why, number {index}." for index in range(200)],
        "status": ["ok"] * 200,
        "agreement": [1.0] * 200,
    }
    pq.write_table(pa.table(rows), folder / "test.parquet")
    return root / "train"


def _write_rich(
    root: Path, level: float, objective: str, fraction: float, seed: int, control: str | None = None
) -> None:
    draw = random.Random(f"{objective} {fraction} {seed} {control}")
    difficulty = random.Random("examples")
    sure = [min(0.99, max(0.3, level + difficulty.gauss(0, 0.25) + draw.gauss(0, 0.05))) for _ in range(200)]
    correct = [draw.random() < one for one in sure]
    history: list[dict[str, Any]] = []
    for step in range(10, 101, 10):
        history.append({"step": step, "loss": 2.0 * 0.97**step + 0.05 * draw.random()})
        history.append({"step": step, "validation": level * (1 - 0.95**step)})
    config = {"student.dropout_rate": 0.2 if objective == "step_by_step" else 0.0}
    extra = {"control": control} if control else {}
    folder = write_run(
        root, correct, objective=objective, fraction=fraction, seed=seed, suffix=control or "aaaaaaaa", config=config,
        history=history, parameters=420_000, size_bytes=1_700_000, milliseconds_per_example=1.7, label_tokens=2000,
        example_visits=3200, test_last={"accuracy": level, "examples": 200},
        test_generated={"accuracy": level - 0.02, "examples": 200}, best_step=100 if seed == 2 else 70, **extra,
    )  # fmt: skip
    golds = [CLASSES[index % 4] for index in range(200)]
    others = [draw.choice([one for one in CLASSES if one != gold]) for gold in golds]
    answers = zip(golds, others, correct, strict=True)
    edit_answers(
        folder,
        gold=golds,
        label=[gold if right else other for gold, other, right in answers],
        input=[f"Message {index}: my kettle came cracked & <i>late</i>." for index in range(200)],
        rationale=[f"The student's reason {index}." if objective != "finetune" else None for index in range(200)],
        confidence=sure,
    )
