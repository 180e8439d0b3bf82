"""What a backend is given, and what it returns."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Protocol

from dsbs.core.tracking import Tracker
from dsbs.data.join import RunData
from dsbs.inference.predictor import Predictor
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run


@dataclass(frozen=True)
class Fitted:
    """A trained student and what the training took.

    Attributes:
        predictor: the student that was best on validation.
        validation: its score on the examples that it was chosen on, by the task's metric.
        account: fields of ``metrics.json``: ``steps``, ``example_visits``, ``epochs``, ``label_tokens``,
            ``target_tokens``, ``seconds`` (over all resumes, evaluation included), ``evaluation_seconds``,
            ``examples_per_second``, ``best_step``, ``parameters``, ``history``.
        counts: what else was counted, such as inputs that had to be cut.
        free: the same student, writing closed answers freely instead of ranking them; None: it has no other way.
        last_step: within it, the predictor is the student of the last step; it yields whether that is another one.
    """

    predictor: Predictor
    validation: float
    account: Mapping[str, Any]
    counts: Mapping[str, int] = field(default_factory=dict)
    free: Predictor | None = None
    last_step: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(False)


class Backend(Protocol):
    """A module that fits students."""

    def fit(self, recipe: Recipe, data: RunData, run: Run, tracker: Tracker) -> Fitted:
        """Train a student, choose the best one on validation. An interrupted run resumes from ``run.checkpoints``.

        Args:
            recipe: what is trained, and how.
            data: what it learns from, and is chosen on (``data.choosing``); ``data.test`` is not for here.
            run: the folder, for checkpoints and caches.
            tracker: where metrics are logged.

        Raises:
            StudentError: where the student cannot be built, or cannot write the labels.
            RunError: where the training diverges, memory runs out, or a disk is full.
        """
