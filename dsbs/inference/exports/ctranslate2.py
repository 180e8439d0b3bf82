"""CTranslate2: encoder-decoder and decoder-only students on CPUs and GPUs, quantized; https://opennmt.net/CTranslate2."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import ctranslate2

from dsbs.core.errors import ConfigError, DataError, StudentError
from dsbs.core.untrusted import check_regular
from dsbs.inference.checkpoint import Saved, load_remembered
from dsbs.inference.exports.base import (
    ExportPredictor,
    count_threads,
    load_export_tokenizer,
    name_tokens,
    read_export,
    write_config,
)
from dsbs.inference.exports.ctranslate2_writer import CTranslate2Writer
from dsbs.students.prefixes import KINDS

logger = logging.getLogger(__name__)

QUANTIZATIONS = ("int8", "int8_float32", "float32", "bfloat16", "int8_bfloat16", "float16", "int8_float16")
DEFAULT = "int8"
STORED = ("transformers",)  # formats of checkpoints that it converts
DECODING = None  # as in the training
ENGINE = "engine"  # the folder of CTranslate2's own files


def convert(checkpoint: Path, folder: Path, quantization: str) -> dict[str, Any]:
    """Convert a checkpoint to CTranslate2.

    Returns:
        the engine's settings, as in its ``config.json``.

    Raises:
        ConfigError: for a quantization that this machine or this student cannot use.
        StudentError: for an architecture that CTranslate2 does not support.
    """
    from dsbs.students.loading import load_student

    check_supported(quantization)
    student = load_student(checkpoint)
    check_convertible(student.config, quantization)
    causal = not student.config.is_encoder_decoder
    end = student.encode_targets([""])[0][-1]
    vocabulary = write_engine(student, checkpoint, folder / ENGINE, quantization)
    complete_config(folder / ENGINE / "config.json", vocabulary[end], causal)
    shutil.copy(checkpoint / "tokenizer.json", folder / "tokenizer.json")
    export = {
        "architecture": student.config.model_type,
        "quantization": quantization,
        "causal": causal,
        "starts": {name: student.start_id(name) for name in KINDS},
        "end": end,
        "vocabulary": vocabulary,
    }
    write_config(folder, load_remembered(checkpoint), "ctranslate2", export)
    return export


def write_engine(student: Any, checkpoint: Path, engine: Path, quantization: str) -> list[str]:
    """Write CTranslate2's own files of a student, and return the names of its tokens, by id."""
    from ctranslate2.converters.transformers import TransformersConverter

    vocabulary = name_tokens(student.tokenizer.get_vocab(), len(student.embedding_tables()[1]))
    # The loaders take the names from here; one that appends names of its own may repeat one that exists.
    student.tokenizer.get_vocab = lambda: {token: id for id, token in enumerate(vocabulary)}

    class Loaded(TransformersConverter):
        """Converts the student that was loaded by our own rules instead of loading it again."""

        def load_model(self, *args: Any, **kwargs: Any) -> Any:
            return student.model

        def load_tokenizer(self, *args: Any, **kwargs: Any) -> Any:
            return student.tokenizer

    if not hasattr(student.config, "normalize_before"):  # the loaders of BART's family ask; transformers 5 dropped it
        student.config.normalize_before = student.config.model_type in ("mbart", "pegasus")
    Loaded(str(checkpoint)).convert(str(engine), quantization=None if quantization == "float32" else quantization)
    return vocabulary


def check_supported(quantization: str) -> None:
    """Check that this machine supports a quantization.

    Raises:
        ConfigError: where it does not; with those that it does.
    """
    supported = ctranslate2.get_supported_compute_types("cuda" if ctranslate2.get_cuda_device_count() else "cpu")
    if quantization not in supported | {"int8"}:
        raise ConfigError(
            f"quantization={quantization}: this machine supports {', '.join(sorted(supported))}; CTranslate2 would "
            "silently fall back to another one."
        )


def check_convertible(config: Any, quantization: str) -> None:
    """Check that CTranslate2 supports an architecture, and that it can be quantized as asked.

    Raises:
        ConfigError: for the quantization.
        StudentError: for the network.
    """
    from ctranslate2.converters.transformers import _MODEL_LOADERS

    if "float16" in quantization and config.model_type in ("t5", "mt5"):
        raise ConfigError(f"quantization={quantization}: T5 overflows in float16. Choose int8 or float32.")
    if type(config).__name__ not in _MODEL_LOADERS:
        raise StudentError(f"format=ctranslate2: CTranslate2 does not convert {config.model_type!r} students.")


def complete_config(path: Path, end: str, causal: bool) -> None:
    """Complete the converter's config: the engine requires special tokens that some students lack."""
    config = json.loads(path.read_text(encoding="utf-8"))
    for name in ("bos_token", "eos_token", "unk_token"):
        config[name] = config.get(name) or end  # the engine wants a name where a tokenizer has none
    if not causal:
        # The start token is given with every request: `[label]` or `[rationale]`. The checkpoint's config.json still
        # names the pretrained one, and that is what the loader took.
        config["decoder_start_token"] = None
    path.write_text(json.dumps(config, indent=2), encoding="utf-8")


class CTranslate2Predictor(ExportPredictor):
    """A student in CTranslate2."""

    @classmethod
    def load(cls, saved: Saved) -> "CTranslate2Predictor":
        """Load an export; see ``dsbs.inference.predictor.load_predictor``.

        Raises:
            DataError: where files are missing or broken.
        """
        export = read_export(saved.folder, ("quantization", "causal", "starts", "end", "vocabulary"))
        tokenizer = load_export_tokenizer(saved.folder, export, saved.remembered.prefix_on)
        vocabulary = tokenizer.check(export["vocabulary"], saved.folder)
        check_regular(saved.folder / ENGINE)
        device = "cuda" if ctranslate2.get_cuda_device_count() else "cpu"
        supported = ctranslate2.get_supported_compute_types(device)
        quantization = str(export["quantization"])
        if quantization not in supported | {"int8"}:
            logger.warning(
                "This export is %s, which this machine does not support; using float32 instead (supported: %s).",
                quantization,
                ", ".join(sorted(supported)),
            )
        build = ctranslate2.Generator if tokenizer.causal else ctranslate2.Translator
        try:
            engine = build(str(saved.folder / ENGINE), device=device, inter_threads=1, intra_threads=count_threads())
        except (RuntimeError, ValueError) as error:
            raise DataError(
                f"{saved.folder / ENGINE}: CTranslate2 cannot read it ({str(error).splitlines()[0]})."
            ) from None
        writer = CTranslate2Writer(engine, tokenizer, vocabulary)
        return cls(writer, saved.task, saved.objective, saved.reading())  # type: ignore[arg-type]


_USAGE = """\
```python
import ctranslate2
from tokenizers import Tokenizer

folder = "."  # the folder of this file
tokenizer = Tokenizer.from_file(f"{{folder}}/tokenizer.json")
{body}
print(tokenizer.decode(ids))
```
"""
_TRANSLATOR = """\
translator = ctranslate2.Translator(f"{{folder}}/engine")
inputs = tokenizer.encode("{input}").tokens
answer = translator.translate_batch([inputs], target_prefix=[[{start}]], beam_size=1)[0].hypotheses[0]
ids = [tokenizer.token_to_id(token) for token in answer]"""
_GENERATOR = """\
generator = ctranslate2.Generator(f"{{folder}}/engine")
inputs = [*tokenizer.encode("{input}").tokens, {start}]
ids = generator.generate_batch([inputs], include_prompt_in_result=False, max_length=64)[0].sequences_ids[0]"""


def usage(checkpoint: Path, export: dict[str, Any]) -> str:
    """Return Markdown that shows how to use the export without dsbs, for its card."""
    prefix = "[label] " if load_remembered(checkpoint)["prefix_on"] == "input" else ""
    body = _GENERATOR if export["causal"] else _TRANSLATOR
    start = json.dumps(export["vocabulary"][export["starts"]["label"]])  # a token of somebody else, within code
    return _USAGE.format(body=body.format(input=f"{prefix}Your text", start=start))
