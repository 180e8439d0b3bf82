"""The settings of ``task=table``, and what can be wrong with them."""

import re
from dataclasses import dataclass, field

from dsbs.core.checks import option_faults
from dsbs.tasks.answers import READINGS
from dsbs.tasks.base import ACCURACY
from dsbs.tasks.cells import MISSING, fold
from dsbs.tasks.metrics import metric_faults
from dsbs.tasks.tables.columns import EMPTY_INPUTS, UNLABELLED
from dsbs.tasks.tables.gold import FORMS
from dsbs.tasks.tables.rows import RowsTask
from dsbs.tasks.tables.splits import SPLITS
from dsbs.tasks.tables.templates import template_columns

ANSWER_KINDS = ("auto", "free", "closed", "number", "text")


@dataclass
class TableSettings(RowsTask):
    r"""Keys of ``task=table``: the user's own rows, from files (``path``) or from the hub (``hub``).

    ``path`` is a file, a folder or a pattern such as ``data/*.parquet``. The names of files (or of the folders that
    they lie in) say which split they are: ``train``, ``test``, and ``validation``, also called ``valid``, ``val``,
    ``dev`` or ``eval``; one file without such a word is train.

    Attributes:
        input: a column, or a template over columns such as ``"{title}\n{body}"``.
        label: the column of the answer; null for data without answers.
        id: the column of the id; null: numbered by split and position.
        choices: the column with the closed answers of each row (a list, or text such as ``yes|no``), or several
            columns: ``"{A}|{B}|{C}"``; null: none.
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
        test_share: share of one file without splits that becomes test, drawn by id, equal inputs together; where some
            rows have no gold label, of those that have one; 0: no test split.
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

    def faults(self) -> list[str]:
        faults = super().faults()
        if (self.path is None) == (self.hub is None):
            faults.append(
                "task.path, task.hub: set one of the two: a file, folder or pattern, or the id of a data set."
            )
        if not template_columns(self.input):
            faults.append(f"task.input={self.input!r}: expected a column, or a template such as '{{title}} {{body}}'.")
        faults += option_faults(
            self,
            "task.",
            answer_kind=ANSWER_KINDS,
            reading=READINGS,
            label_form=("auto", *FORMS),
            unlabelled=UNLABELLED,
            empty_inputs=EMPTY_INPUTS,
        )
        if not all(isinstance(label, str) and label.strip() for label in self.labels):
            return [*faults, f"task.labels={self.labels}: expected texts that are not empty."]
        if len({fold(label) for label in self.labels}) != len(self.labels) or len(self.labels) == 1:
            faults.append(f"task.labels={self.labels}: expected at least two answers that differ in more than case.")
        if strange := [text for text in self.synonyms.values() if not isinstance(text, str)]:
            return [*faults, f"task.synonyms: expected a label for each word, got {strange[0]!r}."]
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
        faults += self._pattern_faults()
        if not 0 <= self.test_share < 1:
            faults.append(f"task.test_share={self.test_share}: expected from 0 to below 1.")
        for split in self.split_names:
            if split not in SPLITS:
                faults.append(f"task.split_names: {split!r} is none of {', '.join(SPLITS)}.")
        return faults

    def _pattern_faults(self) -> list[str]:
        try:
            several = self.label_pattern is not None and re.compile(self.label_pattern).groups > 1
        except re.error as error:
            return [f"task.label_pattern={self.label_pattern!r}: not a regular expression: {error}."]
        return [f"task.label_pattern={self.label_pattern!r}: expected at most one group, the label."] * several

    @property
    def _declared(self) -> bool:
        """Whether the settings list the answers."""
        return bool(self.labels or self.label_names or self.choices is not None)
