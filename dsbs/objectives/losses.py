"""The multi-task loss (paper, equation 4), written so that it does not depend on how a step is cut into batches."""

import torch
import torch.nn.functional as F

from dsbs.students.tensors import IGNORED


def count_tokens(labels: torch.Tensor) -> torch.Tensor:
    """Return how many positions of labels [R, T] are in the loss; a scalar."""
    return labels.ne(IGNORED).sum()


def summed_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sum over target tokens of the negative log-likelihood in nats, weighted and plain.

    Args:
        logits: [R, T, V].
        labels: [R, T], ``IGNORED`` where there is nothing to learn.
        weights: [R], the weight of each row's target.

    Returns:
        Two scalars: sum of weight * nll with gradient, and sum of nll without.
    """
    nll = F.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none"
    ).view_as(labels)
    per_row = nll.sum(dim=1)
    return (weights * per_row).sum(), per_row.sum().detach()


def multi_task_loss(sums: dict[str, torch.Tensor], counts: dict[str, torch.Tensor]) -> torch.Tensor:
    """Return L = sum over kinds of (weighted sum of nll) / (target tokens of that kind in the whole optimiser step).

    With weights alpha on labels and 1 - alpha on rationales this is alpha * L_label + (1 - alpha) * L_rationale, each a
    mean over its own tokens. A kind without tokens adds 0.

    Args:
        sums: kind -> weighted sum over this batch; scalars.
        counts: kind -> tokens over all micro-batches and processes of the step; scalars.
    """
    return torch.stack([total / counts[kind].clamp(min=1) for kind, total in sums.items()]).sum()
