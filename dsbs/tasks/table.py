"""The user's own data: JSONL, CSV, Parquet or a data set on the hub, with a column map."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.core.terminal import log_once
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers, NumberAnswers, TextAnswers
from dsbs.tasks.base import ACCURACY, Answers
from dsbs.tasks.cells import fold
from dsbs.tasks.equal_inputs import find_leaders, input_key, place_of
from dsbs.tasks.metrics import load_metric
from dsbs.tasks.tables.columns import Columns
from dsbs.tasks.tables.files import find_files, is_saved
from dsbs.tasks.tables.gold import Gold
from dsbs.tasks.tables.hub import HubSource
from dsbs.tasks.tables.rows import PLACES, RowsTask
from dsbs.tasks.tables.settings import TableSettings
from dsbs.tasks.tables.sources import FileSource, Row, Source
from dsbs.tasks.tables.survey import MAX_LABELS, LabelSurvey, find_form, first_row_without, survey_labels
from dsbs.tasks.tables.templates import no_column

_LATER = ("label_pattern", "label_form", "missing", "unlabelled", "empty_inputs", "metric")


@dataclass
class TableTask(TableSettings):
    """The user's own rows; what the settings leave open (``auto``) is found in the rows of train."""

    @property
    def answers(self) -> Answers:
        if self._kind == "closed":
            return ClosedAnswers(self._labels, tuple(self.synonyms.items()), self.reading)
        if self._kind == "text":
            return TextAnswers()
        return NumberAnswers(self.reading) if self._kind == "number" else FreeAnswers()

    def score(self, prediction: str | None, gold: str) -> float:
        """Return the score of an answer by ``metric``; no answer scores 0."""
        if self.metric == ACCURACY:
            return super().score(prediction, gold)
        return load_metric(self.metric)(prediction, gold) if prediction is not None else 0.0

    @property
    def columns(self) -> Columns:
        form = self._form if self.choices is not None else "text"
        labels = None if self.choices is not None else self._labels
        return self._columns(replace(self._plain_gold, labels=labels, form=form, number=self._kind == "number"))

    def build_source(self) -> Source:
        if self.path is None:
            return self.hub_source(self.split_names)
        if is_saved(self.path):
            return HubSource(self.path, split_names=self.split_names)
        return FileSource(find_files(self.path))

    def splits(self) -> tuple[str, ...]:
        """Return the splits of the source, and test where ``test_share`` cuts one off train."""
        splits = super().splits()
        return (*splits, "test") if self._cuts_test else splits

    def pairs(self, split: str) -> Iterator[tuple[Example, str, Row]]:
        """Yield the examples of a split, each with its place and its row; errors are those of ``RowsTask.pairs``.

        A test split that is cut off train is drawn by id, and equal inputs stay together. What has no gold label cannot
        be measured on, and is left to train where other rows have one.
        """
        if not self._cuts_test or split not in ("train", "test"):
            yield from super().pairs(split)
            return
        empty = True
        for example, place, row in super().pairs("train"):
            if self._is_cut(example) == (split == "test"):
                empty = False
                yield example, place, row
        if empty:
            raise DataError(
                f"task.test_share={self.test_share} leaves no rows for {split}; choose another share. Rows with equal "
                "inputs stay together."
            )

    def identity(self) -> dict[str, object]:
        """Return the column map and a hash of the data."""
        no_examples = ("name", "validation_share", "validation_fraction", *PLACES)
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in no_examples}
        plain = TableTask()  # settings that came later count where they are set, so that older runs keep their names
        settings = {key: value for key, value in settings.items() if key not in _LATER or value != getattr(plain, key)}
        if self.answer_kind == "auto":  # as the same data was called before there was auto
            settings["answer_kind"] = "free" if self._declared else self._kind
        return settings | self.content

    def settled(self) -> "TableTask":
        """Return the task with the answer kind, labels, their names and form that were found in train as settings."""
        labels = [] if self.choices is not None else [*(self._labels or ())]
        named = self._classes if self.label is not None and {*self._classes} <= {*labels} else []
        names = self.label_names or named  # of 0, 1, 2, ..., as other data of the task may have them
        form = self.columns.gold.form
        return replace(self, answer_kind=self._kind, labels=labels, label_names=names, label_form=form)

    @property
    def _kind(self) -> str:
        """What the answers are: closed, number, text or free."""
        if self._declared:
            return "closed"
        if self.answer_kind != "auto":
            return self.answer_kind
        if self.label is None:
            return "free"
        return "closed" if self._classes else self._survey.kind()

    @property
    def _names(self) -> dict[str, str]:
        names = {str(number): name for number, name in enumerate(self.label_names)}
        if len(self.label_names) == 2:
            names |= {"false": self.label_names[0], "true": self.label_names[1]}
        if self.label_names and len(self.label_names) == len(self._classes):
            names |= dict(zip(self._classes, self.label_names, strict=True))  # the data's own names of 0, 1, 2, ...
        return names | self.synonyms

    @property
    def _plain_gold(self) -> Gold:
        """How labels are parsed before it is known which there are."""
        missing = frozenset(fold(word) for word in self.missing)
        return Gold(names=self._names, pattern=self.label_pattern, missing=missing)

    def _columns(self, gold: Gold) -> Columns:
        return Columns(
            self.input,
            self._label,
            self.id,
            self.choices,
            gold,
            list_choices=self.list_choices,
            label_optional=True,
            unlabelled=self.unlabelled,
            empty_inputs=self.empty_inputs,
        )

    @property
    def _label(self) -> str | None:
        """The column of the label. Some rows and splits may lack it, but not all, where the user named it."""
        if self.label not in (None, TableTask.label) and self._row_without_label is not None:
            place, row = self._row_without_label
            raise no_column(row, place, str(self.label), "label")
        return self.label

    @cached_property
    def _row_without_label(self) -> tuple[str, Row] | None:
        """The first row with its place, where none of the first rows of any split has the label's column."""
        return first_row_without(str(self.label), self.source)

    @cached_property
    def _classes(self) -> list[str]:
        """The names of the label's classes, as far as the data itself declares them."""
        return self.source.classes(self.label) if self.label is not None else []

    @cached_property
    def _form(self) -> str:
        if self.label_form != "auto":
            return self.label_form
        if self.label is None:
            return "text"
        return find_form(self._first_rows(), self._columns(self._plain_gold))

    def _first_rows(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows that decide what is left to be found: those of train, or of what there is."""
        splits = self.source.splits()
        return self.source.rows("train" if "train" in splits else splits[0])

    @property
    def _cuts_test(self) -> bool:
        return self.test_share > 0 and "test" not in self.source.splits()

    def _is_cut(self, example: Example) -> bool:
        """Return whether an example is of the test split that is cut off train."""
        if place_of(example, self._leaders) >= self.test_share:
            return False
        return example.label is not None or not self._labelled or input_key(example.input) in self._labelled

    @cached_property
    def _labelled(self) -> frozenset[bytes]:
        """The ``input_key`` of each row of train with a gold label; empty where all or none have one."""
        if not self.counts["train"].without_label:  # counted for ``_leaders``
            return frozenset()
        rows = RowsTask.pairs(self, "train")
        return frozenset(input_key(example.input) for example, _, _ in rows if example.label is not None)

    @cached_property
    def _leaders(self) -> dict[bytes, str]:
        return find_leaders(lambda: (example for example, _, _ in RowsTask.pairs(self, "train")))

    @cached_property
    def _labels(self) -> tuple[str, ...] | None:
        """The closed answers of the whole task: those given, or those found in train, sorted."""
        given = [*self.labels] or [*self.label_names]
        if self.label_names and not self.labels and self.label is not None and not self._classes:
            self._log_unused_ends()
        if given or self.choices is not None or self._kind != "closed":
            return tuple(dict.fromkeys(given)) or None
        if self.label is None:
            raise DataError("task.answer_kind=closed with task.label=null: list the answers in task.labels.")
        if self._classes:
            return tuple(sorted(self._classes))
        survey = self._survey
        found = survey.labels()
        if survey.too_many:
            raise DataError(
                f"task.answer_kind=closed: more than {MAX_LABELS} different labels in column {self.label!r}; "
                "use task.answer_kind=free or number for such data."
            )
        if not found and self._row_without_label is not None:
            place, row = self._row_without_label
            raise no_column(row, place, self.label, "label")
        if len(found) < 2:
            raise DataError(
                f"task.answer_kind=closed: found {len(found)} different labels in train (column {self.label!r}); "
                "list the answers in task.labels, or set task.answer_kind=free."
            )
        if advice := survey.advise():
            log_once(advice)
        return found

    def _log_unused_ends(self) -> None:
        """Tell which end of ``label_names`` no row has: labels that count from 1 or from -1 are taken wrongly."""
        for place in self._survey.ends_without_rows(self.label_names):
            log_once(
                f"No label in column {self.label!r} is {place} ({self.label_names[place]!r}). task.label_names names "
                f"0, 1, 2, ...: for labels that count from elsewhere, type task.synonyms={{NUMBER: NAME, ...}}."
            )

    @cached_property
    def _survey(self) -> LabelSurvey:
        """The survey of train's label column; logged where ``answer_kind=auto`` depends on it."""
        survey = survey_labels(self._first_rows(), self._columns(self._plain_gold))
        if survey.lists * 2 > survey.rows:
            raise DataError(
                f"The labels in column {self.label!r} are lists written as text. An example has one label: "
                f"task.label={self.label}.0 takes the first, task.answer_kind=free the whole text."
            )
        if survey.rows and self.answer_kind == "auto" and not self._declared:
            log_once(survey.describe(str(self.label), self.metric))
        return survey


@dataclass
class RecordedTask(TableTask):
    """Requests of an application to its LLM, as ``dsbs.traffic data=FOLDER`` writes them: without gold answers.

    Attributes:
        completions: the column of the LLM's own answers, which ``teacher=recorded`` replays.
    """

    kind: str = "recorded"
    name: str = "recorded"
    label: str | None = None
    id: str | None = "id"
    completions: str = "completion"
