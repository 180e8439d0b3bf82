#!/usr/bin/env python
"""Whether large data fits: memory and time of extracting 1,000,000 examples, and of preparing 550,000 for training.

    python scripts/bench/size.py
    python scripts/bench/size.py --extract 10000 --train 55000

Extraction asks a teacher in the process; then the same command runs again, with nothing left to ask. Training reads as
many premises and hypotheses as e-SNLI has (in its layout, with made-up words) with a rationale each, and takes one step
with a tiny student; the rows are tokenised by the first run, and mapped from the disk by the second.
Every figure is of a process of its own; memory is its peak.

The last line is one JSON object of figures.
"""

import argparse
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from extract import BenchTask, InProcessTeacher, build_prompt, peak_memory

from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.settings import ExtractionSettings

WORDS = [
    f"{start}{end}" for start in ("ka", "lo", "mi", "re", "su") for end in ("ber", "din", "fer", "gol", "man", "tis")
]
MEASURED = 1000  # examples of the validation and the test split


@dataclass
class FreeTeacher(InProcessTeacher):
    """One that a training may ask by itself."""

    free = True


def extract(size: int, folder: Path) -> None:
    """Extract from a teacher in this process."""
    job = Job(BenchTask(size=size), InProcessTeacher(), build_prompt(), folder / "rationales", ["train"])
    job.settings = ExtractionSettings(concurrency=256)
    run_extraction(job)


def train(size: int, folder: Path) -> None:
    """Prepare data and take one step."""
    from dsbs.core.tracking import Tracking
    from dsbs.objectives import StepByStep
    from dsbs.students import Pretrained, T5Scratch
    from dsbs.tasks.release import ReleaseTask
    from dsbs.training.plan import execute, prepare_run
    from dsbs.training.settings import Training, TrainSettings

    model = folder / "model"
    if not model.exists():
        T5Scratch(name="tiny", d_model=32, d_ff=32).build(sentences(random.Random(0), 1000), "target", 0).save(model)
    settings = TrainSettings(
        task=ReleaseTask(name="esnli", benchmark="esnli", path=str(folder)),
        teacher=FreeTeacher(),
        prompt=build_prompt(),
        objective=StepByStep(name="step_by_step"),
        student=Pretrained(name="tiny", model=str(model)),
        training=Training(max_steps=1, eval_steps=1),
        tracking=Tracking(mode="disabled"),
        output_dir=str(folder / "outputs"),
    )
    # Another seed is another run over the same examples.
    settings.seed = int((folder / "outputs" / "train").exists())
    execute(prepare_run(settings), "")


STAGES = {"extract": extract, "train": train}


def sentences(draw: random.Random, count: int) -> list[str]:
    """Return made-up sentences, as long as those of SNLI."""
    return [" ".join(draw.choices(WORDS, k=draw.randint(6, 20))) + "." for _ in range(count)]


def write_data(size: int, folder: Path) -> None:
    """Write examples in the layout of e-SNLI."""
    draw = random.Random(0)
    for split, count in (("train", size), ("valid", MEASURED), ("test", MEASURED)):
        with (folder / f"esnli_{split}.json").open("w") as file:
            for _ in range(count):
                premise, hypothesis, explanation = sentences(draw, 3)
                row = {"premise": premise, "hypothesis": hypothesis, "label": draw.randrange(3)}
                file.write(json.dumps(row | {"explanation_1": explanation}) + "\n")


def measure(stage: str, size: int, folder: Path) -> dict[str, float]:
    """Run a stage in a process of its own; return seconds and peak memory in MB."""
    command = [sys.executable, __file__, "--stage", stage, str(size), str(folder)]
    started = time.perf_counter()
    peak = float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])
    return {"seconds": round(time.perf_counter() - started, 1), "rss_mb": round(peak, 1)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--extract", type=int, nargs="*", default=[10_000, 1_000_000], metavar="SIZE")
    parser.add_argument("--train", type=int, nargs="*", default=[55_000, 550_000], metavar="SIZE")
    parser.add_argument("--stage", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        stage, size, folder = arguments.stage
        STAGES[stage](int(size), Path(folder))
        print(peak_memory())
        return
    figures: dict[str, Any] = {}
    for stage, sizes in (("extract", arguments.extract), ("train", arguments.train)):
        for size in sizes:
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                if stage == "train":
                    write_data(size, folder)
                for turn in ("first", "again"):
                    figures[f"{stage}_{size}_{turn}"] = found = measure(stage, size, folder)
                    print(f"{stage} {size:,}, {turn}: {found}", flush=True)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
