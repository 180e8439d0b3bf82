"""Plan a run from its settings (examples, annotations, folder), checked before any model is loaded; and execute it."""

import logging
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs.core.distributed import is_main, main_first
from dsbs.core.errors import ConfigError, DsbsError
from dsbs.core.terminal import log_once
from dsbs.core.tracking import Tracker
from dsbs.data.join import Annotations, Join, RunData, check_gold, fingerprint_examples, load_run_data
from dsbs.data.subsets import parse_fraction, select
from dsbs.tasks.tables.naming import describe_shared_folder
from dsbs.training.annotated import (
    NotAnnotated,
    build_filter,
    describe_annotations,
    find_annotations,
    stored_tokens,
)
from dsbs.training.compatibility import check_answers
from dsbs.training.measuring import lacks_measures, measure_finished
from dsbs.training.recipe import Recipe
from dsbs.training.run import train_run
from dsbs.training.run_folder import Run, name_run
from dsbs.training.settings import EQUAL, TrainSettings
from dsbs.training.stopped import describe_stop
from dsbs.training.tracked import open_run, track_result

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Plan:
    """A run that is ready to start.

    Attributes:
        recipe: what the backend reads of them.
        described: first fields of ``metrics.json``; see ``describe``.
        rationales: folder of the annotations; None: the run reads none.
    """

    settings: TrainSettings
    recipe: Recipe
    data: RunData
    run: Run
    described: dict[str, Any]
    rationales: Path | None

    def finished_metrics(self) -> dict[str, Any] | None:
        """Return the run's metrics, or None where it is not finished, or lacks test scores that the settings want."""
        metrics = self.run.finished_metrics()
        return None if metrics is None or lacks_measures(metrics, self.settings) else metrics


def prepare_run(settings: TrainSettings, typed: Sequence[str] = ()) -> Plan:
    """Plan a run; where annotations are missing and the teacher costs nothing, extract them first.

    Arguments and errors: see ``plan_run``.
    """
    try:
        return plan_run(settings, typed)
    except NotAnnotated as missing:
        if missing.job is None:
            raise
        from dsbs.extraction.engine import run_extraction  # takes its time

        run_extraction(missing.job)
    return plan_run(settings, typed)  # fails if the extraction was stopped before its end


def plan_run(settings: TrainSettings, typed: Sequence[str] = ()) -> Plan:
    """Plan a run: read the data, find the annotations, name the folder. No teacher is asked, nothing is written.

    Raises:
        DsbsError: data or annotations are missing or broken.
    """
    fraction = parse_fraction(settings.data_fraction)
    task = settings.task
    if settings.labels == "gold":
        check_gold(task)
    selection = select(task, fraction, settings.seed, settings.split_seed)
    rationales: Path | None = None
    annotations: dict[str, Annotations] = {}
    if settings.needs_annotations:
        rationales, annotations = find_annotations(settings, selection, typed)
    join = Join(
        task,
        selection,
        annotations,
        settings.labels,
        drop=settings.without_annotation == "drop",
        needs_rationales=settings.objective.needs_rationales,
        reads=settings.reads,
        filter=build_filter(settings),
    )
    data = load_run_data(join)
    data.limit_validation(settings.validation.limit, settings.split_seed)
    check_choices(settings, data)
    check_answers(settings.student, task, data.examples())
    recipe = Recipe(
        task,
        settings.objective,
        settings.student,
        settings.training,
        settings.seed,
        decoding=settings.decoding,
        prompt=settings.prompt,
        control=settings.control,
        labels_weight=settings.labels_weight,
        stored=stored_tokens(settings, rationales, data, typed),
    )
    identity = run_identity(settings, data, fraction)
    if recipe.stored is not None:
        identity["stored"] = recipe.stored.identity()
    run = name_run(settings.output_dir, identity)
    if shared := describe_shared_folder(settings.output_dir, task):
        log_once(shared)
    return Plan(settings, recipe, data, run, describe(settings, fraction), rationales)


def describe(settings: TrainSettings, fraction: float) -> dict[str, Any]:
    """Return the first fields of ``metrics.json``, which tell runs apart."""
    return {
        "task": settings.task.name,
        "student": settings.student.name,
        "objective": settings.objective.name,
        "control": settings.control.title,
        "labels": settings.labels,
        "teacher": settings.teacher.name if settings.needs_annotations else None,
        "data_fraction": fraction,
        "seed": settings.seed,
    }


def check_choices(settings: TrainSettings, data: RunData) -> None:
    """Check that all examples have closed answers, where ``decoding=rank`` or the objective needs them.

    Raises:
        ConfigError: one has none; names it.
    """
    objective = settings.objective
    if settings.decoding == "rank":
        why, instead = "decoding=rank", "decoding=generate, or decoding=auto, which ranks where it can"
    elif objective.needs_choices:
        why, instead = f"objective={objective.name}", "objective=finetune or objective=step_by_step"
    else:
        return
    for example in data.examples():
        if not example.choices:
            raise ConfigError(
                f"{why}: example {example.id} of task {settings.task.name} has no closed answers. Choose {instead}."
            )


def run_identity(settings: TrainSettings, data: RunData, fraction: float) -> dict[str, Any]:
    """Return every setting that decides the result, and hashes of the training, validation and test data."""
    identity: dict[str, Any] = {
        "task": {"name": settings.task.name, **settings.task.identity()},
        "objective": settings.objective.identity(),
        "student": settings.student.identity(),
        "data_fraction": fraction,
        "seed": settings.seed,
        "labels": settings.labels,
        "decoding": settings.decoding,
        "train": data.train.digest[:8],
        "validation": fingerprint_examples(data.validation),
        "test": fingerprint_examples(data.test),
    }
    if len(data.choosing) < len(data.validation):
        identity["chosen_on"] = len(data.choosing)
    if settings.student.reads_training:
        identity["training"] = settings.training.identity()
    if settings.student.reads_texts:
        identity["prompt"] = settings.prompt.identity()
    if control := settings.control.identity():
        identity["control"] = control
    if settings.labels_weight != EQUAL:
        identity["labels_weight"] = settings.labels_weight
    return identity


def execute(plan: Plan, config_yaml: str, command: str = "python -m dsbs.train") -> dict[str, Any]:
    """Train a planned run in its folder, locked meanwhile, and return its metrics.

    Where several processes share the run, only the main one locks, tracks and writes.

    Raises:
        RunError: another process trains the run, or the training fails; the reason is kept in ``failed.json``.
        StudentError: the student cannot be built.
    """
    run, settings = plan.run, plan.settings
    with ExitStack() as stack:

        def begin() -> dict[str, Any] | None:
            if is_main():
                stack.enter_context(run.lock())
            metrics = run.finished_metrics()  # another process has finished it meanwhile
            if is_main() and not metrics:
                if stopped := describe_stop(run):
                    logger.info(stopped)
                run.clear_failure()
                run.write_manifest(config_yaml, command, describe_annotations(settings, plan.rationales))
            return metrics

        if metrics := main_first(begin):
            return _measure_rest(plan, metrics)
        try:
            with _open(plan) as tracker:
                return train_run(plan.recipe, plan.data, run, plan.described, tracker, settings)
        except DsbsError as error:
            if is_main():
                with suppress(OSError):  # a full disk has no room for this, either; the message matters more
                    run.fail(str(error))
            raise


def _open(plan: Plan) -> Tracker:
    """Open the W&B run; all processes but the main one get a tracker that records nothing."""
    settings = plan.settings
    if not is_main():
        return Tracker()
    return open_run(settings.tracking, plan.run, plan.described, Path(settings.output_dir))


def _measure_rest(plan: Plan, metrics: dict[str, Any]) -> dict[str, Any]:
    """Return a finished run's metrics, after measuring wanted test scores that it lacks; W&B records them too."""
    run, settings = plan.run, plan.settings
    if not lacks_measures(metrics, settings):
        return metrics
    measured = measure_finished(plan.recipe, plan.data, run, metrics, settings)
    with _open(plan) as tracker:
        track_result(tracker, settings.tracking, run, measured, run.load_manifest())
    return measured
