"""Labels that count as their samples agreed."""

from typing import Any

import pytest
import torch
from objectives.steps import loss_of_rows, tiny_llama
from tiny import examples
from trained import TINY, small_triage

from dsbs.core.records import Annotation
from dsbs.objectives import Context, Finetune, Objective, SoftTargets, StepByStep
from dsbs.objectives.taught import STUDENT
from dsbs.students.collator import tokenize
from dsbs.training.recipe import Recipe
from dsbs.training.settings import Training, TrainSettings


def recipe(objective: Any, labels_weight: str) -> Recipe:
    return Recipe(small_triage(), objective, TINY, Training(), 0, labels_weight=labels_weight)


def test_labels_weigh_as_their_agreement_and_rationales_as_ever() -> None:
    [example] = examples(1)
    said = Annotation(example.id, example.label, "it leaks", agreement=0.6)
    found = recipe(StepByStep(name="step_by_step"), "agreement").targets(example, said)
    assert [(one.kind, one.weight) for one in found] == [("label", 0.6), ("rationale", 1.0)]
    assert [one.weight for one in recipe(Finetune(), "equal").targets(example, said)] == [1.0]
    assert [one.weight for one in recipe(Finetune(), "agreement").targets(example, None)] == [1.0]
    assert [one.weight for one in recipe(Finetune(), "agreement").targets(example, Annotation("1"))] == [1.0]


@pytest.mark.parametrize(
    "objective",
    [
        Finetune(),
        SoftTargets(name="soft_targets", source="teacher", teacher_model=STUDENT, teacher_bf16=False),
        SoftTargets(name="soft_targets", source="stored"),
        Context(name="context", teacher_input="Decide: {input}", soft_weight=0.5, teacher_bf16=False),
    ],
    ids=["finetune", "teacher", "stored", "context"],
)
def test_the_loss_is_the_weighted_mean_over_tokens(objective: Objective) -> None:
    student, shares = tiny_llama().requires_grad_(False), [1.0, 0.6, 0.2]
    objective.prepare(student, torch.device("cpu"))
    data = [
        (one, Annotation(one.id, one.label, agreement=share)) for one, share in zip(examples(3), shares, strict=True)
    ]
    rows = []
    for example, said in data:
        targets = recipe(objective, "agreement").targets(example, said)
        rows += tokenize(student, [example.input], [targets], 64, 64, objective.readers)[0]
    total, count = torch.zeros(()), 0.0
    for row, share in zip(rows, shares, strict=True):
        tokens = len(row.targets[0][2])
        total += share * tokens * loss_of_rows(student, objective, [row])[0]
        count += share * tokens
    assert loss_of_rows(student, objective, rows)[0].item() == pytest.approx(total.item() / count, rel=1e-5)


@pytest.mark.parametrize(
    ("objective", "settings", "key"),
    [
        (Finetune(name="finetune"), {"labels_weight": "agreement"}, "labels=teacher"),
        (Finetune(name="finetune"), {"labels_weight": "votes", "labels": "teacher"}, "one of equal, agreement"),
        (SoftTargets(name="soft_targets"), {"labels_weight": "agreement", "labels": "teacher"}, "drop it"),
    ],
)
def test_what_makes_no_sense_is_told(objective: Any, settings: dict[str, str], key: str) -> None:
    [fault] = TrainSettings(objective=objective, **settings).faults()  # type: ignore[arg-type]
    assert key in fault


def test_a_run_with_weights_reads_the_agreement_and_nothing_else() -> None:
    settings = TrainSettings(objective=Finetune(name="finetune"), labels="teacher", labels_weight="agreement")
    assert settings.reads == {"agreement"}
