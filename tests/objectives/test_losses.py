"""The loss, against numbers worked out by hand."""

import math

import pytest
import torch
from tiny import tiny_t5

from dsbs.core.records import Target
from dsbs.objectives import Finetune, StepByStep
from dsbs.objectives.losses import mean_of_step, summed_cross_entropy
from dsbs.students.collator import Collator, tokenize
from dsbs.students.tensors import IGNORED

LN2, LN3 = math.log(2), math.log(3)


def logits(*rows: list[list[float]]) -> torch.Tensor:
    """Return logits [R, T, V] of probabilities."""
    return torch.tensor(rows).log()


# Two labels of one and two tokens, the first token's probability 1/2, the others' 1/3; one rationale of one token, 1/4.
LABEL_LOGITS = logits([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]], [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]])
LABELS = torch.tensor([[0, IGNORED], [1, 2]])
RATIONALE_LOGITS = logits([[0.25, 0.5, 0.25]])
RATIONALES = torch.tensor([[2]])


def loss_of(alpha: float, weights: tuple[float, float] = (1.0, 1.0)) -> float:
    batch = {
        "inputs": {},
        "targets": {
            "label": {"labels": LABELS, "weights": torch.tensor(weights)},
            "rationale": {"labels": RATIONALES, "weights": torch.ones(1)},
        },
    }
    counts = {"label": torch.tensor(weights[0] + 2 * weights[1]), "rationale": torch.tensor(1.0)}
    logits = {"label": LABEL_LOGITS, "rationale": RATIONALE_LOGITS}
    return float(StepByStep(alpha=alpha).loss(lambda *_: logits, batch, counts)[0])


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_the_loss_is_alpha_times_the_mean_over_label_tokens_and_the_rest_over_rationale_tokens(alpha: float) -> None:
    by_hand = alpha * (LN2 + 2 * LN3) / 3 + (1 - alpha) * 2 * LN2
    assert loss_of(alpha) == pytest.approx(by_hand, abs=1e-6)


def test_a_target_counts_with_its_weight_above_and_below_the_line() -> None:
    assert loss_of(1.0, (0.5, 0.25)) == pytest.approx((0.5 * LN2 + 0.25 * 2 * LN3) / (0.5 + 0.25 * 2), abs=1e-6)
    assert loss_of(1.0, (0.5, 0.5)) == pytest.approx(loss_of(1.0), abs=1e-6)


def test_an_example_with_k_weighted_labels_counts_as_one() -> None:
    votes = [Target("label", "yes", 0.75), Target("label", "yes", 0.25)]
    student, found = tiny_t5(), []
    for targets in ([Target("label", "yes")], votes):
        rows, _ = tokenize(student, ["the kettle leaks", "it"], [targets, [Target("label", "no")]], 64, 64)
        objective = Finetune()
        counts = {kind: torch.tensor(count) for kind, count in objective.count(rows).items()}
        found.append(objective.loss(student, Collator(student)(rows), counts)[0].item())
    assert found[0] == pytest.approx(found[1], abs=1e-6)


def test_ignored_positions_are_neither_summed_nor_counted() -> None:
    weighted, count = summed_cross_entropy(LABEL_LOGITS, LABELS, torch.tensor([1.0, 10.0]))
    assert float(weighted) == pytest.approx(LN2 + 20 * LN3, abs=1e-5)
    assert float(count) == 21


def test_a_step_without_rationales_adds_0_and_never_nan() -> None:
    empty = torch.full((1, 2), IGNORED)
    total, count = summed_cross_entropy(torch.zeros(1, 2, 3, requires_grad=True), empty, torch.ones(1))
    loss = mean_of_step(total, count)
    assert loss.item() == 0.0
    loss.backward()


def test_losses_are_summed_in_float32_whatever_the_logits_are() -> None:
    weighted, _ = summed_cross_entropy(LABEL_LOGITS.to(torch.bfloat16), LABELS, torch.ones(2))
    assert weighted.dtype == torch.float32
