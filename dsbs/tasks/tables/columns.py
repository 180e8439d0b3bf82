"""From rows to examples: the column map, and the checks of every row."""

import shlex
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from dsbs.core.command_line import quoted
from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.core.units import pluralize
from dsbs.core.untrusted import MAX_INPUT, MAX_LABEL, storable
from dsbs.tasks.answers import with_choices
from dsbs.tasks.cells import is_missing, to_text
from dsbs.tasks.tables.choices import RowChoices, find_choices
from dsbs.tasks.tables.faults import RowFaults
from dsbs.tasks.tables.gold import FORMS, Gold, UnreadLabel
from dsbs.tasks.tables.sources import Row
from dsbs.tasks.tables.templates import ABSENT, fill, look_up, no_column, require

_NO_ROW: Row = {}
SOON = 1000  # rows after which a column that none of them has is reported
UNLABELLED = ("keep", "drop", "stop")
EMPTY_INPUTS = ("stop", "drop")
MAX_ID = 1000  # characters
_ALSO_NAMES = ("none", "na", "null")  # words for a missing value that classes are called by, too


@dataclass
class RowCounts:
    """Counts over the rows of a split.

    Attributes:
        without_label: rows without a gold label.
        words: the words for a missing value in their label cells, with counts.
        without_input: rows that were dropped because they have no input.
        left_out: rows that were dropped because they have no label.
        replaced: inputs in which a lone surrogate was replaced.
    """

    rows: int = 0
    without_label: int = 0
    words: Counter[str] = field(default_factory=Counter)
    without_input: int = 0
    left_out: int = 0
    replaced: int = 0

    @property
    def examples(self) -> int:
        """Number of rows that became examples."""
        return self.rows - self.without_input - self.left_out

    def noted(self) -> dict[str, int]:
        """Return the counts that are not 0 by name, with ``rows``; empty where there is nothing to report."""
        names = ("without_label", "left_out", "without_input", "replaced")
        found = {name: int(getattr(self, name)) for name in names if getattr(self, name)}
        return {"rows": self.rows, **found} if found else {}

    def describe(self) -> str:
        """Return the same in words; empty where there is nothing to report.

        >>> RowCounts(rows=9, without_label=2, words=Counter(NaN=1)).describe()
        "2 rows without a label (1 'NaN')"
        """
        words = ", ".join(f"{count:,} {word!r}" for word, count in self.words.most_common(5))
        if any(word.lower() in _ALSO_NAMES for word in self.words):
            words += "; if that is a label: task.missing=[]"
        words = f" ({words})" if words else ""
        counted = (
            (self.without_label - self.left_out, "row", f"without a label{words}"),
            (self.left_out, "row", f"without a label{words}: dropped"),
            (self.without_input, "row", "without an input: dropped"),
            (self.replaced, "input", "in which a lone surrogate was replaced"),
        )
        return ", ".join(f"{pluralize(count, noun)} {what}" for count, noun, what in counted if count)


@dataclass(frozen=True)
class Columns:
    """The column map: from which columns an example is built. Other keys are those of ``TableSettings``.

    Attributes:
        input: a column, or a template such as ``{title}\\n{body}``; only ``{column}`` has a meaning in it.
        id: the column of the id, or None: the id is made of split and position.
        choices: the column with the closed answers of each example, or None. ``a.b`` reaches into a column of objects,
            ``{a}|{b}`` names several columns.
        gold: how gold labels are parsed.
        label_optional: whether the rows may lack the label's column altogether.
    """

    input: str
    label: str | None = "label"
    id: str | None = None
    choices: str | None = None
    gold: Gold = field(default_factory=Gold)
    list_choices: bool = True
    label_optional: bool = False
    unlabelled: str = "keep"
    empty_inputs: str = "stop"

    def examples(self, rows: Iterable[tuple[str, Row]], split: str) -> Iterator[Example]:
        """Yield an example for each row; arguments and errors are those of ``pairs``."""
        return (example for example, _, _ in self.pairs(rows, split))

    def pairs(
        self, rows: Iterable[tuple[str, Row]], split: str, counts: RowCounts | None = None
    ) -> Iterator[tuple[Example, str, Row]]:
        """Yield an example for each row, with the place and the row itself.

        Args:
            rows: pairs of place and row.
            counts: filled while the rows are read; or None.

        Raises:
            DataError: for a missing column, cells of the wrong type, a duplicate id; and, after the last row, one error
                for all labels that are not answers, and all rows without input or label where that is a fault.
        """
        ids: set[str] = set()
        faults = RowFaults(split)
        counts = RowCounts() if counts is None else counts
        first_place, first_row = split, _NO_ROW
        for position, (place, row) in enumerate(rows):
            if not position:
                first_place, first_row = place, row
            counts.rows += 1
            example = self._example(row, place, f"{split}-{position}", faults, counts)
            if counts.rows == SOON:
                self._check_columns(first_row, first_place, faults, counts)
            if example is None:
                continue
            if self.id is not None:
                if example.id in ids:
                    raise DataError(
                        f"{place}: duplicate id {example.id!r} in {split} (column {self.id!r}); task.id=null numbers "
                        "the rows instead."
                    )
                ids.add(example.id)
            if not faults:
                yield example, place, row
        self._check_columns(first_row, first_place, faults, counts)
        if faults:
            raise DataError(faults.describe(self.input, self._expected(), self._advise(faults)))

    def label_text(self, row: Row, place: str) -> str | None:
        """Return a row's label cell as text; None where it is empty, or the row lacks the column."""
        if self.label is None:
            return None
        value = look_up(row, self.label)
        if value is ABSENT or is_missing(value, ()):
            return None
        return _check_length(to_text(value, place, self.label, "task.label"), MAX_LABEL, place, "a label")

    def choices_of(self, row: Row, place: str) -> RowChoices | None:
        """Return the closed answers of a row, or None where rows have none of their own."""
        return None if self.choices is None else find_choices(row, self.choices, place)

    def _example(self, row: Row, place: str, id: str, faults: RowFaults, counts: RowCounts) -> Example | None:
        text = storable(raw := fill(self.input, row, place, self.gold.missing, faults.absent).strip())
        counts.replaced += text != raw
        _check_length(text, MAX_INPUT, place, "an input")
        if not text:
            counts.without_input += 1
            if self.empty_inputs != "drop":
                faults.note_empty_input(place)
            return None
        choices = self.choices_of(row, place)
        if choices is not None and self.list_choices:
            text = with_choices(text, choices.texts)
        label = self._gold(row, place, choices, faults, counts)
        if label is None and self.label is not None and self.unlabelled == "drop":
            counts.left_out += 1
            return None
        return Example(self._id(row, place, id), text, label, choices.texts if choices else self.gold.labels)

    def _id(self, row: Row, place: str, default: str) -> str:
        if self.id is None:
            return default
        value = require(row, self.id, place, "id")
        id = "" if is_missing(value, ()) else storable(to_text(value, place, self.id, "task.id")).strip()
        _check_length(id, MAX_ID, place, "an id")
        if not id:
            raise DataError(f"{place}: the id is empty (column {self.id!r}); task.id=null numbers the rows instead.")
        return id

    def _gold(
        self, row: Row, place: str, choices: RowChoices | None, faults: RowFaults, counts: RowCounts
    ) -> str | None:
        if self.label is None:
            return None
        raw = self.label_text(row, place)
        try:
            label = None if raw is None else self.gold.read(raw, *(choices or ()))
        except UnreadLabel as error:
            faults.note_unread(str(error), place)
            return None
        if label is None:
            counts.without_label += 1
            faults.absent["label", self.label] += look_up(row, self.label) is ABSENT
            if raw is not None and raw.strip():
                counts.words[raw.strip()] += 1
            if self.unlabelled == "stop":
                faults.note_unlabelled(place)
        return label

    def _check_columns(self, row: Row, place: str, faults: RowFaults, counts: RowCounts) -> None:
        """Refuse a column that none of the rows has; one that some lack is empty there, as JSON writers leave it."""
        for (key, column), count in faults.absent.items():
            if count == counts.rows and not (key == "label" and self.label_optional):
                raise no_column(row, place, column, key)

    def _expected(self) -> str:
        if self.choices is not None:
            return {"text": "one of the row's choices", "letter": "a letter of the row's choices"}.get(
                self.gold.form, f"a {self.gold.form} among the row's choices"
            )
        if self.gold.pattern is not None and self.gold.labels is None:
            return f"what task.label_pattern={self.gold.pattern!r} finds" + ", a number" * self.gold.number
        return "a number" if self.gold.number else f"one of {', '.join(self.gold.labels or ())}"

    def _advise(self, faults: RowFaults) -> str:
        """Return what to type about labels that are no answer."""
        if self.choices is not None:
            return (
                f"Fix the data, map them to choices ({faults.synonyms()}), or declare how labels refer to choices: "
                f"task.label_form={' | '.join(FORMS)}."
            )
        if self.gold.number:
            if faults.decimal_commas:
                return "Write these numbers with a decimal point (1,5 as 1.5), or set task.answer_kind=free."
            pattern = faults.pattern()
            take = f"extract the number from the text with {pattern}" if pattern else "set task.label_pattern"
            return f"Fix the data, {take}, or set task.answer_kind=free."
        numbered = [name for name in self.gold.names if name.isdecimal()]
        if numbered and faults.unread.keys() == {str(len(numbered))}:  # 0 to 4 are named, and there is a 5
            names = [quoted(self.gold.names[name]) for name in numbered]
            counted = ", ".join(f'"{number}": {name}' for number, name in enumerate(names, 1))
            typed = shlex.join([f"task.labels=[{', '.join(names)}]", f"task.synonyms={{{counted}}}"])
            return (
                f"task.label_names names 0, 1, 2, ...; for labels that count from 1, type in its place: {typed}\n"
                f"Otherwise fix the data, or declare them missing ({faults.missing()})."
            )
        return (
            f"Fix the data, map them to labels ({faults.synonyms()}), declare them missing "
            f"({faults.missing()}), add them to task.labels, or set task.answer_kind=free."
        )


def _check_length(text: str, most: int, place: str, what: str) -> str:
    if len(text) > most:
        raise DataError(f"{place}: {what} of {len(text):,} characters; expected at most {most:,}.")
    return text
