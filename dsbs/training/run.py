"""One training run: fit with the student's backend, measure on test, save."""

from typing import Any

from dsbs.core.distributed import is_main
from dsbs.core.files import folder_bytes
from dsbs.core.tracking import Tracker
from dsbs.data.join import RunData
from dsbs.inference.model_card import write_card
from dsbs.training.backends import load_backend
from dsbs.training.disk import writing
from dsbs.training.measuring import measure_extras, measure_test, measure_validation
from dsbs.training.notes import count_test_overlap, describe_losses, describe_missing_labels
from dsbs.training.recipe import Recipe
from dsbs.training.run_folder import Run
from dsbs.training.settings import TrainSettings
from dsbs.training.tracked import track_result


def train_run(
    recipe: Recipe,
    data: RunData,
    run: Run,
    described: dict[str, Any],
    tracker: Tracker,
    settings: TrainSettings,
) -> dict[str, Any]:
    """Train, measure and write the files of a run; ``metrics.json`` comes last.

    Args:
        described: the first fields of ``metrics.json``: task, student, objective, labels, teacher, fraction, seed.

    Returns:
        The content of ``metrics.json``.

    Raises:
        StudentError: the student cannot be built, or its tokenizer cannot write the labels.
        RunError: the training diverges, memory runs out, or a disk is full.
    """
    overlap = count_test_overlap(data)
    fitted = load_backend(recipe.student.backend).fit(recipe, data, run, tracker)
    tested: dict[str, Any] = {}
    if settings.test:
        tested = measure_test(recipe, fitted.predictor, data.test, run, settings.explain)
        tested |= measure_extras(recipe, fitted, data.test, settings.also_measure, tested["test"])
    metrics = {
        **described,
        "metric": recipe.task.metric,
        "train_examples": len(data.train),
        "validation_examples": len(data.choosing),
        **fitted.account,
        # With labels of the teacher this is agreement with them, whatever the metric is called.
        "validation": {**measure_validation(recipe, fitted, data), "against": data.labels},
        **tested,
        "counts": (counts := {**data.counts, **fitted.counts}),
        "overlap": overlap,
        "data": recipe.task.data_counts(),
        "notes": [
            *describe_losses(recipe.task, counts),
            *describe_missing_labels(data),
            *tested.get("notes", ()),
        ],
    }
    if is_main():
        with writing("the student", run.folder):
            fitted.predictor.save(run.checkpoint)
            metrics["size_bytes"] = folder_bytes(run.checkpoint)
            write_card(run.checkpoint, run.manifest_path, metrics)
        track_result(tracker, settings.tracking, run, metrics, run.load_manifest())
        with writing("the metrics", run.folder):
            run.finish(metrics)
    return metrics
