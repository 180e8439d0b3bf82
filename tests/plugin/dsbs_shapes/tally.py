"""A student that is neither torch's nor scikit-learn's: it counts which answers each word goes with.

One module holds all that such a student needs: what it is, ``fit``, the backend, and the predictor that asks it.
"""

import json
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

from dsbs.core.records import Example, Prediction
from dsbs.core.tracking import Tracker
from dsbs.data.join import RunData
from dsbs.inference.checkpoint import Remembered, Saved
from dsbs.inference.metrics import score
from dsbs.students import Student
from dsbs.students.answering import choose
from dsbs.students.folders import SETTINGS
from dsbs.training.backends import Fitted
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run


@dataclass
class Tally(Student):
    """Counts.

    Attributes:
        prior: what every count begins with.
    """

    backend: ClassVar[str] = "tally"
    format: ClassVar[str] = "tally"
    reads_training: ClassVar[bool] = False

    kind: str = "tally"
    prior: float = 0.1


@dataclass
class TallyPredictor:
    """The counts at work.

    Attributes:
        counts: answer -> word -> how often it went with it.
        prior: what every count begins with.
        remembered: what the checkpoint remembers of the training.
    """

    counts: Mapping[str, Mapping[str, float]]
    prior: float
    remembered: Remembered

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the answer whose words an input has."""
        return [choose(example, self._score(example.input.split())) for example in examples]

    def _score(self, words: list[str]) -> dict[str, float]:
        scores = {}
        for answer, counts in self.counts.items():
            total = sum(counts.values()) + 1
            scores[answer] = math.fsum(math.log((counts.get(word, 0) + self.prior) / total) for word in words)
        norm = math.log(math.fsum(math.exp(score) for score in scores.values()))
        return {answer: score - norm for answer, score in scores.items()}

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions as they are: counts give no reasons."""
        return predictions

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Count the inputs of which no word is known."""
        known = {word for counts in self.counts.values() for word in counts}
        blank = sum(known.isdisjoint(example.input.split()) for example in examples)
        return {"inputs": len(examples), "inputs_blank": blank}

    def perplexity(self, examples: Sequence[Example]) -> None:
        """Return None: counts write no texts."""

    def save(self, folder: Path) -> None:
        """Write the counts, and what every checkpoint has to remember."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "counts.json").write_text(json.dumps({"counts": self.counts, "prior": self.prior}), encoding="utf-8")
        (folder / "config.json").write_text(json.dumps({SETTINGS: asdict(self.remembered)}), encoding="utf-8")

    @classmethod
    def load(cls, saved: Saved) -> "TallyPredictor":
        """Read what ``save`` wrote."""
        stored = json.loads((saved.folder / "counts.json").read_text(encoding="utf-8"))
        return cls(stored["counts"], float(stored["prior"]), saved.remembered)


def fit(recipe: Recipe, data: RunData, run: Run, tracker: Tracker) -> Fitted:
    """Count; see ``dsbs.training.backends.base.Backend``."""
    student = recipe.student
    assert isinstance(student, Tally)
    counts: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for example, annotation in data.train:
        for target in recipe.targets(example, annotation):
            for word in example.input.split():
                counts[target.text][word] += target.weight
    predictor = TallyPredictor(counts, student.prior, recipe.remember(data.examples()))
    validation = score(recipe.task, predictor.predict(data.choosing)).value
    assert validation is not None
    account = {"steps": 1, "best_step": 1, "target_tokens": len(data.train), "seconds": 0.0, "examples_per_second": 0.0}
    return Fitted(predictor, validation, account)
