"""The teacher's distribution over the next token, at every position of a target."""

from typing import TYPE_CHECKING

import torch

from dsbs.objectives.divergences import Divergence, soften
from dsbs.students.tensors import IGNORED

if TYPE_CHECKING:
    from dsbs.students.model import Batch


def summed_divergence(
    divergence: Divergence,
    teacher: torch.Tensor,
    student: torch.Tensor,
    target: "Batch",
    temperature: float = 1.0,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the divergence over the tokens of targets, in nats, and the sum of the weights.

    Args:
        divergence: between the distributions over the common tokens.
        teacher: its logits over the common tokens [R, T, V].
        student: its logits [R, T, V or more], with gradients.
        target: ``labels`` [R, T], ``IGNORED`` at padding, and ``weights`` [R].

    Returns:
        two scalars; only the first one has gradients.
    """
    known = target["labels"].ne(IGNORED)
    weights = target["weights"].unsqueeze(1).expand_as(target["labels"])[known]
    common = student[known][:, : teacher.shape[-1]]
    found = divergence(soften(teacher[known], temperature), soften(common, temperature))
    return (weights * found).sum(), weights.sum()
