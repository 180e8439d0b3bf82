"""Survey of a label column in one pass over train: which answers there are, and how they are written."""

import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice

from dsbs.core.notices import tell_once
from dsbs.tasks.cells import fold, plain_number, visible
from dsbs.tasks.choices import read_list
from dsbs.tasks.columns import SOON, Columns
from dsbs.tasks.gold import FORMS, UnreadLabel, match, position_of
from dsbs.tasks.sources import Row, Source
from dsbs.tasks.templates import ABSENT, look_up

MOST_LABELS = 1000  # different labels at which the survey stops
# At most so many different labels are classes, if each occurs EACH times on average.
MOST_CLASSES, MOST_NUMBERS, EACH = 500, 12, 2
_SOLUTION = re.compile(r"####\s{0,9}-?[$0-9][0-9.,]{0,30}\s*\Z")
_NUMBER_BEHIND = """task.answer_kind=number 'task.label_pattern="#### *(.+)"'"""
_TRUTH = {"true", "false"}


@dataclass
class LabelSurvey:
    """The distinct labels of a column.

    Attributes:
        rows: number of rows with a label.
        spellings: label, folded (or its value, for a plain number) -> counts of its spellings.
        lists: number of labels that are lists written as text.
        solutions: number of labels that end in ``####`` and a number, as GSM8K's do.
        too_many: whether there are more than ``MOST_LABELS``, where counting stopped.
    """

    rows: int = 0
    spellings: dict[object, Counter[str]] = field(default_factory=dict)
    lists: int = 0
    solutions: int = 0
    too_many: bool = False

    def kind(self) -> str:
        """Return what the labels are: ``closed`` where few distinct ones recur, else ``number`` or ``free``.

        >>> survey = LabelSurvey()
        >>> for text in ("yes", "no", "yes", "no"): survey.add(text)
        >>> survey.kind()
        'closed'
        """
        numbers = all(not isinstance(key, str) for key in self.spellings)
        different = len(self.spellings if numbers else self.labels())
        few = 2 <= different <= (MOST_NUMBERS if numbers else MOST_CLASSES) and self.rows >= EACH * different
        return "closed" if few else "number" if numbers and self.rows else "free"

    def tell(self, column: str) -> str:
        """Return the result in words."""
        kind, merged = self.kind(), self.merged()
        found = {"closed": "closed answers", "number": "numbers", "free": "free answers"}[kind]
        hint = f" For the number behind ####: {_NUMBER_BEHIND}" * (kind == "free" and 2 * self.solutions > self.rows)
        others = f" ({merged:,} other spellings of them are the same)" * bool(merged and kind == "closed")
        return (
            f"{'more than ' * self.too_many}{len(self.spellings):,} different labels in {self.rows:,} rows of column "
            f"{column!r}{others}: {found} (task.answer_kind={kind}).{hint}"
        )

    def labels(self) -> tuple[str, ...]:
        """Return one spelling of each label, sorted: the most frequent one.

        Of a number it is the shortest, of true and false the one in lower case.

        >>> survey = LabelSurvey()
        >>> for text in ("Good", "good", "good", "bad"): survey.add(text)
        >>> survey.labels()
        ('bad', 'good')
        """
        folded = {key for key in self.spellings if isinstance(key, str)}
        if folded == _TRUTH and len(self.spellings) == len(_TRUTH):
            return tuple(sorted(_TRUTH))
        names = [self._spell(key, spellings) for key, spellings in self.spellings.items()]
        if folded and all(isinstance(key, str) or key == -1 for key in self.spellings):
            names = [name for name in names if plain_number(name) != -1]  # among names it stands for no label
        return tuple(sorted(names))

    @staticmethod
    def _spell(key: object, spellings: Counter[str]) -> str:
        if isinstance(key, str):
            return min(spellings, key=lambda text: (-spellings[text], text))
        shortest = min(spellings, key=lambda text: (len(text), text))
        whole, _, decimals = shortest.partition(".")
        return shortest if decimals.strip("0") else whole

    def merged(self) -> int:
        """Return the number of spellings that were merged with another one."""
        return sum(len(spellings) - 1 for spellings in self.spellings.values())

    def add(self, text: str) -> None:
        """Count one label."""
        text = visible(text)
        self.rows += 1
        self.solutions += _SOLUTION.search(text) is not None
        self.lists += text.startswith("[") and read_list(text) is not None
        number = plain_number(text)
        self.spellings.setdefault(fold(text) if number is None else number, Counter())[" ".join(text.split())] += 1


def survey_labels(rows: Iterable[tuple[str, Row]], columns: Columns) -> LabelSurvey:
    """Return the survey of the label column.

    Args:
        rows: pairs of place and row.
        columns: the column map; its ``gold`` has the words for missing labels, and the synonyms.
    """
    survey, gold = LabelSurvey(), columns.gold
    named = tuple(dict.fromkeys(gold.names.values()))
    for place, row in rows:
        raw = columns.label_text(row, place)
        if raw is None:
            continue
        with suppress(UnreadLabel):  # told when the rows are read
            if (text := gold.read(raw)) is not None:
                survey.add(match(text, named, gold.names) or text)
        if len(survey.spellings) > MOST_LABELS:
            survey.too_many = True
            break
    return survey


def find_form(rows: Iterable[tuple[str, Row]], columns: Columns) -> str:
    """Return how labels refer to the choices of their rows: the form (of ``FORMS``) that fits most rows.

    Rows that it does not fit are reported when they are read.

    Args:
        rows: pairs of place and row.
        columns: the column map.
    """
    read: Counter[str] = Counter()
    for place, row in rows:
        raw, choices = columns.label_text(row, place), columns.choices_of(row, place)
        if raw is None or choices is None:
            continue
        with suppress(UnreadLabel):
            text = columns.gold.read(raw)
            if text is not None and plain_number(text) != -1:
                texts, names = choices
                read["text"] += match(text, texts, columns.gold.names) is not None
                read.update(form for form in FORMS[1:] if position_of(text, form, len(texts), names) is not None)
    form = max(FORMS, key=lambda form: read[form])  # the first of equals
    if form == "position" and read["number"] == read["position"]:
        tell_once(
            f"The labels in column {columns.label!r} may count choices from 0 or from 1: taken from 0. "
            "If they count from 1: task.label_form=number."
        )
    return form


def first_row_without(column: str, source: Source) -> tuple[str, Row] | None:
    """Return place and row of the first row, where none of the first rows of any split has a column; else None.

    Args:
        column: its name, or a path.
        source: of the rows.
    """
    first: tuple[str, Row] | None = None
    for split in source.splits():
        for place, row in islice(source.rows(split), SOON):
            if look_up(row, column) is not ABSENT:
                return None
            first = first or (place, row)
    return first
