"""Divergences between a teacher's and a student's distribution, in nats, computed in float32.

With P the teacher's distribution, Q the student's, and KL(P || Q) = sum of P log(P / Q):

| name | formula | paper |
|---|---|---|
| ``forward_kl`` | KL(P \\|\\| Q) | Hinton et al., 2015, arXiv 1503.02531 |
| ``reverse_kl`` | KL(Q \\|\\| P) | Gu et al., 2024, arXiv 2306.08543, section 2.1 |
| ``jsd`` | beta KL(P \\|\\| M) + (1 - beta) KL(Q \\|\\| M), M = beta P + (1 - beta) Q | Agarwal et al., 2024, arXiv 2306.13649, eq. 1 |
| ``skewed_kl`` | KL(P \\|\\| skew P + (1 - skew) Q) | Ko et al., 2024, arXiv 2402.03898, eq. 3 |
| ``skewed_reverse_kl`` | KL(Q \\|\\| skew Q + (1 - skew) P) | the same |
"""  # noqa: E501

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

DIVERGENCES = ("forward_kl", "reverse_kl", "jsd", "skewed_kl", "skewed_reverse_kl")
# The logarithm of a probability of 0: finite, so that 0 * log 0 is 0 and no gradient is NaN; e to it is 0 in float32.
FLOOR = -1e4


@dataclass(frozen=True)
class Divergence:
    """One of ``DIVERGENCES`` with its parameters.

    Attributes:
        beta: of ``jsd``; 0 is exactly ``forward_kl`` and 1 ``reverse_kl``, where the formula itself would be 0.
        skew: of the skewed ones; 0: without skew.
    """

    name: str = "forward_kl"
    beta: float = 0.5
    skew: float = 0.1

    def __call__(self, teacher: "torch.Tensor", student: "torch.Tensor") -> "torch.Tensor":
        """Return the divergence [...] of log-probabilities [..., K], in float32.

        Args:
            teacher: finite; ``FLOOR`` where the probability is 0.
            student: likewise.

        Raises:
            ValueError: for an unknown name.
        """
        teacher, student = teacher.float(), student.float()
        match self.name:
            case "forward_kl":
                return kl(teacher, student)
            case "reverse_kl":
                return kl(student, teacher)
            case "jsd" if self.beta == 0:
                return kl(teacher, student)
            case "jsd" if self.beta == 1:
                return kl(student, teacher)
            case "jsd":
                middle = mix(teacher, student, self.beta)
                return self.beta * kl(teacher, middle) + (1 - self.beta) * kl(student, middle)
            case "skewed_kl":
                return kl(teacher, mix(teacher, student, self.skew))
            case "skewed_reverse_kl":
                return kl(student, mix(student, teacher, self.skew))
        raise ValueError(f"divergence {self.name}: expected one of {', '.join(DIVERGENCES)}")

    def faults(self, key: str) -> list[str]:
        """Return what is wrong with the parameters.

        Args:
            key: of the settings in messages, such as ``objective``.
        """
        faults = []
        if self.name not in DIVERGENCES:
            faults.append(f"{key}.divergence={self.name}: expected one of {', '.join(DIVERGENCES)}.")
        if not 0 <= self.beta <= 1:
            faults.append(f"{key}.beta={self.beta}: expected from 0 (forward KL) to 1 (reverse KL).")
        if not 0 <= self.skew < 1:
            faults.append(f"{key}.skew={self.skew}: expected from 0 (no skew) up to, not including, 1.")
        return faults

    @property
    def needs_support(self) -> bool:
        """Whether it is infinite where the teacher's probability is 0 and the student's is not."""
        return self.name == "reverse_kl" or (self.name == "jsd" and self.beta == 1) or (
            self.name == "skewed_reverse_kl" and self.skew == 0
        )  # fmt: skip


def kl(one: "torch.Tensor", other: "torch.Tensor") -> "torch.Tensor":
    """Return KL(one || other) [...] of log-probabilities [..., K]."""
    return (one.exp() * (one - other)).sum(-1)


def mix(one: "torch.Tensor", other: "torch.Tensor", share: float) -> "torch.Tensor":
    """Return log(share * e^one + (1 - share) * e^other), for log-probabilities: probabilities are mixed."""
    import torch

    if share in (0, 1):
        return one if share else other
    return torch.logaddexp(one + math.log(share), other + math.log1p(-share))


def soften(log_probabilities: "torch.Tensor", temperature: float) -> "torch.Tensor":
    """Return the log-probabilities [..., K] at a temperature, normalized."""
    return (log_probabilities.float() / temperature).log_softmax(-1)
