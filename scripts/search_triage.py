"""Search the difficulty of the built-in task: where does step-by-step on 1/8 stand beside fine-tuning on everything?

python scripts/search_triage.py facts=84,96 train=2400,3600 steps=12000 patience=10
python scripts/search_triage.py facts=96 train=3600 dropout=0.0,0.1,0.2 methods=finetune:1.0

Runs every combination through `python -m dsbs.train`, two side by side (jobs=2), and prints a line for each with the
score on validation; finished runs are not repeated. What is not named stays as the task and `conf/tuned` have it. The
test split decides nothing here and is not read. A method whose best checkpoint is its last has not converged (*).
"""

import itertools
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

# What can be named, and the keys of dsbs.train that it sets.
KEYS = {
    "facts": ["task.products", "task.complaints"],
    "train": ["task.train"],
    "validation": ["task.validation"],
    "test": ["task.test"],
    "alpha": ["objective.alpha"],
    "steps": ["training.max_steps"],
    "patience": ["training.early_stopping_patience"],
    "eval": ["training.eval_steps"],
    "dropout": ["student.dropout_rate"],
    "layers": ["student.num_layers"],
    "beta2": ["training.adam_beta2"],
    "batch": ["training.per_device_train_batch_size"],
    "lr": ["training.learning_rate"],
    "seed": ["seed"],
}
USUAL = {"methods": ["finetune:1.0", "step_by_step:0.125"], "jobs": ["2"]}
OWN = {"alpha": "step_by_step"}  # keys of one objective alone


def measure(setting: dict[str, str], method: str) -> str:
    """Train one student and return a row of a Markdown table."""
    objective, _, fraction = method.partition(":")
    folder = Path("outputs/search") / ("-".join(f"{key}{value}" for key, value in setting.items()) or "as-it-is")
    typed = {key: value for key, value in setting.items() if OWN.get(key, objective) == objective}
    command = [
        *(sys.executable, "-m", "dsbs.train", f"objective={objective}", f"data_fraction={fraction}"),
        *(f"{name}={value}" for key, value in typed.items() for name in KEYS[key]),
        *("test=false", "training.threads=1", "tracking.mode=disabled", f"output_dir={folder}"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"| {method} | {' | '.join(setting.values())} | failed: {done.stderr.strip()[-200:]} | | |"
    runs = folder / "train/triage/t5_scratch" / objective / str(float(fraction))
    found = runs.glob(f"{setting.get('seed', '0')}-*/metrics.json")
    path = max(found, key=lambda path: path.stat().st_mtime)
    metrics = json.loads(path.read_text(encoding="utf-8"))
    accuracy = f"{100 * metrics['validation']['accuracy']:.1f}%"
    unfinished = "*" if metrics["best_step"] == metrics["steps"] else ""
    steps = f"{metrics['best_step']:,} of {metrics['steps']:,}{unfinished}"
    return f"| {' | '.join([method, *setting.values(), accuracy, steps, format(metrics['seconds'], '.0f')])} |"


def main() -> None:
    """Run the grid."""
    given = {key: value.split(",") for key, _, value in (word.partition("=") for word in sys.argv[1:])}
    if unknown := given.keys() - KEYS.keys() - USUAL.keys():
        sys.exit(
            f"unknown: {', '.join(sorted(unknown))}; expected {', '.join([*KEYS, *USUAL])}, each as name=value,value"
        )
    usual = {name: given.pop(name, values) for name, values in USUAL.items()}
    settings = [dict(zip(given, values, strict=True)) for values in itertools.product(*given.values())]
    print(f"| method, fraction | {' | '.join([*given, 'validation', 'best step', 'seconds'])} |")
    print("|---" * (len(given) + 4) + "|")
    jobs = [(setting, method) for setting in settings for method in usual["methods"]]
    with ThreadPoolExecutor(int(usual["jobs"][0])) as pool:
        for row in pool.map(lambda job: measure(*job), jobs):
            print(row, flush=True)


if __name__ == "__main__":
    main()
