"""A trained student at work, whatever it is: it answers examples. A new kind is a class and a line in this registry."""

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
    """What evaluation, prediction, and validation during the training ask for answers."""

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the answers to examples, in their order; no answer depends on its neighbours."""

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions with rationales, from a student that writes them (``objective.needs_rationales``)."""

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Count what the student does not read of inputs; see ``dsbs.students.lost``."""

    def perplexity(self, examples: Sequence[Example]) -> Perplexity | None:
        """Return the perplexity of gold answers that are whole texts; None where they are none, or it is unknown."""

    def save(self, folder: Path) -> None:
        """Write a checkpoint that ``load_predictor`` reads."""


class Loadable(Protocol):
    """A class of predictors, as the registry names it."""

    def load(self, saved: Saved) -> Predictor:
        """Load what ``save`` wrote; see ``load_predictor``."""


# What `format` says in a checkpoint's config.json -> module and class, imported when such a checkpoint is loaded.
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
    """Load a trained student, onto the GPU where there is one and the student can use it.

    Raises:
        DataError: for a format that this version does not know.
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
    """Return ``perplexity`` and ``perplexity_tokens`` where the student can tell them, else nothing."""
    found = predictor.perplexity(examples)
    return found.figures() if found else {}


def stream(
    predictor: Predictor,
    examples: Iterable[Example],
    batch_size: int,
    rationales: bool = False,
    lost: Counter[str] | None = None,
) -> Iterator[tuple[Example, Prediction]]:
    """Answer a stream of examples batch by batch, with rationales if they are wanted; no more than a batch is held.

    What the student does not read of them is added to ``lost``.
    """
    iterator = iter(examples)
    while batch := list(islice(iterator, batch_size)):
        predictions = predictor.predict(batch)
        if lost is not None:
            lost.update(predictor.lost(batch))
        yield from zip(batch, predictor.explain(batch, predictions) if rationales else predictions, strict=True)
