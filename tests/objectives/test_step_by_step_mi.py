"""Mutual information of label and rationale, against numbers worked out by hand."""

import math
from typing import Any

import pytest
import torch
from objectives.steps import BUILDS, assert_same_however_cut, loss_of, rows_of, some_data
from tiny import tiny_t5

from dsbs.objectives import StepByStep, StepByStepMI
from dsbs.objectives.step_by_step_mi import pool, summed_mutual_information
from dsbs.students.collator import Collator
from dsbs.students.tensors import IGNORED

# A label of two tokens and a rationale of one; the label's second row is padded with a token that would win.
LABEL = torch.tensor([[[0.5, 0.25, 0.25], [0.25, 0.5, 0.25]], [[0.5, 0.25, 0.25], [0.0, 0.0, 1.0]]]).log()
RATIONALE = torch.tensor([[[0.25, 0.25, 0.5]]]).log()


def targets(examples: list[int], weight: float = 1.0) -> dict[str, Any]:
    return {
        "label": {"labels": torch.tensor([[0, 1], [0, IGNORED]]), "examples": torch.tensor([0, 1])},
        "rationale": {
            "labels": torch.tensor([[2]]), "examples": torch.tensor(examples), "weights": torch.tensor([weight])
        },
    }  # fmt: skip


def test_maxima_run_over_a_targets_tokens_and_not_over_padding() -> None:
    found = pool(LABEL, targets([0])["label"]["labels"])
    assert found[0].tolist() == pytest.approx([0.4, 0.4, 0.2])  # of 0.5, 0.5 and 0.25
    assert found[1].tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert pool(LABEL, torch.full((2, 2), IGNORED)).sum() == 0


@pytest.mark.parametrize(
    ("example", "by_hand"),
    [(0, 0.8 * math.log(4) + 0.2 * math.log(2)), (1, 0.75 * math.log(4) + 0.25 * math.log(2))],
)
def test_the_cross_entropy_is_that_of_the_examples_own_label(example: int, by_hand: float) -> None:
    total, count = summed_mutual_information({"label": LABEL, "rationale": RATIONALE}, targets([example]))
    assert (total.item(), count.item()) == (pytest.approx(by_hand, abs=1e-6), 1)
    silent, count = summed_mutual_information({"label": LABEL, "rationale": RATIONALE}, targets([example], 0.0))
    assert (silent.item(), count.item()) == (0, 0)


def test_the_label_stays_as_it_is() -> None:
    label, rationale = LABEL.clone().requires_grad_(), RATIONALE.clone().requires_grad_()
    total, _ = summed_mutual_information({"label": label, "rationale": rationale}, targets([0]))
    total.backward()
    assert label.grad is None
    assert rationale.grad is not None
    assert rationale.grad.abs().sum() > 0


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_however_a_step_is_cut_and_padded_it_is_the_same(kind: str) -> None:
    student, objective = BUILDS[kind](), StepByStepMI(mi_weight=0.7)
    assert_same_however_cut(student, objective, rows_of(student, objective, some_data()))


def test_without_weight_it_is_step_by_step_and_with_it_the_term_is_added() -> None:
    student = tiny_t5()
    plain, _ = loss_of(student, StepByStep(alpha=0.3), some_data())
    without, _ = loss_of(student, StepByStepMI(alpha=0.3, mi_weight=0.0), some_data())
    loss, terms = loss_of(student, StepByStepMI(alpha=0.3), some_data())
    assert without.item() == pytest.approx(plain.item(), abs=1e-6)
    assert loss.item() == pytest.approx(plain.item() + 0.1 * terms["mi"], abs=1e-5)
    assert terms["mi"] > 0


def test_a_step_without_rationales_is_its_labels() -> None:
    student, data = tiny_t5(), [(example, None) for example, _ in some_data()]
    loss, terms = loss_of(student, StepByStepMI(), data)
    assert loss.item() == pytest.approx(0.5 * terms["label"], abs=1e-5)
    assert terms["mi"] == 0


def test_label_and_rationale_are_paired_whatever_else_is_in_a_batch() -> None:
    student, objective = tiny_t5(), StepByStepMI()
    rows = rows_of(student, objective, some_data())
    batch = Collator(student)(rows)
    logits = student(batch["inputs"], batch["targets"])
    total, count = summed_mutual_information(logits, batch["targets"])
    alone = 0.0
    for row in rows:
        if len(row.targets) > 1:
            one = Collator(student)([row])
            alone += summed_mutual_information(student(one["inputs"], one["targets"]), one["targets"])[0].item()
    assert (total.item(), count.item()) == (pytest.approx(alone, rel=1e-5), 3)
