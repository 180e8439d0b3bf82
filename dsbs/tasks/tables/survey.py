"""Survey of a label column in one pass over train: which answers there are, and how they are written."""

import re
import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from dsbs.core.command_line import quoted
from dsbs.core.terminal import log_once
from dsbs.core.units import pluralize
from dsbs.tasks.answers.shapes import bare, in_ascii_signs
from dsbs.tasks.base import ACCURACY
from dsbs.tasks.cells import fold, is_sign, plain_number, seen, stands_for_none
from dsbs.tasks.tables.choices import read_list
from dsbs.tasks.tables.columns import SOON, Columns
from dsbs.tasks.tables.gold import FORMS, UnreadLabel, match, position_of
from dsbs.tasks.tables.sources import Row, Source
from dsbs.tasks.tables.templates import ABSENT, look_up

MAX_LABELS = 1000  # different labels at which the survey stops
# At most so many different labels are classes, if each occurs EACH times on average.
MAX_CLASSES, MAX_NUMBERS, EACH = 500, 12, 2
_SOLUTION = re.compile(r"####\s{0,9}-?[$0-9][0-9.,]{0,30}\s*\Z")
_NUMBER_BEHIND = """task.answer_kind=number 'task.label_pattern="#### *(.+)"'"""
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}\.[0-9]{3}")
_COMMA_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(?:,[0-9]{3}){1,5}(?:\.[0-9]{1,15})?")
_DECIMAL_COMMA = re.compile(r"-?[0-9]{1,15},[0-9]{1,15}")
_TRUTH = {"true", "false"}
_JOINT = re.compile(r"(?<=\w)[_-](?=\w)")  # and not in the grade A-
LONG = 8  # words of an answer, on average, above which few equal the gold one
_SHOWN, _MAX_SHOWN = 5, 20  # labels, and characters of one
_FORMS_IN_WORDS = {
    "text": "the answers themselves", "letter": "letters", "position": "counted from 0", "number": "counted from 1"
}  # fmt: skip


@dataclass
class LabelSurvey:
    """The distinct labels of a column.

    Attributes:
        spellings: label, folded (or its value, for a plain number) -> counts of its spellings.
        lists: number of labels that are lists written as text.
        solutions: number of labels that end in ``####`` and a number, as GSM8K's do.
        too_many: whether there are more than ``MAX_LABELS``, where counting stopped.
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
        few = 2 <= different <= (MAX_NUMBERS if numbers else MAX_CLASSES) and self.rows >= EACH * different
        return "closed" if few else "number" if numbers and self.rows else "free"

    def describe(self, column: str, metric: str = ACCURACY) -> str:
        """Return the result in words.

        Args:
            metric: of the task.
        """
        kind, merged = self.kind(), self.merged()
        labels = self.labels()
        names = [name if len(name) <= _MAX_SHOWN else f"{name[:_MAX_SHOWN]}..." for name in labels[:_SHOWN]]
        shown = ", ".join(map(repr, names)) + ", ..." * (len(labels) > _SHOWN)
        found = {"closed": f"closed answers {shown}", "number": "numbers", "free": "free answers"}[kind]
        hint = self._hint(kind, labels, shown) or self._hint_metric(kind, metric)
        others = f" ({pluralize(merged, 'other spelling')} merged)" * bool(merged and kind == "closed")
        return (
            f"{'more than ' * self.too_many}{pluralize(len(labels), 'different label')} in {self.rows:,} rows of "
            f"column {column!r}{others}: {found} (task.answer_kind={kind}).{hint}"
        )

    def _hint(self, kind: str, labels: Sequence[str], shown: str) -> str:
        """Return what to do where the labels may be something else than they are taken for; empty where all is well."""
        if len(labels) == 1 < self.rows:
            return f" All are {shown}: there is nothing to tell apart. Other answers: task.labels=[...]"
        others = [name for name in labels if plain_number(name) is None]
        if kind == "free" and others and all(map(_COMMA_THOUSANDS.fullmatch, others)):
            return f" If {others[0]!r} is {others[0].replace(',', '')}: task.answer_kind=number"
        if kind == "free" and all(map(_DECIMAL_COMMA.fullmatch, others)):
            return " As numbers they are read with a decimal point: write 1,5 as 1.5."
        if kind == "free" and 2 * self.solutions > self.rows:
            return f" For the number behind ####: {_NUMBER_BEHIND}"
        if kind == "number" and (pointed := self._pointed()):
            return f" {pointed!r} is {float(pointed):g}: if points part thousands, write these numbers without them."
        return ""

    def _hint_metric(self, kind: str, metric: str) -> str:
        """Return what to type where answers are such that hardly one will equal the gold one."""
        if metric != ACCURACY or not self.spellings:
            return ""
        words = sum(len(str(key).split()) for key in self.spellings) / len(self.spellings)
        if kind == "free" and words > LONG:
            return " Each is right or wrong as a whole; for long ones: task.answer_kind=text task.metric=rouge_l"
        decimals = sum(isinstance(key, Decimal) and key % 1 != 0 for key in self.spellings)
        if kind == "number" and 2 * decimals > len(self.spellings):
            return " Each is right or wrong; for a score of how close they are: task.metric=MODULE:FUNCTION"
        return ""

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
        odd = [name for name in names if is_sign(name) or plain_number(name) == -1]
        sound = [name for name in names if name not in odd]
        return tuple(sorted(sound + [name for name in odd if not sound or not stands_for_none(name, sound)]))

    def _pointed(self) -> str:
        """Return a label such as 1.200 where all with a point have three decimals, others none; or an empty text."""
        names = [min(spellings) for spellings in self.spellings.values()]
        pointed = [name for name in names if "." in name]
        alike = all(_THOUSANDS.fullmatch(name) for name in pointed)
        return min(pointed) if pointed and alike and len(pointed) < len(names) else ""

    def look_alike(self) -> list[list[str]]:
        """Return the names that differ in no more than punctuation, accents, blanks, ``_`` and ``-``, together.

        The most frequent comes first.

        >>> survey = LabelSurvey()
        >>> for text in ("card_arrival", "card arrival", "card", "1", "-1"): survey.add(text)
        >>> survey.look_alike()
        [['card arrival', 'card_arrival']]
        """
        groups: dict[str, list[str]] = {}
        for label in sorted(self.labels(), key=lambda label: -self.spellings[_key(label)].total()):
            groups.setdefault(bare(_JOINT.sub(" ", in_ascii_signs(label))), []).append(label)
        return [labels for labels in groups.values() if len(labels) > 1 and plain_number(labels[0]) is None]

    def advise(self) -> str:
        """Return what to do about labels that look alike, or that may stand for none; empty where there are none."""
        groups = self.look_alike()
        if "-1" in self.labels():
            rows = pluralize(self.spellings[_key("-1")].total(), "row")
            return f"-1 is taken for a label ({rows}). If it stands for none: 'task.missing=[nan, \"-1\"]'"
        if not groups:
            return ""
        alike = "; ".join(" and ".join(map(repr, labels)) for labels in groups[:_SHOWN])
        typed = ", ".join(f"{quoted(other)}: {quoted(one)}" for one, *others in groups[:_SHOWN] for other in others)
        return f"These look alike, but are different labels: {alike}. To join them: " + shlex.quote(
            f"task.synonyms={{{typed}}}"
        )

    def ends_without_rows(self, names: Sequence[str]) -> list[int]:
        """Return the numbers of the first and the last of some names of 0, 1, 2, ..., as far as no row has them."""
        ends = (0, len(names) - 1) if self.rows and not self.too_many else ()
        return [place for place in ends if _key(names[place]) not in self.spellings]

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
        text = seen(text)
        self.rows += 1
        self.solutions += _SOLUTION.search(text) is not None
        self.lists += text.startswith("[") and read_list(text) is not None
        self.spellings.setdefault(_key(text), Counter())[" ".join(text.split())] += 1


def _key(label: str) -> object:
    number = plain_number(label)
    return fold(label) if number is None else number


def survey_labels(rows: Iterable[tuple[str, Row]], columns: Columns) -> LabelSurvey:
    """Return the survey of the label column.

    Args:
        columns: the column map; its ``gold`` has the words for missing labels, and the synonyms.
    """
    survey, gold = LabelSurvey(), columns.gold
    named = tuple(dict.fromkeys(gold.names.values()))
    for place, row in rows:
        raw = columns.label_text(row, place)
        if raw is None:
            continue
        with suppress(UnreadLabel):  # reported when the rows are read
            if (text := gold.read(raw)) is not None:
                survey.add(match(text, named, gold.names) or text)
        if len(survey.spellings) > MAX_LABELS:
            survey.too_many = True
            break
    return survey


def find_form(rows: Iterable[tuple[str, Row]], columns: Columns) -> str:
    """Return how labels refer to the choices of their rows: the form (of ``FORMS``) that fits most rows.

    Rows that it does not fit are reported when they are read.
    """
    read: Counter[str] = Counter()
    differ: Counter[tuple[str, str]] = Counter()
    for place, row in rows:
        raw, choices = columns.label_text(row, place), columns.choices_of(row, place)
        if raw is None or choices is None:
            continue
        with suppress(UnreadLabel):
            text = columns.gold.read(raw)
            if text is not None and plain_number(text) != -1:
                texts, names = choices
                places = {form: position_of(text, form, len(texts), names) for form in FORMS[1:]}
                written = {form: texts[place] for form, place in places.items() if place is not None}
                if (answer := match(text, texts, columns.gold.names)) is not None:
                    written["text"] = answer
                read.update([*written])
                differ.update((a, b) for a in written for b in written if written[a] != written[b])
    form = max(FORMS, key=lambda form: read[form])  # the first of equals
    for other in FORMS:
        if read[other] == read[form] and differ[form, other]:
            log_once(
                f"The labels in column {columns.label!r} may be {_FORMS_IN_WORDS[form]} or {_FORMS_IN_WORDS[other]}: "
                f"taken for the former. Otherwise: task.label_form={other}."
            )
    return form


def first_row_without(column: str, source: Source) -> tuple[str, Row] | None:
    """Return place and row of the first row, where none of the first rows of any split has a column; else None."""
    first: tuple[str, Row] | None = None
    for split in source.splits():
        for place, row in islice(source.rows(split), SOON):
            if look_up(row, column) is not ABSENT:
                return None
            first = first or (place, row)
    return first
