"""Scores of a trained student on the test split and on all of validation."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from dsbs.core.distributed import is_main
from dsbs.core.records import Example, Prediction
from dsbs.data.join import RunData
from dsbs.data.subsets import sample_ids
from dsbs.inference.checkpoint import Remembered, Saved, load_remembered
from dsbs.inference.metrics import score
from dsbs.inference.model_card import write_card
from dsbs.inference.predictions import write_predictions
from dsbs.inference.predictor import Predictor, load_predictor, perplexity_of
from dsbs.students.answering import BEST_ONLY
from dsbs.training.backends import Fitted
from dsbs.training.disk import writing
from dsbs.training.notes import describe_answers
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run
from dsbs.training.settings import GENERATED, LAST_STEP, MEASURES, TrainSettings

FREE = MEASURES[GENERATED]


def measure_test(
    recipe: Recipe, predictor: Predictor, test: Sequence[Example], run: Run, explain: int
) -> dict[str, Any]:
    """Measure on the test split and write ``predictions.parquet``; return fields of ``metrics.json``.

    Args:
        test: examples with gold labels; may be empty.
        explain: number of examples, the same in all runs, whose rationales are saved as well.
    """
    started = time.monotonic()
    predictions = predictor.predict(test) if test else []
    seconds = time.monotonic() - started
    if recipe.objective.needs_rationales:
        predictions = explain_some(predictor, test, predictions, explain)
    if is_main():
        with writing("the predictions", run.folder):
            write_predictions(run.folder / "predictions.parquet", predictions, recipe.task, test)
    speed = {"milliseconds_per_example": round(1000 * seconds / len(test), 3)} if test else {}
    found = score(recipe.task, predictions)
    return {"test": found.figures() | perplexity_of(predictor, test), **speed, "notes": describe_answers(found)}


def measure_validation(recipe: Recipe, fitted: Fitted, data: RunData) -> dict[str, Any]:
    """Return the figures on all of validation, with those on the examples that the checkpoint was chosen on."""
    metric = recipe.task.metric
    chosen_on = {metric: fitted.validation, "examples": len(data.choosing)}
    if len(data.choosing) == len(data.validation):
        return chosen_on
    return score(recipe.task, fitted.predictor.predict(data.validation)).figures() | {"chosen_on": chosen_on}


def explain_some(
    predictor: Predictor, examples: Sequence[Example], predictions: Sequence[Prediction], count: int
) -> list[Prediction]:
    """Return the predictions, ``count`` of them with the student's rationale, which takes long to generate."""
    chosen = sample_ids((example.id for example in examples), count, 0, "explain")
    positions = [
        position
        for position, (example, prediction) in enumerate(zip(examples, predictions, strict=True))
        if example.id in chosen and prediction.rationale is None
    ]
    explained = list(predictions)
    if positions:
        found = predictor.explain(
            [examples[position] for position in positions], [predictions[position] for position in positions]
        )
        for position, prediction in zip(positions, found, strict=True):
            explained[position] = replace(predictions[position], rationale=prediction.rationale)
    return explained


def measure_extras(
    recipe: Recipe, fitted: Fitted, test: Sequence[Example], wanted: Iterable[str], tested: Mapping[str, Any]
) -> dict[str, Any]:
    """Return additional test scores: of the last step's weights, and of generated answers.

    Args:
        wanted: keys of ``MEASURES``.
        tested: figures of the best checkpoint; reused where the last step is the best, or answers are generated anyway.
    """
    found: dict[str, Any] = {}
    if LAST_STEP in wanted and test:
        with fitted.last_step() as differs:
            found[MEASURES[LAST_STEP]] = _score(recipe, fitted.predictor, test) if differs else dict(tested)
    if GENERATED in wanted and test:
        found[FREE] = _score(recipe, fitted.free, test) if fitted.free else dict(tested)
    return found


def lacks_measures(metrics: Mapping[str, Any], settings: TrainSettings) -> bool:
    """Return whether a finished run lacks wanted test scores; that of the last step cannot be added later."""
    return settings.test and ("test" not in metrics or (GENERATED in settings.also_measure and FREE not in metrics))


def measure_finished(
    recipe: Recipe, data: RunData, run: Run, metrics: Mapping[str, Any], settings: TrainSettings
) -> dict[str, Any]:
    """Add missing test scores to a finished run and rewrite its metrics, which are returned.

    Raises:
        StudentError: the checkpoint is broken.
    """
    remembered = Remembered(**load_remembered(run.checkpoint))
    batch_size = recipe.training.per_device_eval_batch_size
    saved = Saved(run.checkpoint, remembered, recipe.task, recipe.objective, batch_size, negligible=BEST_ONLY)
    found = dict(metrics)
    if "test" not in found:
        found |= measure_test(recipe, load_predictor(saved), data.test, run, settings.explain)
        found["notes"] = [*metrics.get("notes", ()), *found["notes"]]
    if GENERATED in settings.also_measure and data.test:
        free = replace(saved, decoding="generate")
        writes = recipe.student.writes
        found[FREE] = _score(recipe, load_predictor(free), data.test) if writes else dict(found["test"])
    if is_main():
        with writing("the metrics", run.folder):
            write_card(run.checkpoint, run.manifest_path, found)
            run.finish(found)
    return found


def _score(recipe: Recipe, predictor: Predictor, test: Sequence[Example]) -> dict[str, Any]:
    return score(recipe.task, predictor.predict(test)).figures()
