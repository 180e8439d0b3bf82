"""Students that are trained for a few steps, for tests of what comes after the training."""

import re
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from dsbs.core.tracking import Tracking
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.objectives import Finetune, LabelThenRationale, Objective, RationaleThenLabel, StepByStep
from dsbs.students import Student, T5Scratch
from dsbs.tasks import TASKS, Task
from dsbs.teachers import TEACHERS
from dsbs.training.plan import execute, prepare_run
from dsbs.training.settings import Training, TrainSettings

OBJECTIVES: dict[str, Objective] = {
    "finetune": Finetune(name="finetune"),
    "step_by_step": StepByStep(name="step_by_step"),
    "rationale_then_label": RationaleThenLabel(name="rationale_then_label"),
    "label_then_rationale": LabelThenRationale(name="label_then_rationale"),
}


def small_triage() -> Task:
    """Return the built-in task with 64 / 8 / 16 messages."""
    return TASKS["triage"](name="triage", products=12, complaints=12, train=64, validation=8, test=16)  # type: ignore[call-arg]


TINY = T5Scratch(name="tiny", vocab_size=400, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2, max_new_tokens=8)


def train_tiny(
    folder: Path,
    task: Task | None = None,
    objective: str | Objective = "step_by_step",
    student: Student = TINY,
    **changes: Any,
) -> Path:
    """Train a student of one layer, for four steps unless told otherwise, and return the folder of its run."""
    exemplar = Exemplar("I bought a kettle. It leaks.", "A kettle is a kitchen product, to leak is wear.", "refund")
    training = Training(max_steps=4, eval_steps=2, per_device_train_batch_size=8, warmup_steps=0)
    parts: dict[str, Any] = {
        "teacher": TEACHERS["handbook"](name="handbook"),
        "prompt": Prompt(name="triage", exemplars=[exemplar]),
        "training": training,
        "tracking": Tracking(mode="disabled"),
    }
    settings = TrainSettings(
        task=task or small_triage(),
        objective=OBJECTIVES[objective] if isinstance(objective, str) else objective,
        student=student,
        output_dir=str(folder / "outputs"),
        **(parts | changes),
    )
    plan = prepare_run(settings)
    execute(plan, OmegaConf.to_yaml(OmegaConf.structured(settings)))
    return plan.run.folder


def run_card(run: Path, monkeypatch: pytest.MonkeyPatch, words: dict[str, str]) -> str:
    """Return what the code on the card of a run's checkpoint prints there, with some of its words replaced."""
    from dsbs.inference.sklearn_predictor import TRUSTED

    card = (run / "checkpoint" / "README.md").read_text(encoding="utf-8")
    [code] = re.findall("```python\n(.*?)```", card, re.S)
    # skops trusts estimators of scikit-learn by itself, but not where dsbs has imported it.
    for before, after in {'load("model.skops")': f'load("model.skops", trusted={list(TRUSTED)})', **words}.items():
        code = code.replace(before, after)
    monkeypatch.chdir(run / "checkpoint")
    printed: list[str] = []
    exec(code, {"print": printed.append})
    return printed[-1]
