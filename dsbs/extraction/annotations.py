"""The folder of an extraction: annotations by example id, a summary, and the store of completions."""

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsbs.core.errors import DataError
from dsbs.core.files import atomic_path
from dsbs.core.fingerprint import fingerprint
from dsbs.core.names import path_part
from dsbs.core.records import LATER_FIELDS, Annotation
from dsbs.core.untrusted import MAX_COUNT, excerpt, is_finite, load_json, open_regular, read_file
from dsbs.extraction.prompts import Prompt
from dsbs.tasks.base import Task
from dsbs.teachers.base import Teacher

logger = logging.getLogger(__name__)

STORE = "completions.sqlite"
SUMMARY = "summary.json"
PAGE = "rationales.html"
ROW_GROUP = 10_000
TYPES = {"id": pa.string(), "label": pa.string(), "rationale": pa.string(), "status": pa.string(),
         "agreement": pa.float64(), "votes": pa.map_(pa.string(), pa.int64()),
         "probabilities": pa.map_(pa.string(), pa.float64()), "system": pa.string()}  # fmt: skip
SCHEMA = pa.schema([pa.field(field.name, TYPES[field.name]) for field in dataclasses.fields(Annotation)])
LISTS = ("statuses", "systems")  # the entries of a split in a summary that are objects; the others are numbers


def rationales_root(output_dir: str | Path) -> Path:
    """Return the folder of all extractions."""
    return Path(output_dir) / "rationales"


def rationales_dir(output_dir: str | Path, task: Task, teacher: Teacher, prompt: Prompt) -> Path:
    """Return ``<output_dir>/rationales/<task>/<teacher>-<hash>``.

    The hash covers the data, the teacher's model and sampling, and the prompt; not how many examples are asked about.
    """
    named = path_part(teacher.name, "teacher.name")
    identity = {"task": task.identity(), "teacher": teacher.identity(), "prompt": prompt.identity()}
    return rationales_root(output_dir) / path_part(task.name, "task.name") / f"{named}-{fingerprint(identity)}"


def variant_dir(base: Path, filter: Mapping[str, Any], samples: int) -> Path:
    """Return the folder of annotations with a filter or several samples, so that none overwrites another.

    Args:
        base: of ``rationales_dir``; the folder for one sample without a filter.
    """
    if not filter and samples == 1:
        return base
    identity = {"extraction": base.name, "filter": dict(filter), "samples": samples}
    return base.with_name(f"{base.name.rpartition('-')[0]}-{fingerprint(identity)}")


@dataclasses.dataclass(frozen=True)
class Extraction:
    """A folder of annotations.

    Attributes:
        filter: the title of the filter that was applied.
    """

    folder: Path
    filter: str
    samples: int


def find_extractions(base: Path) -> list[Extraction]:
    """Return the folders of annotations of one task, teacher and prompt: ``base``, and its variants.

    Raises:
        DataError: where the summary in ``base`` is broken; a variant with a broken one is skipped with a warning.
    """
    beside = sorted(base.parent.glob(f"{base.name.rpartition('-')[0]}-*"))
    found = []
    for folder in [base, *(path for path in beside if path != base)]:
        if not any(folder.glob("*.parquet")):
            continue
        try:
            summary = load_summary(folder) or {}
        except DataError as error:
            if folder == base:
                raise
            logger.warning("%s Skipped.", error)
            continue
        if folder == base or summary.get("extraction") == base.name:
            title = str(summary.get("filter", "none"))
            samples = summary.get("samples")
            found.append(Extraction(folder, title, samples if isinstance(samples, int) else 1))
    return found


def annotations_path(folder: Path, split: str) -> Path:
    """Return the path of a split's annotations."""
    return folder / f"{path_part(split, 'split')}.parquet"


def write_annotations(folder: Path, split: str, annotations: Iterable[Annotation]) -> None:
    """Write ``<split>.parquet``, a row group in memory at a time; it appears when it is complete, or not at all."""
    rest = iter(annotations)
    with atomic_path(annotations_path(folder, split)) as partial, pq.ParquetWriter(partial, SCHEMA) as file:
        while group := list(islice(rest, ROW_GROUP)):
            columns = [[getattr(annotation, name) for annotation in group] for name in SCHEMA.names]
            file.write_batch(pa.record_batch(columns, schema=SCHEMA))


def _same_kind(found: pa.DataType, wanted: pa.DataType) -> bool:
    if pa.types.is_map(wanted):
        return bool(pa.types.is_map(found)) and all(
            _same_kind(*pair) for pair in ((found.key_type, wanted.key_type), (found.item_type, wanted.item_type))
        )
    return bool(found == wanted) or (pa.types.is_large_string(found) and pa.types.is_string(wanted))


@dataclasses.dataclass(frozen=True)
class AnnotationFile:
    """The annotations of a split; every iteration reads the file again."""

    folder: Path
    split: str

    def __iter__(self) -> Iterator[Annotation]:
        """Yield them in the order of the examples.

        Raises:
            DataError: the file is missing, or has other columns.
        """
        path = annotations_path(self.folder, self.split)
        if not path.is_file():
            raise DataError(f"{path}: no annotations of split {self.split!r}.")
        try:
            with open_regular(path) as opened, pq.ParquetFile(opened) as file:
                found = file.schema_arrow
                columns = [name for name in SCHEMA.names if name in found.names]
                if not set(SCHEMA.names) - set(LATER_FIELDS) <= set(columns):
                    raise DataError(f"{path}: expected the columns {', '.join(SCHEMA.names)}.")
                for name in columns:
                    if not _same_kind(found.field(name).type, TYPES[name]):
                        raise DataError(
                            f"{path}: column {name!r} holds {found.field(name).type}, expected {TYPES[name]}."
                        )
                for batch in file.iter_batches(columns=columns):
                    for row in batch.to_pylist(maps_as_pydicts="strict"):
                        yield Annotation(**row)
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            # Broken pages, no UTF-8, a key twice in a map.
            system = getattr(error, "errno", None)  # where the system refuses to read it, the file may be sound
            advice = "" if system else " Delete it and run dsbs.extract again."
            raise DataError(f"{path}: cannot be read ({excerpt(str(error))}).{advice}") from error


def load_summary(folder: Path) -> dict[str, Any] | None:
    """Return the content of ``summary.json``, or None where there is none.

    Raises:
        DataError: where it is broken, or has values of unexpected types.
    """
    path = folder / SUMMARY
    if not path.is_file():
        return None
    try:
        summary = load_json(read_file(path))
    except ValueError as error:
        raise DataError(f"{path}: broken JSON ({error}). Delete it and run dsbs.extract again.") from error
    if not isinstance(summary, dict):
        raise DataError(f"{path}: expected an object. Delete it and run dsbs.extract again.")
    if odd := _odd_part(summary):
        raise DataError(f"{path}: {odd} is not as dsbs.extract writes it. Delete the file and run dsbs.extract again.")
    return summary


def total_of(summary: Mapping[str, Any] | None, key: str) -> Any:
    """Return the sum of a figure over the splits of a summary; None where a split lacks it, or there are none.

    >>> total_of({"splits": {"train": {"cost_usd": 1.5}, "test": {"cost_usd": 0.5}}}, "cost_usd")
    2.0
    >>> total_of({"splits": {"train": {"cost_usd": 1.5}, "test": {}}}, "cost_usd") is None
    True
    """
    values = [split.get(key) for split in ((summary or {}).get("splits") or {}).values()]
    return sum(values) if values and None not in values else None


def price_of(summary: Mapping[str, Any] | None) -> tuple[float, int] | None:
    """Return dollars and number of the completions of an extraction, by this run and before; None where unknown.

    0 dollars are no price: such a teacher replays files, or runs on this machine.

    >>> price_of({"splits": {"train": {"cost_usd": 1.5, "completions": 300, "requests": 5}}})
    (1.5, 300)
    """
    usd, completions = total_of(summary, "cost_usd"), total_of(summary, "completions")
    if completions is None and summary:  # of an earlier version, where each example counted
        completions = (total_of(summary, "examples") or 0) * (summary.get("samples") or 1)
    return (float(usd), int(completions)) if usd and completions else None


def _is_figure(key: str, value: Any) -> bool:
    return is_finite(value) and 0 <= value <= (1 if key.endswith("accuracy") else MAX_COUNT)


def _odd_part(summary: dict[str, Any]) -> str | None:
    """Return which field of a summary, which may be untrusted, has an unexpected type, or None."""
    splits = summary.get("splits", {})
    if not isinstance(splits, dict):
        return "splits"
    parts = {"": {"seconds": summary.get("seconds"), "samples": summary.get("samples")}} | splits
    for name, part in parts.items():
        if not isinstance(part, dict):
            return excerpt(f"splits.{name}")
        for key, value in part.items():
            if key not in LISTS and value is not None and not _is_figure(key, value):
                return excerpt(f"splits.{name}.{key}" if name else key)
    texts = ("extraction", "model", "task", "teacher", "prompt")
    return next((key for key in texts if not isinstance(summary.get(key), str | None)), None)
