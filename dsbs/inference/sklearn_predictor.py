"""Predictor of scikit-learn students: a pipeline from texts to probabilities, saved with skops, never with pickle."""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar
from unittest.mock import patch

import numpy as np

from dsbs.core.errors import StudentError
from dsbs.core.files import atomic_path, write_json
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import excerpt
from dsbs.inference.checkpoint import Remembered, Saved
from dsbs.students.answering import choose
from dsbs.students.folders import SETTINGS

MODEL = "model.skops"
# Settings of its parts that decide what a file is, a word, and what is run; of ours they have these values.
KNOWN: dict[str, tuple[Any, ...]] = {
    "input": ("content",),
    "analyzer": ("word", "char_wb"),
    "token_pattern": (r"(?u)\b\w+\b", r"(?u)\b\w\w+\b"),
    "preprocessor": (None,),
    "tokenizer": (None,),
    "memory": (None,),
    "n_jobs": (None, 1),
}
MAX_NGRAM = 100
# Bytes that an archive may unpack to, and how many times its own size more.
MAX_UNPACKED = 2**30
MAX_PACKED = 20
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
        truncates: whether long inputs are not read to their end; ``lost`` takes about as long as an answer.
        pipeline: its last step has ``classes_`` and ``predict_log_proba``.
    """

    truncates: ClassVar[bool] = False

    pipeline: Any
    remembered: Remembered

    @property
    def parameters(self) -> int:
        """The number of learned parameters."""
        classifier = self.pipeline[-1]
        return int(classifier.coef_.size + classifier.intercept_.size) if hasattr(classifier, "coef_") else 0

    @classmethod
    def load(cls, saved: Saved) -> "SklearnPredictor":
        """Load a pipeline; see ``dsbs.inference.predictor.load_predictor``."""
        saved.check_ranks()
        predictor = cls(cls._load_pipeline(saved.folder), saved.remembered)
        predictor.check(saved.folder)
        return predictor

    def check(self, checkpoint: Path) -> None:
        """Check that an untrusted pipeline gives each of its classes a log-probability.

        Raises:
            StudentError: where it does not.
        """
        try:
            scores = np.asarray(self._score(["a"]))
            sound = scores.shape == (1, len(self.pipeline.classes_)) and scores.dtype.kind == "f"
        except Exception as error:  # of any kind: its parts were fitted by somebody else
            raise StudentError(f"{checkpoint}: the student cannot answer ({excerpt(str(error), 200)}).") from error
        if not sound or np.isnan(scores).any():
            raise StudentError(f"{checkpoint}: the student gives its classes no log-probabilities.")

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the most probable closed answer of each example, with the scores of all."""
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
        """Return the predictions unchanged: this student writes no rationales."""
        return predictions

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return the number of inputs, and of those without any known n-gram (``inputs_blank``)."""
        blank = 0
        for start in range(0, len(examples), CHUNK):
            features = self.pipeline[0].transform([example.input for example in examples[start : start + CHUNK]])
            blank += int((features.getnnz(axis=1) == 0).sum())
        return {"inputs": len(examples), "inputs_blank": blank}

    def perplexity(self, examples: Sequence[Example]) -> None:
        """Return None: this student does not generate text."""

    def save(self, folder: Path) -> None:
        """Write the pipeline and the settings to a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self._save_pipeline(folder)
        write_json(folder / "config.json", {SETTINGS: asdict(self.remembered)})

    def _save_pipeline(self, folder: Path) -> None:
        save_model(self.pipeline, folder)

    @classmethod
    def _load_pipeline(cls, folder: Path) -> Any:
        return load_model(folder)


def save_model(model: Any, folder: Path) -> None:
    """Write an estimator of scikit-learn to a folder, with skops."""
    with atomic_path(folder / MODEL) as partial:
        import_skops().dump(model, partial, compression=zipfile.ZIP_DEFLATED)


def load_model(folder: Path) -> Any:
    """Load an estimator that ``save_model`` wrote; only types of ``TRUSTED`` are built.

    Raises:
        StudentError: where it is missing or broken, or has other types or settings.
    """
    path = folder / MODEL
    skops = import_skops()
    try:
        _check_archive(path)
        strange = set(skops.get_untrusted_types(file=path)) - set(TRUSTED)
        if strange:
            raise StudentError(f"{path}: it contains types that no dsbs student has: {', '.join(sorted(strange))}.")
        model = skops.load(path, trusted=list(TRUSTED))
        if faults := list(_model_faults(model)):
            raise StudentError(f"{path}: no dsbs student has {', '.join(faults)}.")
        return model
    except FileNotFoundError:
        raise StudentError(f"{path}: there is no such file; the checkpoint is incomplete.") from None
    except StudentError:
        raise
    except Exception as error:  # skops reads other people's files, and every fault of theirs is another exception
        raise StudentError(f"{path}: cannot be read ({type(error).__name__}: {error}).") from error


def _check_archive(path: Path) -> None:
    """Refuse an archive that unpacks to far more than it is, and what is no file."""
    if path.exists() and not path.is_file():
        raise StudentError(f"{path}: expected a regular file.")
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(part.file_size for part in archive.infolist())
    if unpacked > MAX_UNPACKED + MAX_PACKED * path.stat().st_size:
        raise StudentError(f"{path}: it unpacks to {unpacked:,} bytes, more than such a student may have.")


def _model_faults(model: Any, depth: int = 0) -> Iterator[str]:
    """Yield the settings that no trained student has, since they would open files or take very long."""
    if depth > 4:
        yield "parts so deep"
        return
    parts = [*(getattr(model, "steps", None) or ()), *(getattr(model, "transformer_list", None) or ())]
    for part in parts:
        yield from _model_faults(part[-1], depth + 1)
    settings = model.get_params(deep=False) if hasattr(model, "get_params") else {}
    for name, known in KNOWN.items():
        if name in settings and settings[name] not in known:
            yield f"{name}={excerpt(settings[name], 60)!r}"
    longest = settings.get("ngram_range", (1, 1))
    if not isinstance(longest, tuple) or not all(isinstance(n, int) and 1 <= n <= MAX_NGRAM for n in longest):
        yield f"ngram_range={excerpt(longest, 60)}"


def import_skops() -> ModuleType:
    """Return ``skops.io``, imported without its list of trusted estimators.

    For that it would import all of scikit-learn, and with it torch, which takes seconds.
    """
    with patch("sklearn.utils.all_estimators", list):
        import skops.io

        return skops.io
