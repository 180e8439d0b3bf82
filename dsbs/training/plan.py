"""From settings to a run that can start: which examples, whose annotations, which folder. Checked before any model."""

import shlex
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from dsbs.core.distributed import count_processes, is_main, main_first
from dsbs.core.errors import ConfigError, DataError, DsbsError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.tracking import Tracker, derive_run_id, open_tracker
from dsbs.data.join import Annotations, RunData, check_gold, load_run_data, missing_ids
from dsbs.data.subsets import Selection, default_splits, parse_fraction, select
from dsbs.extraction import Job, run_extraction
from dsbs.extraction.annotations import AnnotationFile, annotations_path, load_summary, rationales_dir, rationales_root
from dsbs.training.compatibility import check_answers
from dsbs.training.recipe import Recipe
from dsbs.training.run import train_run
from dsbs.training.run_folder import Run, name_run
from dsbs.training.settings import Training, TrainSettings


class NotAnnotated(DataError):
    """Examples that the run uses have no annotation yet.

    Args:
        message: with the command that asks for them.
        job: the extraction that asks for them, where that costs nothing; else None.
    """

    def __init__(self, message: str, job: Job | None = None) -> None:
        super().__init__(message)
        self.job = job


@dataclass(frozen=True)
class Plan:
    """A run that can start."""

    settings: TrainSettings
    recipe: Recipe
    data: RunData
    run: Run
    described: dict[str, Any]
    rationales: Path | None


def prepare_run(settings: TrainSettings, typed: Sequence[str] = ()) -> Plan:
    """Plan a run; where annotations are missing and asking costs nothing, the teacher is asked for them first.

    Args and errors are those of ``plan_run``.
    """
    try:
        return plan_run(settings, typed)
    except NotAnnotated as missing:
        if missing.job is None:
            raise
        run_extraction(missing.job)
    return plan_run(settings, typed)  # an extraction that was stopped is not trained on as if it were complete


def plan_run(settings: TrainSettings, typed: Sequence[str] = ()) -> Plan:
    """Read the data, find the annotations, name the run. Nobody is asked and nothing is written.

    Args:
        settings: without faults.
        typed: the overrides that led to them, for messages that say what to type.

    Raises:
        DsbsError: where data or annotations are missing or broken.
    """
    fraction = parse_fraction(settings.data_fraction)
    task = settings.task
    if settings.labels == "gold":
        check_gold(task)
    task.gold_optional = settings.labels == "teacher"
    selection = select(task, fraction, settings.seed, settings.split_seed)
    rationales: Path | None = None
    annotations: dict[str, Annotations] = {}
    if settings.needs_annotations:
        rationales, annotations = find_annotations(settings, selection, typed)
    data = load_run_data(
        task,
        selection,
        annotations,
        settings.labels,
        settings.without_annotation,
        settings.objective.needs_rationales,
        settings.objective.needs_votes,
    )
    check_choices(settings, data)
    check_answers(settings.student, task, data.examples())
    described = {
        "task": task.name,
        "student": settings.student.name,
        "objective": settings.objective.name,
        "control": settings.control.title,
        "labels": settings.labels,
        "teacher": settings.teacher.name if settings.needs_annotations else None,
        "data_fraction": fraction,
        "seed": settings.seed,
    }
    recipe = Recipe(
        task,
        settings.objective,
        settings.student,
        settings.training,
        settings.seed,
        settings.decoding,
        settings.prompt,
        settings.control,
    )
    identity = run_identity(settings, data, fraction)
    run = name_run(settings.output_dir, identity, former_identity(settings.training, identity))
    return Plan(settings, recipe, data, run, described, rationales)


def check_choices(settings: TrainSettings, data: RunData) -> None:
    """Check that examples have closed answers where they have to.

    Raises:
        ConfigError: naming one that has none.
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
    """Return every setting that matters to the result, and hashes over the data that is learnt from and measured on."""
    identity: dict[str, Any] = {
        "task": {"name": settings.task.name, **settings.task.identity()},
        "objective": settings.objective.identity(),
        "student": settings.student.identity(),
        "data_fraction": fraction,
        "seed": settings.seed,
        "labels": settings.labels,
        "decoding": settings.decoding,
        "train": data.train.digest[:8],
        "validation": fingerprint([asdict(example) for example in data.validation]),
        "test": fingerprint([asdict(example) for example in data.test]),
    }
    if settings.student.reads_training:
        identity["training"] = settings.training.identity()
    if settings.student.reads_texts:
        identity["prompt"] = settings.prompt.identity()
    if control := settings.control.identity():
        identity["control"] = control
    return identity


def former_identity(training: Training, identity: dict[str, Any]) -> dict[str, Any]:
    """Return what named the same run before its name held the global batch, however a step is cut into that."""
    if "training" not in identity:
        return identity
    cut = {key: getattr(training, key) for key in ("per_device_train_batch_size", "gradient_accumulation_steps")}
    former = {**identity, "training": {**identity["training"], **cut}}
    return {**former, "processes": count_processes()} if count_processes() > 1 else former


def find_annotations(
    settings: TrainSettings, selection: Selection, typed: Sequence[str] = ()
) -> tuple[Path, dict[str, Annotations]]:
    """Return the folder of the annotations and what it holds by split.

    Raises:
        NotAnnotated: with the command that extracts what is missing.
    """
    with_validation = settings.labels == "teacher"
    splits = list(selection.by_split(with_validation))
    named = settings.rationales
    folder = (
        Path(named) if named else rationales_dir(settings.output_dir, settings.task, settings.teacher, settings.prompt)
    )
    annotations = _load(folder, splits)
    missing = missing_ids(selection, annotations, with_validation)
    if not missing:
        return folder, annotations
    if named:
        raise NotAnnotated(
            f"rationales={named}: {missing} of the examples that this run uses were never asked about; the folder is "
            f"of another task, subset or split. Extract them with:\n    {extract_command(settings, splits, typed)}"
        )
    others = sorted(path for path in folder.parent.glob("*") if path.is_dir() and path != folder)
    hint = "".join(f"\n    rationales={path}" for path in others)
    asked = [*dict.fromkeys([*splits, *default_splits(settings.task)])]
    raise NotAnnotated(
        f"{missing} of the examples that this run uses were never put to the teacher {settings.teacher.name} "
        f"({folder} {'lacks them' if folder.exists() else 'does not exist'}). Ask it with:\n"
        f"    {extract_command(settings, splits, typed)}"
        + (f"\n  or name one of the folders that exist:{hint}" if others else ""),
        _free_job(settings, folder, asked) if settings.teacher.free else None,
    )


def _free_job(settings: TrainSettings, folder: Path, splits: list[str]) -> Job:
    neighbours = rationales_root(settings.output_dir)
    return Job(settings.task, settings.teacher, settings.prompt, folder, splits, neighbours=neighbours)


def _load(folder: Path, splits: list[str]) -> dict[str, Annotations]:
    return {split: AnnotationFile(folder, split) for split in splits if annotations_path(folder, split).exists()}


def extract_command(settings: TrainSettings, splits: list[str], typed: Sequence[str] = ()) -> str:
    """Return the command that asks the teacher for what a run needs.

    Args:
        settings: of the run.
        splits: the source's splits to ask about.
        typed: the overrides that the user typed; those of task, teacher and prompt are repeated.
    """
    words = {"task": f"task={settings.task.name}", "teacher": f"teacher={settings.teacher.name}"}
    if settings.task.path:
        words["task.path"] = f"task.path={settings.task.path}"
    for key in ("path", "base_url", "model"):
        value = getattr(settings.teacher, key, None)
        if value and key in vars(settings.teacher):
            words[f"teacher.{key}"] = f"teacher.{key}={value}"
    for word in typed:
        key = word.split("=")[0].lstrip("+")
        if key.split(".")[0] in ("task", "teacher", "prompt"):
            words[key] = word
    if splits != ["train"]:
        words["splits"] = f"splits=[{','.join(splits)}]"
    if parse_fraction(settings.data_fraction) < 1:
        words["data_fraction"] = f"data_fraction={settings.data_fraction}"
        words["seed"] = f"seed={settings.seed}"
        if settings.split_seed:
            words["split_seed"] = f"split_seed={settings.split_seed}"
    if settings.labels != "gold":
        words["labels"] = f"labels={settings.labels}"
    if settings.output_dir != "outputs":
        words["output_dir"] = f"output_dir={settings.output_dir}"
    return shlex.join(["python", "-m", "dsbs.extract", *words.values()])


def execute(plan: Plan, config_yaml: str, command: str = "python -m dsbs.train") -> dict[str, Any]:
    """Train a planned run in its folder, which nobody else may use meanwhile, and return its metrics.

    Where several processes share the run, only the main one locks, tracks and writes.

    Args:
        plan: of the run.
        config_yaml: the config, as the run keeps it.
        command: what starts the run, for its manifest.
    """
    run, settings = plan.run, plan.settings
    with ExitStack() as stack:

        def begin() -> dict[str, Any] | None:
            if is_main():
                stack.enter_context(run.lock())
            metrics = run.finished_metrics()  # another command was faster
            if is_main() and not metrics:
                run.clear_failure()
                run.write_manifest(config_yaml, command, _provenance(plan))
            return metrics

        if metrics := main_first(begin):
            return metrics
        try:
            tracker = Tracker()
            if is_main():
                tracker = open_tracker(
                    settings.tracking,
                    run_id=derive_run_id(run.folder),
                    name="-".join([*run.folder.parts[-4:-1], run.folder.name]),
                    config=run.settings,
                    directory=Path(settings.output_dir),
                )
            with tracker:
                return train_run(plan.recipe, plan.data, run, plan.described, tracker)
        except DsbsError as error:
            if is_main():
                with suppress(OSError):  # a full disk has no room for this, either; the message matters more
                    run.fail(str(error))
            raise


def _provenance(plan: Plan) -> dict[str, Any]:
    """Return what the manifest says of the teacher."""
    if plan.rationales is None:
        return {"rationales": None}
    summary = load_summary(plan.rationales) or {}
    accuracy = {name: part.get("teacher_accuracy") for name, part in summary.get("splits", {}).items()}
    return {
        "rationales": str(plan.rationales),
        "model": summary.get("model"),
        "teacher_accuracy": accuracy,
        "licence": plan.settings.teacher.licence,
    }
