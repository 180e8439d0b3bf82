"""Checks of a network beside its weights: before memory is allocated for it, and after the weights are loaded."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from dsbs.core.errors import StudentError
from dsbs.core.untrusted import excerpt

# Values that a network may have beyond those in its files, without doubt: of a new head, of masks and the like.
MAX_BEYOND = 2**26
MAX_NEW = 1 / 3  # share of the parameters that may start at random: a head, cross-attention


def check_size(named: str, loader: Any, config: Any, values: int) -> None:
    """Check that a config describes a network of about the size of its weights, before memory is allocated for it.

    Args:
        values: number of values in its weights.

    Raises:
        StudentError: where it is far larger.
    """
    with torch.device("meta"):
        build: Callable[[Any], Any] = getattr(loader, "from_config", None) or loader._from_config
        network = build(copy.deepcopy(config))
    wanted = sum(part.numel() for part in (*network.parameters(), *network.buffers()))
    if wanted > 2 * values + MAX_BEYOND:
        raise StudentError(
            f"{named}: config.json describes a network of {wanted:,} parameters, but its weights have {values:,}."
        )


def check_loaded(model: Any, found: dict[str, Any], new_head: bool = False) -> None:
    """Check that a network got its weights: transformers initializes what it does not find, and only logs it.

    Args:
        found: what ``from_pretrained`` says of the loading.
        new_head: whether parameters outside of the base model may have another size in the weights.

    Raises:
        StudentError: where a size is another one, much of the network would start at random, or a weight is not finite.
    """
    body = f"{model.base_model_prefix}."
    headless = model.base_model is model  # its names have no prefix
    for name, shape, wanted in sorted(found["mismatched_keys"]):
        if not new_head or headless or name.startswith(body):
            raise StudentError(f"{name} is {list(shape)} in the weights, but {list(wanted)} by config.json")
    sizes = {name: weight.numel() for name, weight in model.named_parameters()}
    missing = sorted(found["missing_keys"] & sizes.keys())
    share = sum(sizes[name] for name in missing) / max(sum(sizes.values()), 1)
    if share > MAX_NEW:
        other = excerpt(min(found["unexpected_keys"]), 80) if found["unexpected_keys"] else "nothing else"
        raise StudentError(
            f"the weights are not those of a {type(model).__name__}: {100 * share:.0f}% of it would start at random. "
            f"It needs {missing[0]}, and they have {other}"
        )
    if broken := [name for name, weight in model.named_parameters() if not weight.isfinite().all()]:
        raise StudentError(f"{broken[0]} holds NaN or infinity; weights of a T5 overflow where they are saved as fp16")
