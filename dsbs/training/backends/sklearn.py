"""Linear students, fitted by scikit-learn: features, then a logistic regression for each strength of regularization."""

import copy
import logging
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from dsbs.core.errors import StudentError
from dsbs.core.progress import Meter
from dsbs.core.tracking import Tracker
from dsbs.data.join import RunData
from dsbs.inference.metrics import mean_log_probability, name_score, score, show_score
from dsbs.inference.predictor import PREDICTORS
from dsbs.inference.sklearn_predictor import SklearnPredictor
from dsbs.students.linear import LinearStudent
from dsbs.training.backends.base import Fitted
from dsbs.training.effort import Effort
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Rows:
    """Training rows, one for each target.

    Attributes:
        texts: inputs [N].
        labels: the closed answer that each row teaches [N].
        weights: of the rows in the loss [N].
    """

    texts: list[str]
    labels: list[str]
    weights: list[float]


@dataclass(frozen=True)
class Candidate:
    """The classifier of one regularization strength, measured on validation.

    Attributes:
        C: inverse regularization strength, as in scikit-learn.
        value: the score on validation, by the task's metric.
        fit: mean log-probability of validation's gold answers, in nats; breaks ties of ``value``.
        step: solver iterations so far, those of stronger regularization included.
    """

    predictor: SklearnPredictor
    C: float
    value: float
    fit: float
    step: int
    seconds: float


def fit(recipe: Recipe, data: RunData, run: Run, tracker: Tracker) -> Fitted:
    """Fit features and classifiers, keep the best on validation; see ``dsbs.training.backends.base.Backend``.

    It takes seconds, so an interrupted run starts over. ``steps`` counts the solver's iterations over all strengths,
    ``best_step`` those up to the strength that is kept.
    """
    student = recipe.student
    if not isinstance(student, LinearStudent):
        raise TypeError(f"{type(student).__name__}: backend=sklearn fits a LinearStudent.")
    started = time.monotonic()
    if tracker.others.names:
        logger.warning(
            "tracking.report_to=[%s]: student=%s is not fitted by Hugging Face's Trainer, which reports there.",
            ",".join(tracker.others.names),
            student.name,
        )
    rows = target_rows(recipe, data)
    features = student.build_features(run.cache)
    inputs = fit_features(features, rows.texts)
    predictors = cast("type[SklearnPredictor]", PREDICTORS[student.format])
    remembered = recipe.remember(data.examples())

    def build(classifier: Any) -> SklearnPredictor:
        pipeline = Pipeline([("features", features), ("classifier", classifier)])
        return predictors(pipeline, remembered)

    effort, candidates = Effort(), []
    with Meter("training", len(student.C)) as meter:
        for candidate in try_strengths(student, inputs, rows, build, recipe, data):
            candidates.append(candidate)
            effort.evaluation_seconds += candidate.seconds
            shown = {f"validation/{recipe.task.metric}": candidate.value, "train/C": candidate.C}
            tracker.log(shown, step=candidate.step)
            name, value = name_score(recipe.task.metric, data.labels), show_score(recipe.task.metric, candidate.value)
            meter.update(len(candidates), f"validation {name} {value}")
    best = max(candidates, key=lambda one: (one.value, one.fit))
    logger.info("student.C=%g is best of %s on validation.", best.C, ", ".join(f"{one.C:g}" for one in candidates))
    steps = candidates[-1].step + (len(candidates) < len(student.C))  # the first of the skipped ones took one
    effort.add([(steps * len(data.train), steps * len(rows.labels), steps * len(rows.labels))])  # a label is one token
    if hasattr(inputs, "getnnz"):  # n-grams: counted from the matrix at hand
        lost = {"inputs": len(rows.texts), "inputs_blank": int((inputs.getnnz(axis=1) == 0).sum())}
    else:
        lost = best.predictor.lost([example for example, _ in data.train])
    if hasattr(features, "drop_cache"):
        features.drop_cache()
    account = {
        "steps": steps,
        "best_step": best.step,
        **effort.account(time.monotonic() - started, len(data.train)),
        "history": [{"step": one.step, "validation": one.value} for one in candidates],
        "parameters": best.predictor.parameters,
    }
    return Fitted(best.predictor, best.value, account, lost)


def fit_features(features: Any, texts: list[str]) -> Any:
    """Fit the features in place and return those of the texts [N, F]; a kind that the texts have none of is left out.

    Raises:
        StudentError: where none is left.
    """
    try:
        return features.fit_transform(texts)
    except ValueError as error:  # no n-gram is left
        kinds = [(name, kind) for name, kind in getattr(features, "transformer_list", ()) if _fits(kind, texts)]
        if not kinds:
            raise StudentError(
                f"No word and no group of characters is in enough training inputs ({error}). Try student.min_df=1, or "
                "a student that reads any text, such as student=t5_scratch."
            ) from error
        features.transformer_list = kinds
        logger.info("The training inputs have no features but %s.", " and ".join(name for name, _ in kinds))
        return features.fit_transform(texts)


def _fits(features: Any, texts: list[str]) -> bool:
    try:
        features.fit(texts)
    except ValueError:
        return False
    return True


def target_rows(recipe: Recipe, data: RunData) -> Rows:
    """Return the objective's targets as weighted rows; those of weight 0 are left out.

    Raises:
        StudentError: a target is none of its example's closed answers.
    """
    rows = Rows([], [], [])
    for example, annotation in data.train:
        for target in recipe.targets(example, annotation):
            if target.text not in (example.choices or ()):
                raise StudentError(
                    f"example {example.id}: {target.text!r} is not one of the closed answers of "
                    f"student={recipe.student.name}: {', '.join(example.choices or ())}."
                )
            if target.weight > 0:
                rows.texts.append(example.input)
                rows.labels.append(target.text)
                rows.weights.append(target.weight)
    return rows


def try_strengths(
    student: LinearStudent,
    inputs: Any,
    rows: Rows,
    build: Callable[[Any], SklearnPredictor],
    recipe: Recipe,
    data: RunData,
) -> Iterator[Candidate]:
    """Yield a measured classifier for each regularization strength, the strongest first.

    Each starts from the coefficients of the one before it. Where the solver accepts these without an iteration, weaker
    regularization would change nothing either, and the rest is skipped.

    Args:
        inputs: features of the training rows [N, F].
        data: ``choosing`` is scored.
    """
    steps = 0
    labels, weights = np.array(rows.labels), np.array(rows.weights)
    several = len(set(rows.labels)) > 1
    solver = LogisticRegression(max_iter=student.max_iter, warm_start=True) if several else DummyClassifier()
    for C in sorted(student.C):
        if several:
            solver.set_params(C=C)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            solver.fit(inputs, labels, sample_weight=weights)
        taken = int(max(solver.n_iter_)) if several else 1
        if taken == 0 and steps:
            return
        if taken >= student.max_iter:
            logger.warning("C=%g: not converged after %d iterations; try student.max_iter=%d.", C, taken, 4 * taken)
        steps += taken
        classifier = copy.copy(solver)
        if several:
            classifier.coef_ = solver.coef_.astype(np.float32)  # half the checkpoint, and no answer changes
        predictor, started = build(classifier), time.monotonic()
        predictions = predictor.predict(data.choosing)
        value = score(recipe.task, predictions).value
        assert value is not None  # a run without examples to validate on does not start
        likelihood = mean_log_probability(predictions)
        assert likelihood is not None  # a classifier scores all of its answers
        yield Candidate(predictor, C, value, likelihood, steps, time.monotonic() - started)
        if not several:
            return
