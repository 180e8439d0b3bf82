"""The JSON of an untrusted model: its numbers are checked, and keys that would fetch or run anything are dropped."""

import math
import re
from pathlib import Path
from typing import Any

from dsbs.core.errors import StudentError
from dsbs.core.untrusted import excerpt

# Keys of either config that name code, kernels, or files and models elsewhere.
_REFERENCES = re.compile(
    r"auto_map|custom_\w+|\w*name_or_path|\w+_files?|\w*_path|\w+_dir|kernel\w*|use_kernels|\w*tp_plan|"
    r"distributed_config|transformers_weights|num_labels|id2label|label2id"
)
_CODE = re.compile(r"_?(?:attn|experts)_implementation(?:_internal)?")
_IMPLEMENTATIONS = (None, "eager", "sdpa")
_COUNTS = re.compile(r"\w*layers?|\w*blocks?|\w*experts?|depth|\w*depth")
FEW = 1024  # experts and the like may share a tensor
MAX_NUMBER = 2**40
MAX_POSITIONS = 2**24
MAX_DEPTH = 16


def clean_config(config: dict[str, Any], path: Path, tensors: dict[str, int] | None) -> dict[str, Any]:
    """Return a model's config without keys that lead elsewhere (``drop_references``), after checking its numbers.

    Args:
        tensors: of its weights: there can be no more layers than tensors.

    Raises:
        StudentError: for attention implementations that are downloaded, quantized weights, sizes out of bounds.
    """
    if not isinstance(config.get("model_type"), str):
        raise StudentError(f"{path}: model_type: expected the name of an architecture.")
    if config.get("quantization_config") is not None:
        raise StudentError(f"{path}: quantization_config: quantized weights are not supported.")
    max_layers = len(tensors) if tensors is not None else 10_000
    _check_numbers(config, path, max_layers, "")
    return drop_references(config, path)


def drop_references(values: dict[str, Any], path: Path) -> dict[str, Any]:
    """Return JSON values without keys that name code, kernels, files or models elsewhere, at any depth."""

    def clean(value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise StudentError(f"{path}: nested too deeply.")
        if isinstance(value, list):
            return [clean(item, depth + 1) for item in value]
        if not isinstance(value, dict):
            return value
        kept = {key: item for key, item in value.items() if not _REFERENCES.fullmatch(key) and not _CODE.fullmatch(key)}
        return {key: clean(item, depth + 1) for key, item in kept.items()}

    cleaned: dict[str, Any] = clean(values, 0)
    return cleaned


def _check_numbers(value: Any, path: Path, max_layers: int, key: str, depth: int = 0) -> None:
    """Check every number and every name of an implementation in a config."""
    if depth > MAX_DEPTH:
        raise StudentError(f"{path}: nested too deeply.")
    if _CODE.fullmatch(key) and (
        not all(one in _IMPLEMENTATIONS for one in value.values())
        if isinstance(value, dict)
        else value not in _IMPLEMENTATIONS
    ):
        raise StudentError(
            f"{path}: {key}={excerpt(value, 60)!r}: expected eager or sdpa; other implementations download code."
        )
    if isinstance(value, dict):
        for name, item in value.items():
            _check_numbers(item, path, max_layers, name, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_numbers(item, path, max_layers, key, depth + 1)
    elif isinstance(value, float) and math.isnan(value):
        raise StudentError(f"{path}: {key}=NaN: expected a number.")
    elif isinstance(value, int | float) and "dropout" in key and not 0 <= value <= 1:
        raise StudentError(f"{path}: {key}={excerpt(value, 30)}: expected from 0 to 1.")
    elif isinstance(value, int) and not isinstance(value, bool):
        counts = _COUNTS.fullmatch(key)
        bound = max(max_layers, FEW) if counts else MAX_POSITIONS if "position" in key else MAX_NUMBER
        if abs(value) > bound:
            why = f", for there are {max_layers:,} tensors" if counts else ""
            raise StudentError(f"{path}: {key}={excerpt(value, 30)}: expected at most {bound:,}{why}.")
