"""Exports: a trained student in the format of a fast engine.

A new format is a module with ``convert``, ``usage``, ``QUANTIZATIONS``, ``DEFAULT`` and ``DECODING``, and ``STORED`` if
it does not convert all, listed here, and a predictor listed in ``dsbs.inference.predictor.PREDICTORS``.
"""

from pathlib import Path
from types import ModuleType

from dsbs.core.errors import ConfigError
from dsbs.core.registry import Registry
from dsbs.core.untrusted import read_object

# Name -> module, imported when it is looked up.
FORMATS: Registry[ModuleType] = Registry(
    "dsbs.exports",
    {
        "ctranslate2": "dsbs.inference.exports.ctranslate2",
        "gguf": "dsbs.inference.exports.gguf",
        "onnx": "dsbs.inference.exports.onnx",
        "skops": "dsbs.inference.exports.skops",
    },
)
# Architectures (`model_type`) that CTranslate2 supports: encoder-decoders, and causal models.
TRANSLATORS = ("t5", "mt5", "bart", "mbart", "pegasus", "marian")
GENERATORS = ("llama", "gpt2", "qwen2", "qwen3", "mistral", "gpt_neox", "opt", "gemma", "gemma2", "phi", "phi3")


def choose_format(checkpoint: Path) -> tuple[str, str]:
    """Return the format that suits a checkpoint (``format=auto``), and why.

    Raises:
        ConfigError: where there is none.
        DataError: where its ``config.json`` is missing or broken.
    """
    config = read_object(checkpoint / "config.json")
    kind = str(config.get("model_type"))
    stored = config.get("dsbs", {}).get("format", "transformers")
    if stored in ("classifier", "embedding"):
        return "onnx", f"onnxruntime runs the encoder of a {stored} student without torch"
    if stored != "transformers":
        return "skops", f"a {stored} student needs no conversion; it is copied with its card"
    if kind in TRANSLATORS:
        return "ctranslate2", f"CTranslate2 runs {kind} several times as fast as transformers on a CPU"
    if kind in GENERATORS:
        return "ctranslate2", f"CTranslate2 ranks and generates with {kind}"
    raise ConfigError(
        f"format=auto: no format is known for the architecture {kind!r}. CTranslate2 supports "
        f"{', '.join((*TRANSLATORS, *GENERATORS))}. The checkpoint itself can be served: "
        f"python -m dsbs.serve checkpoint={checkpoint}"
    )


def find_format(name: str) -> ModuleType:
    """Return the module of a format.

    Raises:
        ConfigError: for an unknown format, or where its package is missing.
    """
    if name not in FORMATS:
        raise ConfigError(f"format={name}: expected auto, {', '.join(FORMATS)}.")
    try:
        return FORMATS[name]
    except ModuleNotFoundError as error:
        raise ConfigError(f"format={name} needs the package {error.name}: pip install 'dsbs[export]'") from None
