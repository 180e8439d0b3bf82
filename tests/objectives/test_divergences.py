"""Divergences, against numbers worked out by hand and a slow plain implementation."""

import math
from itertools import product

import pytest
import torch

from dsbs.objectives.divergences import DIVERGENCES, FLOOR, Divergence, mix, soften

P, Q = [0.5, 0.25, 0.25], [0.25, 0.25, 0.5]
LN2 = math.log(2)
M = [0.375, 0.25, 0.375]


def logs(*rows: list[float]) -> torch.Tensor:
    return torch.tensor(rows).log().clamp(min=FLOOR)


def plain_kl(one: list[float], other: list[float]) -> float:
    return sum(p * math.log(p / q) for p, q in zip(one, other, strict=True) if p)


def plain(name: str, p: list[float], q: list[float], beta: float, skew: float) -> float:
    def mixed(a: list[float], b: list[float], share: float) -> list[float]:
        return [share * x + (1 - share) * y for x, y in zip(a, b, strict=True)]

    m = mixed(p, q, beta)
    return {
        "forward_kl": lambda: plain_kl(p, q),
        "reverse_kl": lambda: plain_kl(q, p),
        "jsd": lambda: beta * plain_kl(p, m) + (1 - beta) * plain_kl(q, m),
        "skewed_kl": lambda: plain_kl(p, mixed(p, q, skew)),
        "skewed_reverse_kl": lambda: plain_kl(q, mixed(q, p, skew)),
    }[name]()


@pytest.mark.parametrize(
    ("name", "by_hand"),
    [
        ("forward_kl", 0.5 * LN2 - 0.25 * LN2),
        ("reverse_kl", 0.5 * LN2 - 0.25 * LN2),
        ("jsd", 0.5 * math.log(0.5 / 0.375) + 0.25 * math.log(0.25 / 0.375)),
    ],
)
def test_numbers_worked_out_by_hand(name: str, by_hand: float) -> None:
    assert float(Divergence(name)(logs(P), logs(Q))) == pytest.approx(by_hand, abs=1e-6)


@pytest.mark.parametrize(("name", "beta", "skew"), product(DIVERGENCES, (0.1, 0.5, 0.9), (0.1, 0.7)))
def test_each_is_what_the_plain_formula_gives(name: str, beta: float, skew: float) -> None:
    p, q = [0.7, 0.2, 0.1], [0.05, 0.15, 0.8]
    found = Divergence(name, beta, skew)(logs(p, q, p), logs(q, p, p))
    expected = [plain(name, one, other, beta, skew) for one, other in ((p, q), (q, p), (p, p))]
    assert found.tolist() == pytest.approx(expected, abs=1e-6)
    assert expected[2] == pytest.approx(0, abs=1e-9)


def test_the_ends_of_beta_are_forward_and_reverse_kl_exactly_and_their_neighbours_lead_there() -> None:
    p, q = logs([0.7, 0.2, 0.1]), logs([0.05, 0.15, 0.8])
    forward, reverse = Divergence("forward_kl")(p, q), Divergence("reverse_kl")(p, q)
    assert torch.equal(Divergence("jsd", beta=0)(p, q), forward)
    assert torch.equal(Divergence("jsd", beta=1)(p, q), reverse)
    assert forward != reverse
    assert float(Divergence("jsd", beta=1e-3)(p, q)) / 1e-3 == pytest.approx(float(forward), rel=0.01)
    assert float(Divergence("jsd", beta=1 - 1e-3)(p, q)) / 1e-3 == pytest.approx(float(reverse), rel=0.01)


def test_probabilities_are_mixed_and_not_their_logarithms() -> None:
    assert mix(logs(P), logs(Q), 0.5).exp().tolist()[0] == pytest.approx(M)
    assert torch.equal(mix(logs(P), logs(Q), 0.0), logs(Q))
    assert torch.equal(mix(logs(P), logs(Q), 1.0), logs(P))


@pytest.mark.parametrize("name", DIVERGENCES)
def test_probabilities_of_0_give_no_nan(name: str) -> None:
    student = torch.zeros(1, 3, requires_grad=True)
    divergence = Divergence(name)(logs([1.0, 0.0, 0.0]), student.log_softmax(-1))
    divergence.sum().backward()
    assert divergence.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()
    # Padding that neither has adds nothing.
    padded = [torch.cat([part, torch.full((1, 2), FLOOR)], dim=1) for part in (logs(P), logs(Q))]
    assert float(Divergence(name)(*padded)) == pytest.approx(float(Divergence(name)(logs(P), logs(Q))), abs=1e-6)


@pytest.mark.parametrize("name", DIVERGENCES)
def test_bfloat16_is_computed_in_float32_and_never_negative(name: str) -> None:
    torch.manual_seed(0)
    student = (torch.randn(200, 50) * 3).to(torch.bfloat16)
    teacher = student + torch.randn_like(student) * 1e-2
    found = Divergence(name)(soften(teacher, 1.0), soften(student, 1.0))
    assert found.dtype == torch.float32
    assert float(found.min()) > -1e-6


def test_a_temperature_flattens() -> None:
    assert soften(logs([0.8, 0.2]), 2.0).exp().tolist()[0] == pytest.approx([2 / 3, 1 / 3])  # square roots


def test_parameters_out_of_range_are_named() -> None:
    faults = Divergence("kl", beta=1.5, skew=1.0).faults("objective")
    assert [fault.split(":")[0] for fault in faults] == [
        "objective.divergence=kl", "objective.beta=1.5", "objective.skew=1.0"
    ]  # fmt: skip
    assert not Divergence().faults("objective")
    support = [name for name in DIVERGENCES if Divergence(name).needs_support]
    assert support == ["reverse_kl"]
    assert Divergence("jsd", beta=1).needs_support
    assert Divergence("skewed_reverse_kl", skew=0).needs_support
