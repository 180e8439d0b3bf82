"""The loss, against numbers worked out by hand."""

import math

import pytest
import torch

from dsbs.objectives.losses import IGNORED, count_tokens, multi_task_loss, summed_cross_entropy

LN2, LN3 = math.log(2), math.log(3)


def logits(*rows: list[list[float]]) -> torch.Tensor:
    """Return logits [R, T, V] of probabilities."""
    return torch.tensor(rows).log()


# Two labels of one and two tokens, the first token's probability 1/2, the others' 1/3; one rationale of one token, 1/4.
LABEL_LOGITS = logits([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]], [[1 / 3, 1 / 3, 1 / 3], [1 / 3, 1 / 3, 1 / 3]])
LABELS = torch.tensor([[0, IGNORED], [1, 2]])
RATIONALE_LOGITS = logits([[0.25, 0.5, 0.25]])
RATIONALES = torch.tensor([[2]])


def loss_of(alpha: float) -> float:
    label, _ = summed_cross_entropy(LABEL_LOGITS, LABELS, torch.tensor([alpha, alpha]))
    rationale, _ = summed_cross_entropy(RATIONALE_LOGITS, RATIONALES, torch.tensor([1 - alpha]))
    counts = {"label": count_tokens(LABELS), "rationale": count_tokens(RATIONALES)}
    return float(multi_task_loss({"label": label, "rationale": rationale}, counts))


@pytest.mark.parametrize("alpha", [0.0, 0.25, 0.5, 1.0])
def test_the_loss_is_alpha_times_the_mean_over_label_tokens_and_the_rest_over_rationale_tokens(alpha: float) -> None:
    by_hand = alpha * (LN2 + 2 * LN3) / 3 + (1 - alpha) * 2 * LN2
    assert loss_of(alpha) == pytest.approx(by_hand, abs=1e-6)


def test_ignored_positions_are_neither_summed_nor_counted() -> None:
    weighted, plain = summed_cross_entropy(LABEL_LOGITS, LABELS, torch.tensor([1.0, 10.0]))
    assert float(plain) == pytest.approx(LN2 + 2 * LN3, abs=1e-6)
    assert float(weighted) == pytest.approx(LN2 + 20 * LN3, abs=1e-5)
    assert int(count_tokens(LABELS)) == 3


def test_a_step_without_rationales_adds_0_and_never_nan() -> None:
    empty = torch.full((1, 2), IGNORED)
    total, _ = summed_cross_entropy(torch.zeros(1, 2, 3, requires_grad=True), empty, torch.ones(1))
    loss = multi_task_loss({"rationale": total}, {"rationale": count_tokens(empty)})
    assert loss.item() == 0.0
    loss.backward()


def test_a_kind_that_is_not_in_the_batch_adds_nothing() -> None:
    label, _ = summed_cross_entropy(LABEL_LOGITS, LABELS, torch.ones(2))
    loss = multi_task_loss({"label": label}, {"label": torch.tensor(3), "rationale": torch.tensor(0)})
    assert float(loss) == pytest.approx((LN2 + 2 * LN3) / 3, abs=1e-6)


def test_losses_are_summed_in_float32_whatever_the_logits_are() -> None:
    half = LABEL_LOGITS.to(torch.bfloat16)
    weighted, plain = summed_cross_entropy(half, LABELS, torch.ones(2))
    assert weighted.dtype == plain.dtype == torch.float32
