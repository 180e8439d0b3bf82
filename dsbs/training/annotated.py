"""The annotations that a run trains on: their folder, the filter, and the command that extracts missing ones."""

import logging
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from dsbs.core.command_line import split_flags
from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint_files
from dsbs.core.records import Annotation, Example
from dsbs.data.join import Annotations, Check, RunData, count_missing
from dsbs.data.subsets import Selection, default_splits, parse_fraction
from dsbs.extraction.annotations import (
    STORE,
    AnnotationFile,
    Extraction,
    annotations_path,
    find_extractions,
    load_summary,
    rationales_dir,
    rationales_root,
    total_of,
    variant_dir,
)
from dsbs.extraction.filters import FilterCheck, restore
from dsbs.extraction.job import Job
from dsbs.extraction.parsing import Take
from dsbs.extraction.settings import ExtractionSettings
from dsbs.training.settings import TrainSettings
from dsbs.training.stored import StoredTokens

logger = logging.getLogger(__name__)


class NotAnnotated(DataError):
    """Examples that the run uses have no annotation yet.

    Args:
        message: names the command that extracts them.
        job: the extraction of them, where the teacher costs nothing; else None.
    """

    def __init__(self, message: str, job: Job | None = None) -> None:
        super().__init__(message)
        self.job = job


def find_annotations(
    settings: TrainSettings, selection: Selection, typed: Sequence[str] = ()
) -> tuple[Path, dict[str, Annotations]]:
    """Return the folder of the run's annotations, and split -> annotations.

    Of several folders of one teacher and prompt, the one extracted with the run's own filter is taken, else any: an
    extraction keeps what its filter rejected, and the run applies its own. Folders of different numbers of samples hold
    different labels, so there the user has to choose.

    Raises:
        NotAnnotated: annotations are missing; names the command that extracts them.
        DataError: there are annotations of different numbers of samples, and ``samples`` names none.
    """
    with_validation = settings.labels != "gold"
    splits = list(selection.by_split(with_validation))
    if named := settings.rationales:
        annotations = _load(Path(named), splits)
        if missing := count_missing(selection, annotations, with_validation):
            raise NotAnnotated(
                f"rationales={named}: {missing} of the examples of this run are not annotated there; the folder "
                f"is of another task, subset or split. Extract them with:\n    "
                f"{extract_command(settings, splits, typed)}"
            )
        return Path(named), annotations
    base = rationales_dir(settings.output_dir, settings.task, settings.teacher, settings.prompt)
    there = [one for one in find_extractions(base) if settings.samples in (None, one.samples)]
    lacking = {one: count_missing(selection, _load(one.folder, splits), with_validation) for one in there}
    if complete := [one for one in there if not lacking[one]]:
        folder = _choose(complete, settings)
        return folder, _load(folder, splits)
    folder = variant_dir(base, {}, settings.samples or 1)
    missing = min(lacking.values(), default=count_missing(selection, {}, with_validation))
    others = sorted(path for path in base.parent.glob("*") if path.is_dir() and path != folder)
    hint = "".join(f"\n    rationales={path}" for path in others)
    asked = [*dict.fromkeys([*splits, *default_splits(settings.task)])]
    raise NotAnnotated(
        f"{missing} of the examples of this run are not annotated yet by teacher {settings.teacher.name} "
        f"({folder} {'lacks them' if folder.exists() else 'does not exist'}). Annotate them with (answers that are "
        f"stored already, such as those of unchanged rows, are not asked again):\n"
        f"    {extract_command(settings, splits, typed)}" + (f"\n  or use an existing folder:{hint}" if others else ""),
        _free_job(settings, base, asked) if settings.teacher.free else None,
    )


def _choose(found: Sequence[Extraction], settings: TrainSettings) -> Path:
    """Return the folder to learn from, of those that hold all of the run's examples.

    Raises:
        DataError: their labels are votes of different numbers of samples.
    """
    if len(counts := sorted({one.samples for one in found})) > 1:
        listing = "".join(f"\n    samples={one.samples}   {one.folder}" for one in found)
        raise DataError(
            f"There are annotations of {' and of '.join(map(str, counts))} samples for this run. Type the ones to "
            f"learn from:{listing}"
        )
    order = (settings.filter.title, "none")
    ranked = sorted(found, key=lambda one: order.index(one.filter) if one.filter in order else len(order))
    return ranked[0].folder


def _free_job(settings: TrainSettings, base: Path, splits: list[str]) -> Job:
    samples = settings.samples or 1
    return Job(
        settings.task,
        settings.teacher,
        settings.prompt,
        variant_dir(base, {}, samples),
        splits,
        settings=ExtractionSettings(samples=samples),
        neighbours=rationales_root(settings.output_dir),
        base=base.name,
    )


def _load(folder: Path, splits: list[str]) -> dict[str, Annotations]:
    return {split: AnnotationFile(folder, split) for split in splits if annotations_path(folder, split).exists()}


def extract_command(settings: TrainSettings, splits: list[str], typed: Sequence[str] = ()) -> str:
    """Return the ``dsbs.extract`` command that annotates what a run needs.

    Args:
        typed: what the user typed; flags and the overrides of task, teacher, prompt and filter are repeated.
    """
    flags, overrides = split_flags(typed)
    words = {"task": f"task={settings.task.name}", "teacher": f"teacher={settings.teacher.name}"}
    if settings.task.path:
        words["task.path"] = f"task.path={settings.task.path}"
    for key in ("path", "base_url", "model"):
        value = getattr(settings.teacher, key, None)
        if value and key in vars(settings.teacher):
            words[f"teacher.{key}"] = f"teacher.{key}={value}"
    for word in overrides:
        key = word.split("=")[0].lstrip("+")
        if key.split(".")[0] in ("task", "teacher", "prompt", "filter"):
            words[key] = word
    if settings.samples is not None:
        words["samples"] = f"samples={settings.samples}"
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
    return shlex.join(["python", "-m", "dsbs.extract", *flags, *words.values()])


def stored_tokens(
    settings: TrainSettings, folder: Path | None, data: RunData, typed: Sequence[str] = ()
) -> StoredTokens | None:
    """Return the stored log-probabilities of the teacher's tokens, or None where the objective reads none.

    Args:
        folder: of the annotations; None: the run reads none.

    Raises:
        DataError: the folder of the annotations holds no store.
    """
    if folder is None or not settings.objective.reads_stored_tokens:
        return None
    if not (folder / STORE).is_file():
        raise DataError(
            f"{folder} holds no {STORE}, so there are no log-probabilities to learn from. Extract them with:\n    "
            f"{extract_command(settings, ['train'], [*typed, 'teacher.top_logprobs=20'])}"
        )
    teacher = settings.teacher
    model = str(teacher.model or teacher.path or teacher.name)
    return StoredTokens.find(folder / STORE, model, settings.objective.most_tokens, data)


def build_filter(settings: TrainSettings) -> Callable[[], Check]:
    """Return a factory of the run's own filter, which sees each example with its annotation, in order.

    Annotations that another filter rejected at extraction count again. So a command names the same run, whichever
    filter the extraction had.
    """

    def start() -> Check:
        filter_check = FilterCheck(settings.filter, settings.task.answers)

        def check(example: Example, annotation: Annotation) -> Annotation:
            return filter_check.check(example, restore(annotation))

        return check

    return start


def describe_annotations(settings: TrainSettings, folder: Path | None) -> dict[str, Any]:
    """Return the manifest's fields on the annotations: folder, model, teacher accuracy, filter, file hashes."""
    if folder is None:
        return {"rationales": None}
    summary = load_summary(folder) or {}
    splits = summary.get("splits", {})
    files = sorted(folder.glob("*.parquet"))
    extracted = str(summary.get("filter", "none"))
    if extracted not in ("none", settings.filter.title, settings.filter.name):
        logger.warning(
            "The annotations were extracted with filter=%s; this run applies its own, filter=%s. "
            "Type filter=%s to apply the former.",
            extracted,
            settings.filter.title,
            extracted.split(" ")[0],
        )
    took, wanted = summary.get("take"), settings.prompt.take
    if took is not None and wanted != Take() and vars(wanted) != took:
        logger.warning(
            "%s: the rationales were taken from the completions with other settings than this run's "
            "prompt.rationale_from=%s (or thought_sentences, thought_words). To take them anew, type it with "
            "dsbs.extract, too: that sends no request.",
            folder,
            wanted.source,
        )
    return {
        "rationales": str(folder),
        "model": summary.get("model"),
        "teacher_accuracy": {name: part.get("teacher_accuracy") for name, part in splits.items()},
        "teacher_gold_labels": {name: part.get("gold_labels") for name, part in splits.items()},
        "teacher_cost_usd": total_of(summary, "cost_usd"),
        "licence": settings.teacher.licence,
        "annotations": {
            "folder": str(summary.get("extraction") or folder.name),
            "model": summary.get("model"),
            "filter": settings.filter.title,
            "samples": summary.get("samples", 1),
            "rows": sum(part.get("examples", 0) for part in splits.values()),
            "hash": fingerprint_files(files),
        },
    }
