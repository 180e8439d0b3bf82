#!/usr/bin/env python
"""What flushing denormal numbers to zero brings to a training on a CPU (docs/training.md).

    python scripts/bench/denormals.py                      fine-tuning on an eighth of the built-in task, 3,000 steps
    python scripts/bench/denormals.py --steps 6000 data_fraction=1      on all of it; other words go to `dsbs.train`

Trains the same run twice, side by side on one thread each, so that other work slows both: once as `dsbs.train` does,
and once with `torch.set_flush_denormal` disabled. Evaluation is not counted.

The last line is one JSON object: {"ratio", "milliseconds_with_denormals", "milliseconds_flushed", "steps"}.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

RUN = """
import runpy, sys, torch
if sys.argv.pop(1) == "denormals":
    torch.set_flush_denormal = lambda on: False
runpy.run_module("dsbs.train", run_name="__main__", alter_sys=True)
"""


def start(mode: str, folder: Path, steps: int, overrides: list[str]) -> subprocess.Popen[bytes]:
    """Start one of the two trainings, which writes its runs into a folder of its own."""
    words = [f"training.max_steps={steps}", f"training.eval_steps={steps // 2}", "training.threads=1"]
    words += ["test=false", "tracking.mode=disabled", f"output_dir={folder / mode}", *overrides]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", RUN, mode, *words], env=env, stdout=subprocess.DEVNULL)


def milliseconds(folder: Path) -> float:
    """Return the milliseconds of a step of the only run below a folder, without its evaluations."""
    (path,) = folder.rglob("metrics.json")
    metrics = json.loads(path.read_text())
    return 1000 * (metrics["seconds"] - metrics["evaluation_seconds"]) / metrics["steps"]


def main() -> None:
    """Train both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    known, overrides = parser.parse_known_args()
    overrides = ["data_fraction=0.125", "objective=finetune", *overrides]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        runs = {mode: start(mode, folder, known.steps, overrides) for mode in ("denormals", "flushed")}
        for mode, process in runs.items():
            if process.wait():
                sys.exit(f"the training with {mode} failed: see above")
        slow, fast = (milliseconds(folder / mode) for mode in runs)
    figures = {"ratio": slow / fast, "milliseconds_with_denormals": slow, "milliseconds_flushed": fast}
    print(json.dumps({key: round(value, 2) for key, value in figures.items()} | {"steps": known.steps}))


if __name__ == "__main__":
    main()
