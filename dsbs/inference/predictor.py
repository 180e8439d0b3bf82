"""The interface of trained students: they answer examples. A new kind is a class and a line in this registry."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from dsbs.core.errors import DataError
from dsbs.core.records import Example, Prediction
from dsbs.core.registry import Registry
from dsbs.inference.checkpoint import Saved
from dsbs.inference.perplexity import Perplexity


class Predictor(Protocol):
    """A trained student, for evaluation, prediction, and validation during training."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the answers to examples, in their order; none depends on the other examples."""

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions with rationales, if the student writes any; else unchanged."""

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""

    def perplexity(self, examples: Sequence[Example]) -> Perplexity | None:
        """Return the perplexity of gold answers that are whole texts; None for other answers, and where unsupported."""

    def save(self, folder: Path) -> None:
        """Write a checkpoint that ``load_predictor`` reads."""


class Loadable(Protocol):
    """A class of predictors, as the registry names it."""

    def load(self, saved: Saved) -> Predictor:
        """Load a predictor; see ``load_predictor``."""


# `format` in a checkpoint's config.json -> module and class, imported when such a checkpoint is loaded.
PREDICTORS: Registry[Loadable] = Registry(
    "dsbs.predictors",
    {
        "transformers": "dsbs.inference.torch_predictor:TorchPredictor",
        "classifier": "dsbs.inference.torch_predictor:TorchPredictor",
        "ctranslate2": "dsbs.inference.exports.ctranslate2:CTranslate2Predictor",
        "gguf": "dsbs.inference.exports.gguf:GgufPredictor",
        "onnx": "dsbs.inference.exports.onnx:OnnxPredictor",
        "sklearn": "dsbs.inference.sklearn_predictor:SklearnPredictor",
        "embedding": "dsbs.inference.embedding_predictor:EmbeddingPredictor",
    },
)


def load_predictor(saved: Saved) -> Predictor:
    """Load a trained student, onto the GPU if there is one and it is supported.

    Raises:
        DataError: for an unknown format.
        StudentError: where the checkpoint is broken.
    """
    format = saved.remembered.format
    if format not in PREDICTORS:
        raise DataError(
            f"{saved.folder}/config.json: format={format}: this version of dsbs reads {', '.join(PREDICTORS)}; another "
            "one, or a plugin that is not installed here, has written it."
        )
    return PREDICTORS[format].load(saved)


def perplexity_of(predictor: Predictor, examples: Sequence[Example]) -> dict[str, float | int | None]:
    """Return ``perplexity`` and ``perplexity_tokens`` by name, or an empty dictionary; see ``Predictor.perplexity``."""
    found = predictor.perplexity(examples)
    return found.figures() if found else {}


def stream(
    predictor: Predictor,
    examples: Iterable[Example],
    batch_size: int,
    rationales: bool = False,
    lost: Counter[str] | None = None,
) -> Iterator[tuple[Example, Prediction]]:
    """Yield each example of a stream with its answer; one batch is in memory at a time.

    Args:
        lost: updated with the counts of ``Predictor.lost``; or None.
    """
    iterator = iter(examples)
    while batch := list(islice(iterator, batch_size)):
        predictions = predictor.predict(batch)
        if lost is not None:
            lost.update(predictor.lost(batch))
        yield from zip(batch, predictor.explain(batch, predictions) if rationales else predictions, strict=True)
