"""The interface of training backends."""

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
    """A trained student and the account of its training.

    Attributes:
        predictor: the student of the best checkpoint on validation.
        validation: its score on ``data.choosing``, by the task's metric.
        account: fields of ``metrics.json``: ``steps``, ``example_visits``, ``epochs``, ``label_tokens``,
            ``target_tokens``, ``seconds`` (over all resumes, evaluation included), ``evaluation_seconds``,
            ``examples_per_second``, ``best_step``, ``parameters``, ``history``.
        counts: losses of tokenization or features, such as truncated inputs.
        free: the same student, generating closed answers instead of ranking them; None: it cannot, or does so already.
        last_step: context in which ``predictor`` has the weights of the last step; yields whether they differ from the
            best ones.
    """

    predictor: Predictor
    validation: float
    account: Mapping[str, Any]
    counts: Mapping[str, int] = field(default_factory=dict)
    free: Predictor | None = None
    last_step: Callable[[], AbstractContextManager[bool]] = lambda: nullcontext(False)


class Backend(Protocol):
    """A module that trains students."""

    def fit(self, recipe: Recipe, data: RunData, run: Run, tracker: Tracker) -> Fitted:
        """Train a student and choose the best one on validation; an interrupted run resumes from ``run.checkpoints``.

        Args:
            data: training examples and those to choose on (``data.choosing``); ``data.test`` must not be read.
            run: the folder, for checkpoints and caches.

        Raises:
            StudentError: the student cannot be built, or its tokenizer cannot write the labels.
            RunError: the training diverges, memory runs out, or a disk is full.
        """
