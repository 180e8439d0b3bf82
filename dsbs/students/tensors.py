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
