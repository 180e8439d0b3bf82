"""The data of a run: examples joined to annotations by id; what is left out is counted, and train is streamed."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint, fingerprint_stream
from dsbs.core.records import LABELLED, LATER_FIELDS, OK, Annotation, Example
from dsbs.data.subsets import Selection, sample_ids
from dsbs.tasks.base import Task
from dsbs.tasks.tables.hub import HubSource
from dsbs.tasks.tables.rows import RowsTask

Annotations = Iterable[Annotation]  # of a split; read more than once
Check = Callable[[Example, Annotation], Annotation]  # returns the annotation with the status that results


@dataclass(frozen=True)
class Join:
    """How a task's examples and a teacher's annotations are joined for a run.

    Attributes:
        annotations: split -> annotations; empty where none are needed.
        labels: ``gold``; ``teacher``; or ``mixed``: gold where there is one, else the teacher's.
        drop: whether an example of train without a usable annotation is dropped, or kept with its label alone.
        needs_rationales: whether the objective reads rationales.
        reads: which other fields of annotations it reads, of ``LATER_FIELDS``.
        filter: returns a new filter, which is called with each example and annotation in their order; None: no filter.
    """

    task: Task
    selection: Selection
    annotations: Mapping[str, Annotations]
    labels: str
    drop: bool
    needs_rationales: bool
    reads: frozenset[str] = frozenset()
    filter: Callable[[], Check] | None = None

    def read(self, split: str, counts: Counter[str]) -> Iterator[tuple[str, Example, Annotation | None]]:
        """Yield the part (``train`` or ``validation``), the example, and its annotation where that is read.

        One example is in memory at a time, as long as annotations come in the order of the examples.

        Args:
            counts: how many examples were used and left out, by reason; added to.
        """
        train = self.selection.train if split == "train" else frozenset()
        validation = self.selection.validation if split == self.selection.validation_split else frozenset()
        asked = (one for one in self.annotations.get(split, ()) if one.id in train or one.id in validation)
        ahead: dict[str, Annotation] = {}
        check = self.filter() if self.filter else None
        for example in self.task.examples(split):
            if example.id not in train and example.id not in validation:
                continue
            while example.id not in ahead and (annotation := next(asked, None)) is not None:
                ahead[annotation.id] = annotation
            part = "train" if example.id in train else "validation"
            annotation = ahead.pop(example.id, None)
            if annotation is not None and check is not None:
                annotation = check(example, annotation)
            if kept := self._use(part, example, annotation, counts):
                counts[part] += 1
                yield part, *kept

    def _use(
        self, part: str, example: Example, annotation: Annotation | None, counts: Counter[str]
    ) -> tuple[Example, Annotation | None] | None:
        labelled = annotation if annotation is not None and annotation.status in LABELLED else None
        usable = None if labelled and self.needs_rationales and labelled.status != OK else labelled
        if self.labels == "teacher" or (self.labels == "mixed" and example.label is None):
            example = replace(example, label=labelled.label if labelled else None)
            if self.labels == "mixed":
                counts["teacher_labels"] += example.label is not None
        if example.label is None:
            counts["no_label"] += 1
            counts["asked_and_failed"] += annotation is not None and usable is None
            return None
        needed = part == "train" and bool(self.needs_rationales or self.reads)
        if needed and usable is None:
            counts["asked_and_failed"] += 1
            counts["dropped" if self.drop else "label_only"] += 1
            if self.drop:
                return None
        return example, self._needed(usable, counts) if needed and usable is not None else None

    def _needed(self, annotation: Annotation, counts: Counter[str]) -> Annotation:
        """Return what the objective reads of an annotation: the digest of the data covers no more."""
        if "votes" in self.reads and annotation.votes is None:
            raise DataError(
                f"The annotation of example {annotation.id} predates votes, which this objective needs. "
                "Run the same dsbs.extract command again: it sends no new requests, and adds them."
            )
        if "votes" in self.reads:
            counts["single_vote"] += sum((annotation.votes or {}).values()) == 1
        if "probabilities" in self.reads:
            counts["without_probabilities"] += not any((annotation.probabilities or {}).values())
        if "system" in self.reads:
            counts["without_system"] += not annotation.system
        hidden: dict[str, Any] = {name: None for name in LATER_FIELDS if name not in self.reads}
        return replace(annotation, **hidden)


@dataclass(frozen=True)
class TrainData:
    """The examples to learn from, each with its annotation where that is read; every iteration reads them again.

    Attributes:
        digest: 16 hexadecimal characters over examples and annotations.
    """

    join: Join
    examples: int
    digest: str

    def __len__(self) -> int:
        return self.examples

    def __iter__(self) -> Iterator[tuple[Example, Annotation | None]]:
        for part, example, annotation in self.join.read("train", Counter()):
            if part == "train":
                yield example, annotation


@dataclass
class RunData:
    """What a run learns from and is measured on.

    Attributes:
        train: examples with the label to learn (see ``labels``), and annotations.
        validation: examples with such a label.
        choosing: those of them that the checkpoint is chosen on; all, unless ``limit_validation`` drew some.
        test: examples with gold labels; measured once, at the end. Unless ``labels=gold`` there may be none.
        counts: examples that were used, and left out by reason.
        taught: the labels of ``train``, of closed answers.
        labels: whose labels train and validation have: ``gold``, ``teacher`` or ``mixed``.
    """

    train: TrainData
    validation: list[Example]
    test: list[Example]
    counts: dict[str, int] = field(default_factory=dict)
    taught: frozenset[str] = frozenset()
    labels: str = "gold"
    choosing: list[Example] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.choosing = self.choosing or self.validation

    def limit_validation(self, limit: int | None, split_seed: int) -> None:
        """Choose checkpoints on ``limit`` examples of validation, drawn by ``split_seed``; draws are nested."""
        if limit is not None:
            chosen = sample_ids((example.id for example in self.validation), limit, split_seed, "validation limit")
            self.choosing = [example for example in self.validation if example.id in chosen]

    def examples(self) -> Iterator[Example]:
        """Yield the examples of train, validation and test."""
        yield from (example for example, _ in self.train)
        yield from self.validation
        yield from self.test


def count_missing(selection: Selection, annotations: Mapping[str, Annotations], with_validation: bool) -> int:
    """Return how many examples of a selection have no annotation (a failed one counts as one)."""
    return sum(
        len(ids.difference(one.id for one in annotations.get(split, ())))
        for split, ids in selection.by_split(with_validation).items()
    )


def load_run_data(join: Join) -> RunData:
    """Join examples and annotations, and read the test split.

    Raises:
        DataError: where nothing is left to train or validate on; where annotations lack a field of ``reads``; where
            labels are gold and test has none.
    """
    counts: Counter[str] = Counter(dict.fromkeys(("asked_and_failed", "no_label", "label_only", "dropped"), 0))
    validation: list[Example] = []
    taught: set[str] = set()

    def described(split: str) -> Iterator[object]:
        for part, example, annotation in join.read(split, counts):
            if part == "validation":
                validation.append(example)
            else:
                if example.choices is not None and example.label is not None:
                    taught.add(example.label)
                yield _values(example), annotation and _describe(annotation)

    digest = fingerprint_stream(described("train"))
    if join.selection.validation_split != "train":
        list(described(join.selection.validation_split))
    _check_left(join, counts)
    test = load_test(join.task, needed=join.labels == "gold")
    train = TrainData(join, counts["train"], digest)
    return RunData(train, validation, test, dict(counts), taught=frozenset(taught), labels=join.labels)


def _check_left(join: Join, counts: Counter[str]) -> None:
    """Check that something is left to train and to validate on, and of what the objective reads."""
    if join.labels != "gold":
        source = "the teacher gave no usable label"
    elif counts["dropped"]:
        source = "none of their annotations is usable, and without_annotation=drop drops such examples"
    else:
        source = "they have no gold label; labels=teacher uses the teacher's"
    for part in ("train", "validation"):
        if not counts[part]:
            counted = ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)
            raise DataError(f"task={join.task.name}: no {part} example is left: {source}. Counts: {counted}.")
    if "probabilities" in join.reads and counts["without_probabilities"] == counts["train"] - counts["label_only"]:
        raise DataError(
            f"task={join.task.name}: no annotation has probabilities of the closed answers, which this objective needs."
            " Extract with teacher.top_logprobs=20 from an endpoint that returns log-probabilities."
        )


def fingerprint_examples(examples: Iterable[Example]) -> str:
    """Return a hash over examples; a run's manifest has one for validation and one for test."""
    return fingerprint([_values(example) for example in examples])


def _values(record: Example | Annotation) -> dict[str, object]:
    """Return the fields of a record by name; ``asdict`` also copies their values, which takes ten times as long."""
    return {one.name: getattr(record, one.name) for one in fields(record)}


def _describe(annotation: Annotation) -> dict[str, object]:
    """Return what a digest covers: a field that was added later counts only where it is set, so old digests hold."""
    return {key: value for key, value in _values(annotation).items() if value or key not in LATER_FIELDS}


def load_test(task: Task, needed: bool = True) -> list[Example]:
    """Return the examples of the test split that have a gold label.

    Raises:
        DataError: where they are needed and there are none.
    """
    there = "test" in task.splits()
    examples = [example for example in task.examples("test") if example.label is not None] if there else []
    if needed and not examples:
        what = "no example of the test split has a gold label"
        if not there:
            what = f"the data has no test split; it has {', '.join(task.splits())}"
        cut = " task.test_share=0.2 splits one off train;" * (not there and hasattr(task, "test_share"))
        if there and "validation" in task.splits() and isinstance(getattr(task, "source", None), HubSource):
            cut = " 'task.split_names={train: train, test: validation}' measures on validation;"
        raise DataError(
            f"task={task.name}: {what}, so nothing can be measured.{cut} labels=teacher trains without one, and "
            "measures agreement with the teacher."
        )
    return examples


def check_gold(task: Task) -> None:
    """Check that train has at least one gold label; called before a teacher is asked in vain.

    Raises:
        DataError: where it has none; with the columns of the data.
    """
    if "train" in task.splits() and all(example.label is None for example in task.examples("train")):
        _, row = next(task.source.rows("train")) if isinstance(task, RowsTask) else ("", {})
        columns = f" The columns are: {', '.join(map(str, row))}." if row else ""
        raise DataError(
            f"task={task.name}: no example of train has a gold label. Type labels=teacher to train on the teacher's "
            f"labels, or name the column of the gold labels (task.label).{columns}"
        )
