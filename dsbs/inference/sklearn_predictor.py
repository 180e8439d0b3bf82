"""A student of scikit-learn: a pipeline from texts to probabilities, stored with skops and never with pickle."""

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import numpy as np

from dsbs.core.errors import StudentError
from dsbs.core.files import whole, write_json
from dsbs.core.records import Example, Prediction
from dsbs.inference.checkpoint import Remembered
from dsbs.objectives.base import Objective
from dsbs.students.answering import choose
from dsbs.students.base import SETTINGS
from dsbs.tasks.base import Task

MODEL = "model.skops"
CHUNK = 1024  # examples whose features are in memory at a time
# All that is built from a file beside plain values and arrays; whatever else a file names is refused.
TRUSTED = (
    "sklearn.dummy.DummyClassifier",
    "sklearn.feature_extraction.text.TfidfTransformer",
    "sklearn.feature_extraction.text.TfidfVectorizer",
    "sklearn.linear_model._logistic.LogisticRegression",
    "sklearn.pipeline.FeatureUnion",
    "sklearn.pipeline.Pipeline",
)


@dataclass
class SklearnPredictor:
    """A fitted pipeline.

    Attributes:
        pipeline: its last step has ``classes_`` and ``predict_log_proba``.
        remembered: what the checkpoint remembers of the training.
    """

    pipeline: Any
    remembered: Remembered

    @property
    def parameters(self) -> int:
        """How many numbers were learnt."""
        classifier = self.pipeline[-1]
        return int(classifier.coef_.size + classifier.intercept_.size) if hasattr(classifier, "coef_") else 0

    @classmethod
    def load(
        cls,
        checkpoint: Path,
        remembered: Remembered,
        task: Task,
        objective: Objective,
        batch_size: int,
        decoding: str | None,
    ) -> "SklearnPredictor":
        """Load a pipeline; see ``dsbs.inference.predictor.load_predictor``."""
        if decoding == "generate":
            raise StudentError("decoding=generate: this student writes nothing, it ranks the closed answers.")
        return cls(cls._load_pipeline(checkpoint), remembered)

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the likeliest closed answer of each example."""
        classes = [str(name) for name in self.pipeline.classes_]
        predictions = []
        for start in range(0, len(examples), CHUNK):
            part = examples[start : start + CHUNK]
            for example, row in zip(part, self._score([example.input for example in part]), strict=True):
                predictions.append(choose(example, dict(zip(classes, map(float, row), strict=True))))
        return predictions

    def _score(self, texts: list[str]) -> Any:
        """Return the log-probability of each class [N, classes]."""
        with np.errstate(divide="ignore"):  # of a probability that is 0
            return self.pipeline.predict_log_proba(texts)

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions as they are: this student writes no rationales."""
        return predictions

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Count the inputs in which nothing is known: none of their n-grams occurred often enough in the training."""
        blank = 0
        for start in range(0, len(examples), CHUNK):
            features = self.pipeline[0].transform([example.input for example in examples[start : start + CHUNK]])
            blank += int((features.getnnz(axis=1) == 0).sum())
        return {"inputs": len(examples), "inputs_blank": blank}

    def save(self, folder: Path) -> None:
        """Write the pipeline, and what it remembers."""
        folder.mkdir(parents=True, exist_ok=True)
        self._save_pipeline(folder)
        write_json(folder / "config.json", {SETTINGS: asdict(self.remembered)})

    def _save_pipeline(self, folder: Path) -> None:
        save_model(self.pipeline, folder)

    @classmethod
    def _load_pipeline(cls, folder: Path) -> Any:
        return load_model(folder)


def save_model(model: Any, folder: Path) -> None:
    """Write an estimator of scikit-learn."""
    with whole(folder / MODEL) as partial:
        import_skops().dump(model, partial, compression=zipfile.ZIP_DEFLATED)


def load_model(folder: Path) -> Any:
    """Read what ``save_model`` wrote; only types of ``TRUSTED`` are built.

    Raises:
        StudentError: where it is missing, broken, of another version, or names any other type.
    """
    path = folder / MODEL
    skops = import_skops()
    try:
        strange = set(skops.get_untrusted_types(file=path)) - set(TRUSTED)
        if strange:
            raise StudentError(f"{path}: it names types that no student of ours has: {', '.join(sorted(strange))}.")
        return skops.load(path, trusted=list(TRUSTED))
    except FileNotFoundError:
        raise StudentError(f"{path}: there is no such file; the checkpoint is incomplete.") from None
    except StudentError:
        raise
    except Exception as error:  # skops reads other people's files, and every fault of theirs is another exception
        raise StudentError(f"{path}: cannot be read ({type(error).__name__}: {error}).") from error


def import_skops() -> ModuleType:
    """Import ``skops.io`` without what it would trust by itself.

    It imports all of scikit-learn (and with that torch, for seconds) to trust each of its estimators; ours are few.
    """
    with patch("sklearn.utils.all_estimators", list):
        import skops.io

        return skops.io
