#!/usr/bin/env python
"""How long ranking many closed answers takes, against writing the answer.

    python scripts/bench/rank.py --data FOLDER                     FOLDER holds train.csv and test.csv (BANKING77, say)
    python scripts/bench/rank.py --data FOLDER --student t5_scratch --steps 1500 --rate 1e-3
    python scripts/bench/rank.py --data FOLDER --checkpoint RUN    a student that was trained before

A student is trained for some steps, in a process of its own. Then the same test examples are read in this process, in
several rounds, one way after the other: written by `generate`; ranked as a run does, where answers that cannot win are
not read to their end; ranked with the log-probability of every answer. A time is the median over the rounds; on a CPU
it is the process's own, so that other work beside it does not count.

The last line is one JSON object: {"rank_77_over_generate", "rank_77_all_scores_over_generate", "accuracy_generate",
"accuracy_rank", "confidence_off_mean", ...}, 77 being the number of answers.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers.utils import logging as hf_logging

from dsbs.core.records import Prediction
from dsbs.students.answering import BEST_ONLY, DecodingConfig
from dsbs.students.decoding import best_device, generate, rank
from dsbs.students.loading import load_student
from dsbs.tasks import Task
from dsbs.tasks.table import TableTask


def train(arguments: argparse.Namespace, folder: Path) -> Path:
    """Train a student on the labels and return its checkpoint."""
    words = {
        "task": "table",
        "task.path": arguments.data,
        "task.input": arguments.input,
        "task.label": arguments.label,
        "task.answer_kind": "closed",
        "objective": "finetune",
        "student": arguments.student,
        "student.max_new_tokens": 32,
        "training.max_steps": arguments.steps,
        "training.eval_steps": arguments.steps,
        "training.learning_rate": arguments.rate,
        "training.warmup_steps": arguments.steps // 10,
        "training.threads": torch.get_num_threads(),
        "tracking.mode": "disabled",
        "output_dir": folder,
    }
    command = [sys.executable, "-m", "dsbs.train", *(f"{key}={value}" for key, value in words.items())]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return next(folder.rglob("metrics.json")).parent / "checkpoint"


def build_task(arguments: argparse.Namespace) -> Task:
    """Return the task of the tables."""
    return TableTask(
        name="table",
        path=str(arguments.data),
        input=arguments.input,
        label=arguments.label,
        answer_kind="closed",
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a folder with train.csv and test.csv")
    parser.add_argument("--input", default="text", help="the column of the inputs")
    parser.add_argument("--label", default="category", help="the column of the labels")
    parser.add_argument("--student", default="minilm")
    parser.add_argument("--checkpoint", type=Path, help="a run's folder or checkpoint; then nothing is trained")
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rate", type=float, default=3e-4, help="peak learning rate")
    parser.add_argument("--rows", type=int, default=256, help="test examples that are read, drawn at random")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    task = build_task(arguments)
    examples = list(task.examples("test"))
    examples = random.Random(0).sample(examples, min(arguments.rows, len(examples)))
    with tempfile.TemporaryDirectory() as folder:
        place = arguments.checkpoint or train(arguments, Path(folder))
        place = place / "checkpoint" if (place / "checkpoint").is_dir() else place
        student = load_student(place).to(best_device()).eval()
    plain = DecodingConfig(batch_size=arguments.batch, max_new_tokens=32)
    bounded = DecodingConfig(batch_size=arguments.batch, negligible=BEST_ONLY)
    ways: dict[str, Callable[[], list[Any]]] = {
        "generate": lambda: generate(student, examples, plain),
        "rank": lambda: rank(student, examples, bounded),
        "rank_all_scores": lambda: rank(student, examples, plain),
    }
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    found: dict[str, list[Any]] = {}
    for _ in range(arguments.rounds):
        for name, read in ways.items():
            started = clock()
            found[name] = read()
            seconds[name].append(clock() - started)
    print(json.dumps(describe(found, {name: statistics.median(one) for name, one in seconds.items()}, task, examples)))


def describe(found: dict[str, list[Any]], seconds: dict[str, float], task: Task, examples: list[Any]) -> dict[str, Any]:
    """Return the figures."""
    ranked: list[Prediction] = found["rank"]
    exact: list[Prediction] = found["rank_all_scores"]
    written = [
        task.answers.parse(text, example.choices) for text, example in zip(found["generate"], examples, strict=True)
    ]

    def accuracy(labels: list[str | None]) -> float:
        right = [task.answers.equivalent(label, one.label) for label, one in zip(labels, examples, strict=True)]
        return round(float(np.mean(right)), 4)

    off = [abs((one.confidence or 0) - (two.confidence or 0)) for one, two in zip(ranked, exact, strict=True)]
    answers = len(examples[0].choices or ())
    return {
        f"rank_{answers}_over_generate": round(seconds["rank"] / seconds["generate"], 2),
        f"rank_{answers}_all_scores_over_generate": round(seconds["rank_all_scores"] / seconds["generate"], 2),
        "examples": len(examples),
        "threads": torch.get_num_threads(),
        **{f"seconds_{name}": round(one, 2) for name, one in seconds.items()},
        "accuracy_generate": accuracy(written),
        "accuracy_rank": accuracy([one.label for one in ranked]),
        "same_label_as_all_scores": round(
            float(np.mean([a.label == b.label for a, b in zip(ranked, exact, strict=True)])), 4
        ),
        "confidence_off_mean": round(float(np.mean(off)), 4),
        "confidence_off_most": round(max(off), 4),
    }


if __name__ == "__main__":
    main()
