"""Search the difficulty of the built-in task: where does step-by-step on 1/8 stand beside fine-tuning on everything?

python scripts/search_triage.py train=4800,9600 facts=60,120 alpha=0.2,0.5 steps=3000 dropout=0.0,0.1

Runs every combination through `python -m dsbs.train`, two side by side, and prints a line for each with the accuracy on
validation; finished runs are not repeated. The test split decides nothing here and is not shown.
"""

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GRID = {
    "facts": ["120"],
    "train": ["4800"],
    "alpha": ["0.2"],
    "steps": ["3000"],
    "dropout": ["0.1"],
    "layers": ["1"],
    "beta2": ["0.95"],
    "batch": ["32"],
    "lr": ["1e-3"],
    "seed": ["0"],
}
METHODS = (("finetune", "1.0"), ("step_by_step", "0.125"))


def measure(setting: dict[str, str], objective: str, fraction: str) -> str:
    """Train one student and return a row of a Markdown table."""
    folder = Path("outputs/search") / "-".join(f"{key}{value}" for key, value in setting.items())
    command = [
        *(sys.executable, "-m", "dsbs.train", f"objective={objective}", f"data_fraction={fraction}"),
        *(f"task.products={setting['facts']}", f"task.complaints={setting['facts']}", f"task.train={setting['train']}"),
        *(f"training.max_steps={setting['steps']}", f"student.dropout_rate={setting['dropout']}"),
        *(f"student.num_layers={setting['layers']}", f"training.adam_beta2={setting['beta2']}"),
        *(f"training.per_device_train_batch_size={setting['batch']}", f"training.learning_rate={setting['lr']}"),
        *(f"seed={setting['seed']}", "training.threads=1", "tracking.mode=disabled", f"output_dir={folder}"),
        *([f"objective.alpha={setting['alpha']}"] if objective == "step_by_step" else []),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"| {objective} {fraction} | {' | '.join(setting.values())} | failed: {done.stderr.strip()[-200:]} | | |"
    path = next((folder / "train/triage/t5_scratch" / objective / fraction).glob(f"{setting['seed']}-*/metrics.json"))
    metrics = json.loads(path.read_text(encoding="utf-8"))
    accuracy = f"{100 * metrics['validation']['accuracy']:.1f}%"
    row = [
        f"{objective} {fraction}",
        *setting.values(),
        accuracy,
        str(metrics["best_step"]),
        f"{metrics['seconds']:.0f}",
    ]
    return f"| {' | '.join(row)} |"


def main() -> None:
    """Run the grid."""
    given = dict(word.split("=", 1) for word in sys.argv[1:])
    if unknown := given.keys() - GRID.keys():
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; expected {', '.join(GRID)}, each as name=value,value")
    grid = GRID | {key: value.split(",") for key, value in given.items()}
    settings = [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]
    print(f"| method, fraction | {' | '.join(grid)} | validation | best step | seconds |")
    print("|---" * (len(grid) + 4) + "|")
    with ThreadPoolExecutor(2) as pool:
        jobs = [(setting, *method) for setting in settings for method in METHODS]
        for row in pool.map(lambda job: measure(*job), jobs):
            print(row, flush=True)


if __name__ == "__main__":
    main()
