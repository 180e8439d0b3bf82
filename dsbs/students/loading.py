"""Loading of models and tokenizers with Hugging Face's classes, for students and teachers; nothing else calls them.

Everything goes through ``open_model``: a model that the user named (on the hub, a folder, a GGUF file), and an
untrusted checkpoint (``load_student``). No code of a model's own is run unless the user typed
``student.trust_remote_code=true`` for a model that they named, and nothing is asked on standard input. Folders, also
those in the hub's cache, are read through ``dsbs.students.folders.view``. A new way to load a model (an export, a
teacher beside the student) uses ``open_model``, never ``from_pretrained`` itself:

    with open_model("google-t5/t5-base") as opened:
        tokenizer, network = opened.tokenizer(), opened.network()
"""

import pickle
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors.torch import load_file
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging

from dsbs.core.errors import DataError, StudentError
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import Fields, excerpt, read_json_file
from dsbs.students.classifier import CLASSIFIER, ClassifierModel, MultipleChoiceModel
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.folders import (
    ADAPTER,
    CONFIG,
    INDEX,
    POOLING,
    SETTINGS,
    TOKENIZER,
    TOKENIZER_CONFIG,
    view,
    view_file,
    without_panic,
)
from dsbs.students.model import LORA_WEIGHTS, StudentModel
from dsbs.students.prefixes import PREFIX_ON
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.students.weights import check_loaded, check_size


@contextmanager
def open_model(
    name_or_path: str, *, revision: str | None = None, use_safetensors: bool = True, trust_remote_code: bool = False
) -> Iterator["OpenedModel"]:
    """Yield a model to load from: one that the user named, or a checkpoint.

    Args:
        name_or_path: a hub name, a folder, or a GGUF file.
        use_safetensors: refuse pickled weights; else they are loaded with ``weights_only``.
        trust_remote_code: run the model's own code; only if the user typed it for a model that they named.

    Raises:
        StudentError: where the folder fails the checks of ``folders.view``.
        OSError: where the hub does not have it.
    """
    path = Path(name_or_path).expanduser()
    if path.is_file() and path.suffix != ".gguf":
        raise StudentError(f"{path}: expected the folder of a model, or a .gguf file.")
    safe = {"use_safetensors": True if use_safetensors else None, "weights_only": True}
    if trust_remote_code:
        yield OpenedModel(name_or_path, name_or_path, {"trust_remote_code": True, "revision": revision}, safe)
    elif path.suffix == ".gguf":
        with view_file(path) as shown:
            yield OpenedModel(str(shown.folder), str(path), {"trust_remote_code": False, "gguf_file": path.name}, {})
    else:
        source = path if path.is_dir() else _fetch(name_or_path, revision, use_safetensors)
        with view(source, pickled=not use_safetensors) as shown:
            if (source / ADAPTER).exists():
                log_once(f"{name_or_path}: the adapter in it ({ADAPTER}) is not used, only the model.")
            yield OpenedModel(str(shown.folder), name_or_path, {"trust_remote_code": False}, safe, shown.values, source)


def _fetch(name: str, revision: str | None, use_safetensors: bool) -> Path:
    """Return the folder in the cache to which a model on the hub was loaded, of it only what ``view`` reads."""
    from huggingface_hub import snapshot_download

    weights = ["model.safetensors", f"model.safetensors{INDEX}", "model-*.safetensors"]
    if not use_safetensors:
        weights += ["pytorch_model.bin", f"pytorch_model.bin{INDEX}", "pytorch_model-*.bin"]
    wanted = [CONFIG, TOKENIZER_CONFIG, POOLING, *TOKENIZER, *weights]
    return Path(snapshot_download(name, revision=revision, allow_patterns=wanted))


class OpenedModel:
    """A model whose config, tokenizer and weights can be loaded.

    Attributes:
        name_or_path: the path or hub name that the loaders get.
        named: the path or hub name that the user gave; saved in configs, and used in messages.
        values: number of values in its weights, or None where unknown.
        source: the folder that it comes from, or None.
    """

    def __init__(
        self,
        name_or_path: str,
        named: str,
        options: dict[str, Any],
        weights: dict[str, Any],
        values: int | None = None,
        source: Path | None = None,
    ) -> None:
        self.name_or_path, self.named, self.values, self.source = name_or_path, named, values, source
        self._options, self._weights = options, weights

    def config(self) -> Any:
        """Load the config."""
        config = AutoConfig.from_pretrained(self.name_or_path, **self._options)
        config._name_or_path = self.named
        return config

    def tokenizer(self) -> Any:
        """Load the tokenizer."""
        try:
            with without_panic(self.named):
                tokenizer = AutoTokenizer.from_pretrained(self.name_or_path, **self._options)
        except (OSError, ValueError):
            if self.source is None or any((self.source / name).exists() for name in TOKENIZER):
                raise
            raise StudentError(
                "there is no tokenizer, such as tokenizer.json or spiece.model: tokenizer.save_pretrained(FOLDER)"
            ) from None
        tokenizer.name_or_path = tokenizer.init_kwargs["name_or_path"] = self.named
        return tokenizer

    def network(self, loader: Any = None, *, new_head: bool = False, **changes: Any) -> Any:
        """Load the network in float32.

        Args:
            loader: a class with ``from_pretrained``; None: the class for encoder-decoders or for causal models.
            new_head: whether a head of another size than that in the weights is a new one.

        Raises:
            StudentError: as ``check_size`` and ``check_loaded``.
        """
        if "gguf_file" in self._options:
            return self._unpack(loader or AutoModelForCausalLM)
        config = self.config()
        for name, value in changes.items():
            setattr(config, name, value)
        loader = loader or (AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM)
        if self.values is not None:
            check_size(self.named, loader, config, self.values)
        try:
            model, found = loader.from_pretrained(
                self.name_or_path,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **self._options,
                **self._weights,
            )
        except pickle.UnpicklingError:
            raise StudentError("its pickled weights hold more than tensors, and are not loaded") from None
        check_loaded(model, found, new_head)
        model.config._name_or_path = model.name_or_path = self.named
        return model

    def _unpack(self, loader: Any) -> Any:
        # Unpacked, so that it can be trained; versions of transformers before this class know no other way.
        packing = getattr(transformers, "GgufConfig", None)
        options = {} if packing is None else {"quantization_config": packing(dequantize=True)}
        with redirect_stderr(StringIO()):  # a bar that cannot be switched off; errors are raised all the same
            model: Any = loader.from_pretrained(self.name_or_path, **self._options, **options, dtype=torch.float32)
        if getattr(model, "hf_quantizer", None) is not None:
            model.hf_quantizer.remove_quantization_config(model)
        return model


@contextmanager
def explaining(problem: str, advice: str = "") -> Iterator[None]:
    """Raise whatever a broken or hostile file makes the loaders raise as an error that says what is wrong, and why.

    Raises:
        StudentError: ``problem (the first line of the original message). advice``
    """
    try:
        yield
    except Exception as error:
        why = excerpt(str(error).strip().split("\n")[0], 400) or type(error).__name__
        raise StudentError(f"{problem} ({why}).{advice and ' '}{advice}") from error


@contextmanager
def quietly() -> Iterator[None]:
    """A context in which transformers logs errors only."""
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)


def load_student(folder: Path) -> StudentModel:
    """Load a student that ``StudentModel.save`` wrote.

    Raises:
        StudentError: where the folder is missing, broken, or not of a student saved by dsbs.
    """
    if not (folder / CONFIG).exists():
        raise StudentError(f"{folder}: no checkpoint there (config.json is missing).")
    try:
        settings = Fields(read_json_file(folder / CONFIG)).raw(SETTINGS)
    except DataError as error:
        raise StudentError(f"{folder}: not a student saved by dsbs.train ({error}).") from None
    if not isinstance(settings, dict) or settings.get("prefix_on") not in PREFIX_ON:
        raise StudentError(f"{folder}/config.json: not a student saved by dsbs.train.")
    settings = dict(settings)
    check_tokenizer(folder)
    with explaining(f"{folder}: the checkpoint cannot be read"), open_model(str(folder)) as opened:
        student = _build(opened, settings)
    student.settings = settings
    return student


def check_tokenizer(folder: Path) -> None:
    """Check that a saved student has the config of its tokenizer, without which transformers guesses another one.

    Raises:
        StudentError: where it is missing.
    """
    if not (folder / TOKENIZER_CONFIG).exists():
        raise StudentError(f"{folder}: {TOKENIZER_CONFIG} is missing; the checkpoint is incomplete, copy it again.")


def _build(opened: OpenedModel, settings: dict[str, Any]) -> StudentModel:
    """Return the student of a checkpoint, of the kind that its settings and its config say."""
    prefix_on, tokenizer = settings.pop("prefix_on"), opened.tokenizer()
    if settings.get("format") != CLASSIFIER:
        model = opened.network()
        return (Seq2SeqModel if model.config.is_encoder_decoder else DecoderOnlyModel)(model, tokenizer, prefix_on)
    classes = [str(name) for name in settings.get("choices") or ()]
    model = opened.network(AutoModelForSequenceClassification, num_labels=len(classes) or 1)
    if classes:
        return ClassifierModel(model, tokenizer, prefix_on, classes)
    return MultipleChoiceModel(model, tokenizer, prefix_on, int(settings["max_input_tokens"]))


def load_weights(student: StudentModel, folder: Path) -> None:
    """Load the weights of a checkpoint that ``save_training`` wrote into a student.

    Raises:
        StudentError: where they are of another student.
    """
    if not (folder / LORA_WEIGHTS).exists():
        student.model.load_state_dict(load_student(folder).model.state_dict())
        return
    # The rest of the weights is as it was: built from the same place, which decides the run.
    if student.model.load_state_dict(load_file(folder / LORA_WEIGHTS), strict=False).unexpected_keys:
        raise StudentError(f"{folder / LORA_WEIGHTS}: made with other target_modules; delete the run and restart.")
