"""Padded tensors and attention masks."""

from collections.abc import Sequence

import torch

IGNORED = -100  # the label of a position that is not in the loss, as in Hugging Face


def pad(rows: Sequence[Sequence[int]], value: int) -> torch.Tensor:
    """Return rows as a tensor [R, T] (int64), padded at the end with ``value``; there must be at least one row.

    >>> pad([[1, 2], [3]], 0).tolist()
    [[1, 2], [3, 0]]
    """
    width = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (width - len(row))] for row in rows], dtype=torch.long)


def additive(seen: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return a boolean mask [R, T, K] of attended positions as an additive mask [R, 1, T, K]."""
    return torch.zeros_like(seen, dtype=dtype).masked_fill(~seen, torch.finfo(dtype).min).unsqueeze(1)


def rename_end(logits: torch.Tensor, own: int, end_id: int) -> torch.Tensor:
    """Return logits [..., V] in which a model's own end token is another one: chat models end with one of their own.

    >>> rename_end(torch.tensor([[1.0, 2.0, 3.0]]), own=2, end_id=0).tolist()
    [[3.0, 2.0, 1.0]]
    """
    if own == end_id:
        return logits
    order = torch.arange(logits.shape[-1], device=logits.device)
    order[[own, end_id]] = order[[end_id, own]]
    return logits[..., order]


def hide_end(logits: torch.Tensor, end_id: int) -> torch.Tensor:
    """Return logits [..., V] in which the end token has no probability; finite, so that 0 times its logarithm is 0."""
    return logits.index_fill(-1, torch.tensor([end_id], device=logits.device), -1e4)
