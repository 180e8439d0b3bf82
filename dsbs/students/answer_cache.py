"""The cache of inputs, and of the answers that are scored token by token after them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers.cache_utils import EncoderDecoderCache


@dataclass(frozen=True)
class AnswerCache:
    """Inputs of R examples, and the keys and values of the P positions that were read after each.

    Attributes:
        inputs: the encoder's states [R, S, d]; None for a decoder-only student, whose inputs are in the cache.
        mask: of the inputs [R, S]; those of a decoder-only student are padded at the start.
        cache: keys and values of the decoder.
        depths: number of tokens of its answer before each position [R or 1, P].
    """

    inputs: torch.Tensor | None
    mask: torch.Tensor
    cache: Any
    depths: torch.Tensor

    def keep(self, rows: Sequence[int]) -> "AnswerCache":
        """Return some of the examples; their cache grows independently."""
        if list(rows) == list(range(len(self.mask))):
            return self
        indices = torch.tensor(rows, device=self.mask.device)
        cache = copy_cache(self.cache)
        if cache is not None:
            cache.batch_select_indices(indices)
        inputs = None if self.inputs is None else self.inputs.index_select(0, indices)
        depths = self.depths if len(self.depths) == 1 else self.depths.index_select(0, indices)
        return AnswerCache(inputs, self.mask.index_select(0, indices), cache, depths)


def copy_cache(cache: Any) -> Any:
    """Return a copy of a cache that grows independently; tensors are shared until then."""
    if cache is None:
        return None
    if isinstance(cache, EncoderDecoderCache):
        return EncoderDecoderCache(copy_cache(cache.self_attention_cache), copy_cache(cache.cross_attention_cache))
    other = copy.copy(cache)
    other.layers = [copy.copy(layer) for layer in cache.layers]
    return other
