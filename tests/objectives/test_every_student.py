"""Every option of ``objective`` with every family of students: it trains a step, or is refused in a sentence."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiny import TEXTS, causal_folder, encoder_folder
from trained import TINY, small_triage, train_tiny

from dsbs.objectives import (
    GKD,
    Context,
    Finetune,
    LabelThenRationale,
    MiniLLM,
    Objective,
    RationaleThenLabel,
    Respond,
    SoftTargets,
    StepByStep,
    StepByStepMI,
)
from dsbs.students import Causal, Embedding, Encoder, LogReg, Student
from dsbs.training.settings import Training, TrainSettings

CONF = Path(__file__).resolve().parents[2] / "conf" / "objective"
PROMPT = "Refund or replace?\n{input}\nAnswer:\n"
# Option, or option and source -> the objective, where a teacher is named it is the student or the folder of a run.
OBJECTIVES: dict[str, Callable[[str], Objective]] = {
    "finetune": lambda run: Finetune(name="finetune"),
    "distill": lambda run: Finetune(name="distill", teacher_labels_only=True),
    "respond": lambda run: Respond(name="respond"),
    "step_by_step": lambda run: StepByStep(name="step_by_step"),
    "step_by_step_mi": lambda run: StepByStepMI(name="step_by_step_mi"),
    "rationale_then_label": lambda run: RationaleThenLabel(name="rationale_then_label"),
    "label_then_rationale": lambda run: LabelThenRationale(name="label_then_rationale"),
    "soft_targets": lambda run: SoftTargets(name="soft_targets"),
    "soft_targets ranking": lambda run: SoftTargets(name="soft_targets", source="ranking", teacher_model=run),
    "soft_targets teacher": lambda run: SoftTargets(name="soft_targets", source="teacher", teacher_model="student"),
    "context": lambda run: Context(name="context", teacher_input=PROMPT),
    "gkd": lambda run: GKD(name="gkd", teacher_model="student", max_new_tokens=8),
    "minillm": lambda run: MiniLLM(name="minillm", teacher_model="student", max_new_tokens=8),
}
LABELS_ALONE = {"finetune", "distill"}
ANSWERS = LABELS_ALONE | {"soft_targets", "soft_targets ranking"}
# Family -> the student, and the objectives that it can be trained with.
STUDENTS: dict[str, tuple[Callable[[Path], Student], set[str]]] = {
    "encoder-decoder": (lambda folder: TINY, {*OBJECTIVES}),
    "decoder-only": (
        lambda folder: Causal(name="causal", model=str(folder / "causal"), max_new_tokens=8),
        {*OBJECTIVES},
    ),
    "encoder": (lambda folder: Encoder(name="encoder", model=str(folder / "encoder")), ANSWERS),
    "embedding": (lambda folder: Embedding(name="embedding", model=str(folder / "encoder"), C=[1.0]), LABELS_ALONE),
    "logreg": (lambda folder: LogReg(name="logreg", C=[1.0]), LABELS_ALONE),
}
PAIRS = [(family, option) for family in STUDENTS for option in OBJECTIVES]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights to start from, and the outputs of all runs, so that the teacher is asked once."""
    folder = tmp_path_factory.mktemp("every")
    causal_folder(folder / "causal")
    encoder_folder(folder / "encoder", [*TEXTS, *(example.input for example in small_triage().examples("train"))])
    return folder


@pytest.fixture(scope="module")
def teacher(folder: Path) -> str:
    """The folder of a run that ranks."""
    return str(train_tiny(folder, objective=Finetune(name="finetune"), student=LogReg(name="logreg", C=[1.0])))


def settings_of(objective: Objective) -> dict[str, Any]:
    """Return what else such a run has to be told."""
    labels = "teacher" if objective.needs_teacher_labels else "gold"
    training = Training(max_steps=1, eval_steps=1, per_device_train_batch_size=4, warmup_steps=0)
    return {"labels": labels, "training": training, "data_fraction": "1/8", "test": False}


def test_every_option_is_here() -> None:
    assert {name.split()[0] for name in OBJECTIVES} == {path.stem for path in CONF.glob("*.yaml")}


@pytest.mark.parametrize(("family", "option"), [pair for pair in PAIRS if pair[1] in STUDENTS[pair[0]][1]])
def test_it_trains(family: str, option: str, folder: Path, teacher: str) -> None:
    objective = OBJECTIVES[option](teacher)
    run = train_tiny(folder, objective=objective, student=STUDENTS[family][0](folder), **settings_of(objective))
    assert json.loads((run / "metrics.json").read_text(encoding="utf-8"))["steps"] >= 1


@pytest.mark.parametrize(("family", "option"), [pair for pair in PAIRS if pair[1] not in STUDENTS[pair[0]][1]])
def test_it_is_refused_in_a_sentence(family: str, option: str, tmp_path: Path) -> None:
    objective = OBJECTIVES[option]("run")
    student = STUDENTS[family][0](tmp_path)
    [fault] = TrainSettings(objective=objective, student=student, **settings_of(objective)).faults()
    assert f"student={student.name}" in fault
    assert "type objective=finetune" in fault
