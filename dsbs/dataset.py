"""The data of a run: examples joined to annotations by id, nothing dropped in silence."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from dsbs.errors import ConfigError, DataError
from dsbs.records import OK, Annotation, Example
from dsbs.subsets import Selection
from dsbs.tasks.base import Task

Annotations = Mapping[str, Annotation]


@dataclass
class RunData:
    """What a run learns from and is measured on.

    Attributes:
        train: examples, their label being the one to learn, each with its annotation where that is usable.
        validation: examples, their label following ``labels`` as that of train does.
        test: examples with gold labels; read once, at the end.
        counts: how many examples were asked for, used, and left out, and why.
    """

    train: list[tuple[Example, Annotation | None]]
    validation: list[Example]
    test: list[Example]
    counts: dict[str, int] = field(default_factory=dict)


def missing_ids(selection: Selection, annotations: Mapping[str, Annotations], with_validation: bool) -> int:
    """Return how many examples of a selection the teacher was never asked about."""
    wanted = selection.by_split(with_validation)
    return sum(len(ids - annotations.get(split, {}).keys()) for split, ids in wanted.items())


def load_run_data(
    task: Task,
    selection: Selection,
    annotations: Mapping[str, Annotations],
    labels: str,
    without_annotation: str,
    needs_rationales: bool,
) -> RunData:
    """Join examples and annotations.

    Args:
        task: where the examples come from.
        selection: which of them.
        annotations: split -> id -> annotation; empty where none are needed.
        labels: ``gold`` or ``teacher``.
        without_annotation: ``label_only`` or ``drop``: what becomes of an example whose annotation is not usable.
        needs_rationales: whether the objective reads rationales.

    Raises:
        DataError: where nothing is left to train or validate on, or test has no gold labels.
    """
    if without_annotation not in ("label_only", "drop"):
        raise ConfigError(f"without_annotation={without_annotation}: expected label_only or drop.")
    counts = {"asked_and_failed": 0, "no_label": 0, "label_only": 0, "dropped": 0}
    train: list[tuple[Example, Annotation | None]] = []
    validation: list[Example] = []
    for split in dict.fromkeys(["train", selection.validation_split]):
        known = annotations.get(split, {})
        for example in task.examples(split):
            in_train = split == "train" and example.id in selection.train
            if not in_train and not (split == selection.validation_split and example.id in selection.validation):
                continue
            annotation = known.get(example.id)
            usable = annotation if annotation is not None and annotation.status == OK else None
            if labels == "teacher":
                example = replace(example, label=usable.label if usable else None)
            if example.label is None:
                counts["no_label"] += 1
                counts["asked_and_failed"] += annotation is not None and usable is None
                continue
            if not in_train:
                validation.append(example)
                continue
            if needs_rationales and usable is None:
                counts["asked_and_failed"] += 1
                counts["dropped" if without_annotation == "drop" else "label_only"] += 1
                if without_annotation == "drop":
                    continue
            train.append((example, usable if needs_rationales else None))
    if labels == "teacher":
        source = "the teacher gave no usable label"
    elif counts["dropped"]:
        source = "no annotation of theirs is usable, and without_annotation=drop leaves such examples out"
    else:
        source = "they have no gold label (labels=teacher?)"
    for name, part in (("train", train), ("validation", validation)):
        if not part:
            raise DataError(f"task={task.name}: no example of {name} is left: {source}. Counts: {counts}.")
    return RunData(train, validation, load_test(task), counts | {"train": len(train), "validation": len(validation)})


def load_test(task: Task, split: str = "test") -> list[Example]:
    """Return the examples with gold labels of a split that is only measured on.

    Raises:
        DataError: where the task has none.
    """
    if split not in task.splits():
        raise DataError(f"task={task.name} has no {split} split; it has {', '.join(task.splits())}.")
    examples = [example for example in task.examples(split) if example.label is not None]
    if not examples:
        raise DataError(
            f"task={task.name}: no example of the {split} split has a gold label, so nothing can be measured."
        )
    return examples
