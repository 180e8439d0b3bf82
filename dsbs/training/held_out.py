"""The validation and test examples of a finished run, loaded again: for exports, thresholds and deferral."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.data.join import Annotations, Join, fingerprint_examples, load_run_data
from dsbs.data.subsets import parse_fraction, select
from dsbs.training.annotated import build_filter, find_annotations
from dsbs.training.settings import TrainSettings


@dataclass(frozen=True)
class HeldOut:
    """Examples that a run did not train on.

    Attributes:
        validation: the examples its checkpoint was chosen on, with the labels that ``labels`` says.
        validation_split: the source's split that validation was taken from.
        test: with gold labels; empty where the task has none.
    """

    validation: list[Example]
    test: list[Example]
    validation_split: str = "train"


def load_held_out(settings: TrainSettings, manifest: Mapping[str, Any]) -> HeldOut:
    """Return the validation and test examples of a run.

    Args:
        manifest: ``manifest.json`` of the run; its hashes identify the data.

    Raises:
        DataError: the data is missing, or has changed since the run.
    """
    selection = select(settings.task, parse_fraction(settings.data_fraction), settings.seed, settings.split_seed)
    annotations: dict[str, Annotations] = {}
    if settings.labels != "gold":
        _, annotations = find_annotations(settings, selection)
    # Which annotations of train can be learned from does not matter here.
    join = Join(
        settings.task,
        selection,
        annotations,
        settings.labels,
        drop=False,
        needs_rationales=False,
        filter=build_filter(settings),
    )
    data = load_run_data(join)
    known = manifest.get("settings", {})
    for name, examples in (("validation", data.validation), ("test", data.test)):
        found = fingerprint_examples(examples)
        if name in known and known[name] != found:
            raise DataError(
                f"The {name} examples of task={settings.task.name} differ from those that the run was measured on: the "
                "data has changed. Restore the old files, or train again."
            )
    return HeldOut(data.validation, data.test, selection.validation_split)
