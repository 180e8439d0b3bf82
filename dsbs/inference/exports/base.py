"""The base of exports: their predictor, their tokenizer, and their ``config.json``."""

import itertools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from dsbs.core.cores import THREADS, count_cores
from dsbs.core.errors import DataError, RunError, StudentError
from dsbs.core.files import write_json
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import Fields, read_json_file
from dsbs.inference.checkpoint import MAX_CONFIG
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.students.answering import DecodingConfig
from dsbs.students.folders import check_patterns, without_panic
from dsbs.students.lost import count_lost
from dsbs.students.prefixes import KINDS, without_prefixes

EXPORT = "export"  # the key of the engine's settings in the config.json of an export


class Exported:
    """A mixin: exports can neither be saved nor measure perplexity."""

    def save(self, folder: Path) -> None:
        """Refuse: an export is made from a checkpoint, and cannot be saved again.

        Raises:
            RunError: always.
        """
        raise RunError("An export cannot be saved again: copy its folder, or export the checkpoint again.")

    def perplexity(self, examples: Sequence[Example]) -> None:
        """Return None: perplexity is measured on checkpoints alone."""


class ExportPredictor(Exported, TorchPredictor):
    """A student in another engine, with the interface of torch students, but without torch.

    Attributes:
        student: the engine's ``ExportWriter``.
    """

    student: Any

    def sample(self, examples: Sequence[Example], reading: DecodingConfig, count: int) -> list[list[str]]:
        drawn: list[list[str]] = self.student.sample(examples, reading, count)
        return drawn

    def _retry(self, read: Callable[[], list[Prediction]]) -> list[Prediction]:
        return read()


@dataclass(frozen=True)
class ExportTokenizer:
    """A student's tokenizer without transformers.

    Attributes:
        tokenizer: of the checkpoint's ``tokenizer.json``.
        end: id of the token that ends a target.
        starts: kind of target -> id of the token before it.
        causal: whether the student is a causal language model, whose prompt ends with the start token.
    """

    tokenizer: Tokenizer
    prefix_on: str
    end: int
    starts: dict[str, int]
    causal: bool

    def check(self, vocabulary: Any, folder: Path) -> list[str]:
        """Return an engine's tokens, in the order of their ids.

        Raises:
            DataError: where it is not a list, or lacks the end or a start token.
        """
        if not isinstance(vocabulary, list) or max(self.end, *self.starts.values()) >= len(vocabulary):
            raise DataError(f"{folder}/config.json: {EXPORT}.vocabulary: expected the tokens that the student has.")
        return [str(token) for token in vocabulary]

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        """Return the token ids of inputs, as ``StudentModel.encode_inputs`` does."""
        texts = without_prefixes(texts)
        if self.prefix_on == "input":
            texts = [f"[{kind}] {text}" for text in texts]
        if not self.causal:
            self.tokenizer.enable_truncation(max_tokens)
            return [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        rows = [(row[:-1] if row[-1:] == [self.end] else row) or [self.end] for row in rows]
        return [[*row[: max_tokens - 1], row[-1]] if len(row) > max_tokens else row for row in rows]

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of targets, without the end token."""
        self.tokenizer.no_truncation()
        return [
            encoding.ids for encoding in self.tokenizer.encode_batch(without_prefixes(texts), add_special_tokens=False)
        ]

    def lost(self, examples: Sequence[Example], max_tokens: int) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        rows = self.encode_inputs([example.input for example in examples], "label", max_tokens + 1)
        return count_lost(rows, max_tokens, unknown_id(self.tokenizer))

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each target, the end token included."""
        return [len(row) + 1 for row in self.encode_targets(list(texts))]

    def decode(self, rows: list[list[int]]) -> list[str]:
        """Return the texts of token ids, without special tokens."""
        return [text.strip() for text in self.tokenizer.decode_batch(rows, skip_special_tokens=True)]


@dataclass
class ExportWriter:
    """Base of the engines' writers; a subclass ranks, generates and samples."""

    engine: Any
    tokenizer: ExportTokenizer

    def lost(self, examples: Sequence[Example], max_tokens: int) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        return self.tokenizer.lost(examples, max_tokens)

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each target, the end token included."""
        return self.tokenizer.lengths(texts)


def unknown_id(tokenizer: Tokenizer) -> int | None:
    """Return the id of a tokenizer's unknown token, or None where it has none."""
    found: int | None = tokenizer.token_to_id(getattr(tokenizer.model, "unk_token", None) or "<unk>")
    return found


def load_export_tokenizer(folder: Path, export: dict[str, Any], prefix_on: str) -> ExportTokenizer:
    """Return the tokenizer of an export, with its start and end tokens.

    Raises:
        DataError: where it is missing or broken.
    """
    fields = Fields(export)
    found = {kind: fields.inside("starts").count(kind) for kind in KINDS}
    starts, end = {kind: id for kind, id in found.items() if id is not None}, fields.count("end")
    if end is None or len(starts) < len(KINDS):
        raise DataError(f"{folder}/config.json: {EXPORT}.starts, {EXPORT}.end: expected numbers of tokens.")
    return ExportTokenizer(open_tokenizer(folder), prefix_on, end, starts, bool(export["causal"]))


def open_tokenizer(folder: Path) -> Tokenizer:
    """Return the tokenizer of an export, without padding and truncation.

    Raises:
        DataError: where it is missing or broken.
    """
    path = folder / "tokenizer.json"
    check_patterns(folder)
    try:
        with without_panic(path):
            tokenizer = Tokenizer.from_file(str(path))
    except StudentError:
        raise
    except Exception as error:  # the library raises nothing more specific
        raise DataError(f"{path}: the tokenizer cannot be read ({str(error).splitlines()[0]}).") from None
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def write_config(folder: Path, remembered: dict[str, Any], format: str, export: dict[str, Any]) -> None:
    """Write the ``config.json`` of an export."""
    write_json(folder / "config.json", {"dsbs": {**remembered, "format": format}, EXPORT: export})


def read_export(folder: Path, keys: tuple[str, ...]) -> dict[str, Any]:
    """Return the engine's settings in the ``config.json`` of an export.

    Raises:
        DataError: where one is missing.
    """
    path = folder / "config.json"
    try:
        export = read_json_file(path, MAX_CONFIG)[EXPORT]
        missing = [key for key in keys if key not in export]
    except (DataError, KeyError, TypeError):
        raise DataError(f"{path}: not an export written by dsbs.export.") from None
    if missing:
        raise DataError(f"{path}: {EXPORT}.{missing[0]} is missing; export the checkpoint again.")
    return dict(export)


def name_tokens(ids: dict[str, int], size: int) -> list[str]:
    """Return a name for every row of the embeddings: that of its token, or a new one for rows without a token.

    Tokens beyond the embeddings are left out.

    >>> name_tokens({"a": 0, "b": 2, "beyond": 4}, 4)
    ['a', '<unused_1>', 'b', '<unused_3>']
    """
    names = {id: token for token, id in ids.items() if id < size}
    numbers = itertools.count()
    for id in range(size):
        if id not in names:
            name = f"<unused_{id}>"
            while name in ids:
                name = f"<unused_{id}_{next(numbers)}>"
            names[id] = name
    return [names[id] for id in range(size)]


def count_threads() -> int:
    """Return the number of threads to use: ``OMP_NUM_THREADS``, or the cores that this process may use."""
    named = os.environ.get(THREADS, "")
    return int(named) if named.isdigit() and int(named) else count_cores()
