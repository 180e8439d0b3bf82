"""The user's own data: JSONL, CSV, Parquet or a data set on the hub, with a column map."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cached_property

from dsbs.core.errors import DataError
from dsbs.core.notices import tell_once
from dsbs.core.records import Example
from dsbs.tasks.answers import READINGS, ClosedAnswers, FreeAnswers, NumberAnswers, TextAnswers
from dsbs.tasks.base import ACCURACY, Answers
from dsbs.tasks.cells import MISSING, fold
from dsbs.tasks.columns import EMPTY_INPUTS, UNLABELLED, Columns
from dsbs.tasks.equal_inputs import find_leaders, place_of
from dsbs.tasks.files import find_files
from dsbs.tasks.gold import FORMS, Gold
from dsbs.tasks.metrics import load_metric, metric_faults
from dsbs.tasks.rows import RowsTask
from dsbs.tasks.sources import FileSource, Row, Source
from dsbs.tasks.splits import SPLITS
from dsbs.tasks.survey import MOST_LABELS, LabelSurvey, find_form, first_row_without, survey_labels
from dsbs.tasks.templates import no_column, template_columns

ANSWER_KINDS = ("auto", "free", "closed", "number", "text")
_LATER = ("label_pattern", "label_form", "missing", "unlabelled", "empty_inputs", "metric")


@dataclass
class TableTask(RowsTask):
    r"""Rows of the user's own, from files (``path``) or from the hub (``hub``).

    ``path`` is a file, a folder or a pattern such as ``data/*.parquet``. The names of files (or of the folders that
    they lie in) say which split they are: ``train``, ``test``, and ``validation``, also called ``valid``, ``val``,
    ``dev`` or ``eval``; one file without such a word is train.

    Attributes:
        input: a column, or a template over columns such as ``"{title}\n{body}"``.
        label: the column of the answer; null for data without answers.
        id: the column of the id; null: numbered by split and position.
        choices: the column with the closed answers of each row (a list, or text such as ``yes|no``); null: none.
        labels: the closed answers of the whole task; empty: none, or with ``answer_kind=closed`` those found in train.
        label_names: the names of the labels 0, 1, 2, ... where the data has numbers.
        synonyms: other spellings of an answer, in the data and in model outputs: ``{pos: positive}``.
        answer_kind: ``free`` text, ``closed``, ``number``, or ``auto``: closed for few distinct labels in train, number
            for numbers. Setting labels, their names or choices makes it closed. ``text``: whole texts, line breaks
            included.
        metric: how an answer is scored: ``accuracy``, ``rouge_l``, ``chrf``, or your own ``module:function``, called
            with the prediction and the gold answer, returning a number (higher is better).
        reading: how answers are parsed (see ``dsbs.tasks.answers``).
        list_choices: whether the input ends with the row's choices, listed by letter.
        label_pattern: a regular expression that extracts the label from the column's text: its group, or the whole
            match.
        label_form: how labels refer to ``choices``: ``text`` (the answer itself), ``letter``, ``position`` (from 0),
            ``number`` (from 1), or ``auto``: the form that fits all labels of train.
        missing: words for a missing value, in any case; None, NaN and whitespace always are, and -1 where labels are
            names.
        unlabelled: rows without a gold label: ``keep`` them, ``drop`` them, or ``stop``.
        empty_inputs: rows without an input: ``stop``, or ``drop`` them.
        test_share: share of one file without splits that becomes test, drawn by id, equal inputs together; 0: no test
            split.
        split_names: the hub's names of our splits, such as ``{train: train_r1}``; empty: by name.
    """

    kind: str = "table"
    name: str = "table"
    input: str = "input"
    label: str | None = "label"
    id: str | None = None
    choices: str | None = None
    labels: list[str] = field(default_factory=list)
    label_names: list[str] = field(default_factory=list)
    synonyms: dict[str, str] = field(default_factory=dict)
    answer_kind: str = "auto"
    metric: str = ACCURACY
    reading: str = "tolerant"
    list_choices: bool = True
    label_pattern: str | None = None
    label_form: str = "auto"
    missing: list[str] = field(default_factory=lambda: list(MISSING))
    unlabelled: str = "keep"
    empty_inputs: str = "stop"
    test_share: float = 0.0
    split_names: dict[str, str] = field(default_factory=dict)

    @property
    def answers(self) -> Answers:
        """How answers are read and compared."""
        if self._kind == "closed":
            return ClosedAnswers(self._labels, tuple(self.synonyms.items()), self.reading)
        if self._kind == "text":
            return TextAnswers()
        return NumberAnswers(self.reading) if self._kind == "number" else FreeAnswers()

    def score(self, prediction: str | None, gold: str) -> float:
        """Return how good an answer is by ``metric``; no answer is worth 0."""
        if self.metric == ACCURACY:
            return super().score(prediction, gold)
        return load_metric(self.metric)(prediction, gold) if prediction is not None else 0.0

    @property
    def columns(self) -> Columns:
        """The column map."""
        form = self._form if self.choices is not None else "text"
        labels = None if self.choices is not None else self._labels
        return self._columns(replace(self._plain_gold, labels=labels, form=form, number=self._kind == "number"))

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = super().faults()
        if (self.path is None) == (self.hub is None):
            faults.append(
                "task.path, task.hub: set one of the two: a file, folder or pattern, or the id of a data set."
            )
        if not template_columns(self.input):
            faults.append(f"task.input={self.input!r}: expected a column, or a template such as '{{title}} {{body}}'.")
        if self.answer_kind not in ANSWER_KINDS:
            faults.append(f"task.answer_kind={self.answer_kind}: expected one of {', '.join(ANSWER_KINDS)}.")
        if self.reading not in READINGS:
            faults.append(f"task.reading={self.reading}: expected one of {', '.join(READINGS)}.")
        if len(set(self.labels)) != len(self.labels) or len(self.labels) == 1:
            faults.append(f"task.labels={self.labels}: expected at least two different answers.")
        faults += metric_faults(self.metric)
        if self.answer_kind in ("number", "text") and self._declared:
            faults.append(
                f"task.answer_kind={self.answer_kind}: cannot be combined with task.labels, label_names, choices."
            )
        if self.labels and self.choices:
            faults.append("task.labels, task.choices: set only one of the two.")
        for key, names in (("label_names", self.label_names), ("synonyms", self.synonyms.values())):
            strange = sorted(set(names) - set(self.labels)) if self.labels else []
            if strange:
                faults.append(f"task.{key}: {', '.join(strange)} is not in task.labels.")
        faults += self._gold_faults()
        if not 0 <= self.test_share < 1:
            faults.append(f"task.test_share={self.test_share}: expected from 0 to below 1.")
        for split in self.split_names:
            if split not in SPLITS:
                faults.append(f"task.split_names: {split!r} is none of {', '.join(SPLITS)}.")
        return faults

    def _gold_faults(self) -> list[str]:
        faults = []
        known_values = {"label_form": ("auto", *FORMS), "unlabelled": UNLABELLED, "empty_inputs": EMPTY_INPUTS}
        for key, known in known_values.items():
            if getattr(self, key) not in known:
                faults.append(f"task.{key}={getattr(self, key)}: expected one of {', '.join(known)}.")
        try:
            if self.label_pattern is not None and re.compile(self.label_pattern).groups > 1:
                faults.append(f"task.label_pattern={self.label_pattern!r}: expected at most one group, the label.")
        except re.error as error:
            faults.append(f"task.label_pattern={self.label_pattern!r}: not a regular expression: {error}.")
        return faults

    def build_source(self) -> Source:
        """Return the files, or the hub's data set."""
        if self.path is None:
            return self.hub_source(self.split_names)
        return FileSource(find_files(self.path))

    def splits(self) -> tuple[str, ...]:
        """Return the splits of the source; one file without splits is train, and test where ``test_share`` says so."""
        splits = super().splits()
        return (*splits, "test") if self._cuts_test else splits

    def pairs(self, split: str) -> Iterator[tuple[Example, str, Row]]:
        """Yield the examples of a split; a cut-off test split is drawn by id, and equal inputs stay together."""
        if not self._cuts_test or split not in ("train", "test"):
            yield from super().pairs(split)
            return
        empty = True
        for example, place, row in super().pairs("train"):
            if (place_of(example, self._leaders) < self.test_share) == (split == "test"):
                empty = False
                yield example, place, row
        if empty:
            raise DataError(f"task.test_share={self.test_share} leaves no rows for {split}; choose another share.")

    def identity(self) -> dict[str, object]:
        """Return the column map and a hash of the data."""
        places = ("path", "hub", "hub_config", "revision", "split_names")  # the content stands for them
        no_examples = ("name", "validation_share", "validation_fraction", *places)
        settings = {field.name: getattr(self, field.name) for field in fields(self) if field.name not in no_examples}
        plain = TableTask()  # settings that came later count where they are set, so that older runs keep their names
        settings = {key: value for key, value in settings.items() if key not in _LATER or value != getattr(plain, key)}
        if self.answer_kind == "auto":  # as the same data was called before there was auto
            settings["answer_kind"] = "free" if self._declared else self._kind
        return settings | self.content

    def settled(self) -> "TableTask":
        """Return the task with the labels that were found in train, and how they point at choices."""
        labels = [*self.labels] if self.label_names or self.choices is not None else [*(self._labels or ())]
        return replace(self, answer_kind=self._kind, labels=labels, label_form=self.columns.gold.form)

    @property
    def _declared(self) -> bool:
        """Whether the settings say which answers there are."""
        return bool(self.labels or self.label_names or self.choices is not None)

    @property
    def _kind(self) -> str:
        """What the answers are: closed, number or free."""
        if self._declared:
            return "closed"
        if self.answer_kind != "auto" or self.label is None:
            return "free" if self.answer_kind == "auto" else self.answer_kind
        if self._classes:
            return "closed"
        return self._survey.kind()

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
        """How labels are read before it is known which there are."""
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
        """The label's column. Rows and splits may lack it, but not all where the user has named it.

        Raises:
            DataError: with the columns that are there.
        """
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
        if self.label_form != "auto" or self.label is None:
            return "text" if self.label_form == "auto" else self.label_form
        return find_form(self._first_rows(), self._columns(self._plain_gold))

    def _first_rows(self) -> Iterator[tuple[str, Row]]:
        """Yield the rows that decide what is left to be found: those of train, or of what there is."""
        splits = self.source.splits()
        return self.source.rows("train" if "train" in splits else splits[0])

    @property
    def _cuts_test(self) -> bool:
        return self.test_share > 0 and "test" not in self.source.splits()

    @cached_property
    def _leaders(self) -> dict[bytes, str]:
        return find_leaders(lambda: (example for example, _, _ in RowsTask.pairs(self, "train")))

    @cached_property
    def _labels(self) -> tuple[str, ...] | None:
        """The closed answers of the whole task: those given, or those found in train, sorted."""
        given = [*self.labels] or [*self.label_names]
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
                f"task.answer_kind=closed: more than {MOST_LABELS} different labels in column {self.label!r}; "
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
        return found

    @cached_property
    def _survey(self) -> LabelSurvey:
        """What the label column of train holds; told where it decides something."""
        survey = survey_labels(self._first_rows(), self._columns(self._plain_gold))
        if survey.lists * 2 > survey.rows:
            raise DataError(
                f"The labels in column {self.label!r} are lists written as text. An example has one label: "
                f"task.label={self.label}.0 takes the first, task.answer_kind=free the whole text."
            )
        if survey.rows and self.answer_kind == "auto":
            tell_once(survey.tell(str(self.label)))
        return survey
