"""ONNX, run by onnxruntime: encoders with a head, and frozen encoders with a logistic regression.

TF-IDF students are not converted: skl2onnx has no n-grams of characters within words (``analyzer="char_wb"``), and they
answer in well under a millisecond as they are.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from scipy.special import log_softmax
from tokenizers import Tokenizer

from dsbs.core.errors import DataError, StudentError
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import Fields, excerpt, open_regular
from dsbs.inference.checkpoint import Saved, load_remembered
from dsbs.inference.embedding_predictor import ENCODER, EmbeddingPredictor
from dsbs.inference.exports.base import (
    EXPORT,
    Exported,
    count_threads,
    open_tokenizer,
    read_export,
    unknown_id,
    write_config,
)
from dsbs.students.answering import choose
from dsbs.students.lost import count_lost
from dsbs.tasks.answers import without_choices

QUANTIZATIONS = ("float32", "int8")
DEFAULT = "float32"
DECODING = None
FILE = "student.onnx"
MAX_ID = 2**31 - 1


def convert(checkpoint: Path, folder: Path, quantization: str) -> dict[str, Any]:
    """Convert a checkpoint to an ONNX graph from token ids to logits.

    Returns:
        the engine's settings, as in its ``config.json``.

    Raises:
        StudentError: for other students.
    """
    remembered = load_remembered(checkpoint)
    kind, path = remembered.get("format"), folder / FILE
    if kind not in ("classifier", "embedding"):
        raise StudentError(
            "format=onnx is for students of an encoder (student=encoder, student=embedding). For those that write, "
            "format=ctranslate2 or gguf; TF-IDF is served as it is (format=skops), since skl2onnx does not convert "
            "n-grams of characters within words."
        )
    source = checkpoint / ENCODER if kind == "embedding" else checkpoint
    if not (source / "tokenizer.json").is_file():
        raise StudentError(f"format=onnx: {source} has no tokenizer.json, which the export reads texts with.")
    write = write_regression if kind == "embedding" else write_head
    export = {"max_input_tokens": remembered["max_input_tokens"]} | write(checkpoint, path)
    if quantization == "int8":
        quantize(path)
    shutil.copy(source / "tokenizer.json", folder / "tokenizer.json")
    export |= {"quantization": quantization}
    write_config(folder, remembered, "onnx", export)
    return export


def write_head(checkpoint: Path, path: Path) -> dict[str, Any]:
    """Write the graph of an encoder with a head; return its classes, padding and architecture."""
    from dsbs.students import onnx_graph
    from dsbs.students.loading import load_student

    student: Any = load_student(checkpoint)
    onnx_graph.write_head(student, path)
    return {"classes": list(student.classes), "padding": student.pad_id, "architecture": student.config.model_type}


def write_regression(checkpoint: Path, path: Path) -> dict[str, Any]:
    """Write the graph of a frozen encoder and its classifier; return classes, padding, length and architecture.

    Raises:
        StudentError: where training had a single answer, so that there is no classifier.
    """
    from dsbs.students import onnx_graph

    encoder, classifier = (step for _, step in EmbeddingPredictor._load_pipeline(checkpoint).steps)
    if not hasattr(classifier, "coef_"):
        raise StudentError("format=onnx: this student learned a single answer; there is nothing to convert.")
    onnx_graph.write_regression(encoder, classifier, path)
    return {
        "classes": [str(name) for name in classifier.classes_],
        "padding": int(encoder.tokenizer.pad_token_id),
        "max_input_tokens": encoder.max_input_tokens,
        "architecture": encoder.network.config.model_type,
    }


def quantize(path: Path) -> None:
    """Quantize a graph's weights to int8, in place (dynamic quantization, per channel)."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    exact = path.with_suffix(".float32.onnx")
    path.replace(exact)
    quantize_dynamic(exact, path, weight_type=QuantType.QInt8, per_channel=True)
    for part in exact.parent.glob(f"{exact.name}*"):
        part.unlink()


@dataclass
class OnnxPredictor(Exported):
    """A student of an encoder in onnxruntime.

    Attributes:
        classes: the closed answers, in the order of the outputs; empty: an input is scored with each of its choices.
        padding: id of the padding token.
    """

    session: Any
    tokenizer: Tokenizer
    classes: list[str]
    padding: int
    batch_size: int
    max_input_tokens: int

    @classmethod
    def load(cls, saved: Saved) -> "OnnxPredictor":
        """Load an export; see ``dsbs.inference.predictor.load_predictor``.

        Raises:
            DataError: where files are missing or broken.
            StudentError: with ``decoding=generate``, and where it cannot answer.
        """
        saved.check_ranks()
        classes, padding, max_tokens = read_settings(saved.folder)
        tokenizer = open_tokenizer(saved.folder)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = count_threads(), 1
        options.log_severity_level = 3
        providers = [one for one in ("CUDAExecutionProvider", "CPUExecutionProvider")
                     if one in onnxruntime.get_available_providers()]  # fmt: skip
        open_regular(saved.folder / FILE).close()
        try:
            session = onnxruntime.InferenceSession(saved.folder / FILE, options, providers)
        except Exception as error:  # the library raises its own kinds, which have no common base
            reason = str(error).splitlines()[0]
            raise DataError(f"{saved.folder / FILE}: onnxruntime cannot read it ({reason}).") from None
        predictor = cls(session, tokenizer, classes, padding, saved.batch_size, max_tokens)
        predictor.check(saved.folder)
        return predictor

    def check(self, folder: Path) -> None:
        """Check that it answers two inputs; the classes, tokens and graph of an untrusted export may not fit together.

        Raises:
            StudentError: where it cannot.
        """
        choices = None if self.classes else ("a", "b")
        try:
            self.predict([Example("1", "a", choices=choices), Example("2", "a b c d", choices=choices)])
        except Exception as error:  # of any kind: onnxruntime's have no common base
            message = excerpt(str(error) or type(error).__name__, 200)
            raise StudentError(f"{folder}: the student cannot answer ({message}).") from error

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the most probable closed answer of each example, with the scores of all.

        Raises:
            DataError: where an example lacks the choices that the student needs.
        """
        if self.classes:
            logits = self._logits([example.input for example in examples])
            scores = [dict(zip(self.classes, row.tolist(), strict=True)) for row in log_softmax(logits, axis=-1)]
            return [choose(example, of) for example, of in zip(examples, scores, strict=True)]
        choices = [list(dict.fromkeys(example.choices or ())) for example in examples]
        for example, of in zip(examples, choices, strict=True):
            if not of:
                raise DataError(f"example {example.id}: this student chooses among the choices of each example.")
        pairs = [
            (without_choices(example.input, example.choices or ()), choice)
            for example, of in zip(examples, choices, strict=True)
            for choice in of
        ]
        flat, predictions, start = self._logits(pairs)[:, 0], [], 0
        for example, of in zip(examples, choices, strict=True):
            row = log_softmax(flat[start : start + len(of)])
            start += len(of)
            predictions.append(choose(example, dict(zip(of, row.tolist(), strict=True))))
        return predictions

    def _logits(self, texts: Sequence[Any]) -> np.ndarray:
        """Return the logits of texts, or of pairs, [N, classes]; batches are of about equal length."""
        rows = self._encode(texts)
        order = sorted(range(len(rows)), key=lambda position: -len(rows[position]))
        found: dict[int, np.ndarray] = {}
        for start in range(0, len(order), self.batch_size):
            positions = order[start : start + self.batch_size]
            width = len(rows[positions[0]])
            ids = np.full((len(positions), width), self.padding, dtype=np.int64)
            mask = np.zeros((len(positions), width), dtype=np.int64)
            for row, position in enumerate(positions):
                ids[row, : len(rows[position])], mask[row, : len(rows[position])] = rows[position], 1
            [logits] = self.session.run(None, {"input_ids": ids, "attention_mask": mask})
            found.update(zip(positions, logits.astype(np.float64), strict=True))
        return np.stack([found[position] for position in range(len(rows))])

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions unchanged: this student writes no rationales."""
        return predictions

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        texts: list[Any] = [example.input for example in examples]
        if not self.classes:
            longest = [max(example.choices or (), key=len, default="") for example in examples]
            inputs = [without_choices(example.input, example.choices or ()) for example in examples]
            texts = list(zip(inputs, longest, strict=True))
        self.tokenizer.no_truncation()
        rows = [encoding.ids for encoding in self.tokenizer.encode_batch(texts)]
        return count_lost(rows, self.max_input_tokens, unknown_id(self.tokenizer))

    def _encode(self, texts: Sequence[Any], *, both: bool = False) -> list[list[int]]:
        """Return the token ids of texts, or of pairs; where a choice leaves the input no room, both are cut."""
        how = "longest_first" if self.classes or both else "only_first"
        self.tokenizer.enable_truncation(self.max_input_tokens, strategy=how)
        try:
            return [encoding.ids for encoding in self.tokenizer.encode_batch(list(texts))]
        except Exception:  # the library raises nothing more specific
            if how == "longest_first":
                raise
        return [row for text in texts for row in self._encode([text], both=len(texts) == 1)]


def read_settings(folder: Path) -> tuple[list[str], int, int]:
    """Return the closed answers, the id of the padding token and the maximum tokens of an input of an export.

    Raises:
        DataError: where they are missing or invalid.
    """
    export = read_export(folder, ("quantization", "classes", "padding", "max_input_tokens"))
    classes, fields = export["classes"], Fields(export)
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise DataError(f"{folder}/config.json: {EXPORT}.classes: expected a list of texts.")
    padding, max_tokens = fields.count("padding", limit=MAX_ID), fields.count("max_input_tokens", limit=MAX_ID)
    if padding is None or not max_tokens:
        raise DataError(f"{folder}/config.json: {EXPORT}.padding, {EXPORT}.max_input_tokens: expected whole numbers.")
    return classes, padding, max_tokens


_USAGE = """\
```python
import numpy as np
import onnxruntime
from tokenizers import Tokenizer

folder = "."  # where this file lies
tokenizer = Tokenizer.from_file(f"{{folder}}/tokenizer.json")
session = onnxruntime.InferenceSession(f"{{folder}}/student.onnx")
ids = np.array([tokenizer.encode({text}).ids])
[logits] = session.run(None, {{"input_ids": ids, "attention_mask": np.ones_like(ids)}})
{answer}
```
"""


def usage(checkpoint: Path, export: dict[str, Any]) -> str:
    """Return Markdown that shows how to use the export without dsbs, for its card."""
    if export["classes"]:
        return _USAGE.format(text='"Your text"', answer=f"print({export['classes']!r}[logits.argmax()])")
    return _USAGE.format(text='"Your text", "a choice"', answer="print(logits[0, 0])  # the choice with the most wins")
