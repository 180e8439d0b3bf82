"""Predictor of frozen embeddings: a torch encoder and a scikit-learn classifier."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.records import Example
from dsbs.inference.sklearn_predictor import SklearnPredictor, load_model, save_model

ENCODER = "encoder"  # the folder in a checkpoint


@dataclass
class EmbeddingPredictor(SklearnPredictor):
    """A pipeline of a ``SentenceEncoder`` and a classifier, saved separately in one checkpoint."""

    truncates: ClassVar[bool] = True

    @property
    def parameters(self) -> int:
        """The number of parameters of encoder and classifier."""
        return int(self.pipeline[0].parameters) + super().parameters

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        counts: dict[str, int] = self.pipeline[0].lost([example.input for example in examples])
        return counts

    def _save_pipeline(self, folder: Path) -> None:
        self.pipeline[0].save(folder / ENCODER)
        save_model(self.pipeline[-1], folder)

    @classmethod
    def _load_pipeline(cls, folder: Path) -> Any:
        from sklearn.pipeline import Pipeline

        from dsbs.students.sentence_encoder import SentenceEncoder

        classifier = load_model(folder)
        return Pipeline([("features", SentenceEncoder.load(folder / ENCODER)), ("classifier", classifier)])
