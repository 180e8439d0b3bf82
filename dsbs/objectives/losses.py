"""Sums of losses over target tokens, and means that do not depend on how an optimizer step is cut into batches.

The multi-task loss (paper, equation 4) is one such mean for labels and one for rationales; without tokens it is 0.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from dsbs.objectives.divergences import Divergence, soften
from dsbs.students.tensors import IGNORED, hide_end

if TYPE_CHECKING:
    from dsbs.students.model import Batch

SAMPLED = "sampled"  # the signal of tokens that the student wrote itself: 1


def target_log_likelihoods(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the log-likelihood of each target [R] in nats: the sum over its tokens, in float32, with gradient.

    Args:
        logits: [R, T, V].
        labels: [R, T], ``IGNORED`` at positions that are not in the loss.
    """
    nll = F.cross_entropy(logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -nll.view_as(labels).sum(dim=1)


def summed_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum over target tokens of the negative log-likelihood in nats, and the sum of the weights.

    Args:
        logits: [R, T, V].
        labels: [R, T], ``IGNORED`` at positions that are not in the loss.
        weights: the weight of each target [R].

    Returns:
        two scalars: sum of weight * nll with gradient, and the weighted number of tokens.
    """
    return -(weights * target_log_likelihoods(logits, labels)).sum(), (weights * count_tokens(labels)).sum()


def summed_divergence(
    divergence: Divergence,
    teacher: torch.Tensor,
    student: torch.Tensor,
    target: "Batch",
    temperature: float = 1.0,
    hard_end: int | None = None,
    hidden_end: int | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the weighted sum of the divergence over the tokens of targets, in nats, and the sum of the weights.

    Args:
        divergence: between the distributions over the common tokens.
        teacher: its logits over the common tokens [R, T, V].
        student: its logits [R, T, V or more], with gradients.
        target: ``labels`` [R, T], ``IGNORED`` at padding, ``weights`` [R], and in ``signals`` perhaps ``SAMPLED``.
        hard_end: an end token that is learned by cross-entropy in given targets; None: as every other token.
        hidden_end: an end token that samples say nothing about: it is left out of both distributions.

    Returns:
        two scalars; only the first one has gradients.
    """
    known, weights = token_weights(target)
    taught, own = teacher[known], student[known][:, : teacher.shape[-1]]
    labels = target["labels"][known]
    signal = target.get("signals", {}).get(SAMPLED)
    sampled = torch.zeros_like(labels, dtype=torch.bool) if signal is None else signal[known] > 0
    if hidden_end is not None:
        taught, own = (torch.where(sampled.unsqueeze(1), hide_end(one, hidden_end), one) for one in (taught, own))
    own = soften(own, temperature)
    found = divergence(soften(taught, temperature), own)
    if hard_end is not None:
        found = torch.where(labels.eq(hard_end) & ~sampled, -own[:, hard_end], found)
    if hidden_end is not None:  # what would follow a sample's end is not learned, either
        found = found.masked_fill(labels.eq(hidden_end) & sampled, 0.0)
    return (weights * found).sum(), weights.sum()


def token_weights(target: "Batch") -> tuple[torch.Tensor, torch.Tensor]:
    """Return which tokens of targets are in the loss [R, T], and the weight of each of these N tokens [N]."""
    known = target["labels"].ne(IGNORED)
    return known, target["weights"].unsqueeze(1).expand_as(known)[known]


def count_tokens(labels: torch.Tensor) -> torch.Tensor:
    """Return the number of tokens in the loss of each target [R]; labels are [R, T]."""
    return labels.ne(IGNORED).sum(dim=1)


def weigh_terms(
    terms: Mapping[str, tuple[torch.Tensor, torch.Tensor]],
    shares: Mapping[str, float],
    counts: Mapping[str, torch.Tensor],
) -> tuple[torch.Tensor, dict[str, tuple[torch.Tensor, torch.Tensor]]]:
    """Return a batch's loss, the sum of its terms as means over the optimizer step, and the terms without gradients.

    Args:
        terms: term -> (sum, count) over the batch.
        shares: term -> its weight; 1 for a term that is not named.
        counts: term -> its count over the whole step.
    """
    losses = [shares.get(term, 1.0) * mean_of_step(total, counts[term]) for term, (total, _) in terms.items()]
    return torch.stack(losses).sum(), {term: (total.detach(), count) for term, (total, count) in terms.items()}


def mean_of_step(total: torch.Tensor, count: torch.Tensor) -> torch.Tensor:
    """Return a batch's part of a mean over the whole optimizer step; 0 where the count is 0.

    Args:
        total: sum over this batch; a scalar.
        count: over all batches and processes of the step; a scalar.
    """
    return total / torch.where(count > 0, count, torch.ones_like(count))
