"""Folders of training runs as ``dsbs.train`` leaves them behind, without any training."""

import json
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
    gold: str = "yes",
    **metrics: Any,
) -> Path:
    """Write a finished run that answered ``correct``; ``metrics`` replaces fields of ``metrics.json``."""
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
    manifest = {
        "dsbs": "0.1.0",
        "python": "3.11.2",
        "platform": "Linux",
        "packages": {"torch": "2.6"},
        "command": f"python -m dsbs.train objective={objective} data_fraction={fraction} seed={seed}",
        "rationales": f"rationales/{task}/handbook-12345678",
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
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
    (folder / "metrics.json").write_text(json.dumps(content | metrics))
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
