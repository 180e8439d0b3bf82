"""Parsing of gold labels: as they are written, up to case and whitespace. Nothing is guessed."""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache

from dsbs.core.errors import DataError
from dsbs.core.untrusted import excerpt, storable
from dsbs.tasks.answers import letter_of
from dsbs.tasks.answers.arithmetic import evaluate, is_no_value
from dsbs.tasks.cells import MISSING, fold, is_missing, is_sign, number_text, plain_number, seen, stands_for_none

# How a row's label points at its choices: by the answer itself, a letter, or a position that counts from 0 or from 1.
FORMS = ("text", "letter", "position", "number")
_SCIENTIFIC = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?[eE][+-]?[0-9]{1,3}")
PATIENCE = 1.0  # seconds for a pattern of the user's over one cell
_BESIDE_LETTERS = " ().:"
_LETTER = re.compile(r"\(?\s*([A-Za-z])\s*[).]?")


class UnreadLabel(ValueError):
    """A gold label that is not an answer of the task; the argument is the text of the cell."""


@dataclass(frozen=True)
class Gold:
    """How the gold labels of a table are parsed.

    Attributes:
        labels: the closed answers of all rows, or None.
        names: other names -> answers: the index of a class, a synonym.
        number: whether a label must be a number or an equation.
        pattern: regular expression that extracts the label: its group, else the whole match; None: the whole cell.
        missing: words for a missing label, folded.
        form: how a label refers to the choices of its row; one of ``FORMS``.
    """

    labels: tuple[str, ...] | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    number: bool = False
    pattern: str | None = None
    missing: frozenset[str] = frozenset(MISSING)
    form: str = "text"

    def read(self, text: str, choices: Sequence[str] | None = None, names: Sequence[str] = ()) -> str | None:
        """Return the label in a cell, in canonical form; None where it is missing.

        Args:
            names: what the row calls them, in the place of letters; empty: a, b, c.

        Raises:
            UnreadLabel: where it is not an answer of the task.
            DataError: where ``pattern`` takes longer than ``PATIENCE`` seconds.

        >>> gold = Gold(labels=("contradiction", "entailment", "neutral"), names={"e": "entailment"})
        >>> gold.read(" Entailment "), gold.read("e"), gold.read("NaN"), gold.read("-1")
        ('entailment', 'entailment', None, None)
        >>> gold.read("c")
        Traceback (most recent call last):
        dsbs.tasks.tables.gold.UnreadLabel: c
        """
        listed = tuple(choices or self.labels or ())
        text = storable(text).strip()
        text = seen(text).strip() if listed or self.number else text
        if not text or (not self._is_answer(text, listed) and self._is_missing(text, listed)):
            return None
        if self.pattern is not None:
            text = self._take_out(text)
        if not listed:
            named = self.names.get(text, text)
            return self._number(named) if self.number else named
        found = (
            self._point(text, choices, names) if choices and self.form != "text" else match(text, listed, self.names)
        )
        if found is None:
            raise UnreadLabel(text)
        return found

    def _number(self, text: str) -> str:
        text = number_text(float(text)) if _SCIENTIFIC.fullmatch(text) else text
        if is_no_value(text) or evaluate(text) is None:
            raise UnreadLabel(text)
        return text

    def _is_answer(self, text: str, listed: Sequence[str]) -> bool:
        return bool(listed) and self.pattern is None and match(text, listed, self.names) is not None

    def _is_missing(self, text: str, listed: Sequence[str]) -> bool:
        """Return whether a cell is missing; where the labels are names, -1 and mere signs are, as in SNLI."""
        if is_missing(text, self.missing):
            return True
        if self.form != "text" and (plain_number(text) == -1 or is_sign(text)):
            return True
        return bool(listed) and stands_for_none(text, listed)

    def _take_out(self, text: str) -> str:
        import regex  # which can be told to give up; it takes time to import

        try:
            found = regex.search(str(self.pattern), text, timeout=PATIENCE)
        except TimeoutError:
            raise DataError(
                f"task.label_pattern={self.pattern!r} takes longer than {PATIENCE:g} s over a cell of {len(text):,} "
                f"characters, {excerpt(text, 40)!r}: nested repetitions such as (a+)+ are slow."
            ) from None
        label = (found[1] if found.re.groups else found[0]) if found else None
        if label is None or not label.strip():
            raise UnreadLabel(text)
        return label.strip()

    def _point(self, text: str, choices: Sequence[str], names: Sequence[str]) -> str | None:
        position = position_of(text, self.form, len(choices), names)
        return None if position is None else choices[position]


def match(text: str, listed: Sequence[str], names: Mapping[str, str]) -> str | None:
    """Return the answer that a text names, or None: exactly, else up to case and whitespace, else by number.

    >>> match("1.0", ("0", "1"), {}), match("1.0", ("no", "yes"), {"0": "no", "1": "yes"})
    ('1', 'yes')
    """
    if text in listed:
        return text
    found = _index(tuple(listed), tuple(names.items()))
    for spelling in (text, _spelled(text), plain_number(text)):
        answers = found.get(spelling)
        if answers:
            return next(iter(answers)) if len(answers) == 1 else None
    return None


def _spelled(text: str) -> str:
    return fold(seen(text))


@lru_cache(maxsize=1024)
def _index(listed: tuple[str, ...], names: tuple[tuple[str, str], ...]) -> dict[str | Decimal | None, frozenset[str]]:
    """Return spelling -> answers: names as they stand, then whatever is the same up to case and space, then numbers."""
    known = {name: answer for name, answer in names if answer in listed} | {label: label for label in listed}
    found: dict[str | Decimal | None, frozenset[str]] = {}
    for shape in (plain_number, _spelled):
        shaped: dict[str | Decimal | None, set[str]] = defaultdict(set)
        for name, answer in known.items():
            shaped[shape(name)].add(answer)
        found |= {spelling: frozenset(answers) for spelling, answers in shaped.items()}
    found |= {name: frozenset([answer]) for name, answer in known.items()}
    return {spelling: answers for spelling, answers in found.items() if spelling is not None}


def position_of(text: str, form: str, choices: int, names: Sequence[str] = ()) -> int | None:
    """Return the position (from 0) that a label refers to, or None.

    Args:
        form: ``letter``, ``position`` (from 0) or ``number`` (from 1).
        names: what the row calls them, in the place of letters; empty: a, b, c.

    >>> position_of("B", "letter", 3), position_of("1.0", "position", 3), position_of("3", "number", 3)
    (1, 1, 2)
    >>> position_of("c", "letter", 2), position_of("3", "position", 3), position_of("0", "number", 3)
    (None, None, None)
    >>> position_of("2", "letter", 2, names=("1", "2")), position_of("(a)", "letter", 2, names=("B", "A"))
    (1, 1)
    """
    if form == "letter" and names:
        known = [name.strip(_BESIDE_LETTERS).casefold() for name in names]
        bare = text.strip(_BESIDE_LETTERS).casefold()
        return known.index(bare) if bare in known else None
    if form == "letter":
        letter = _LETTER.fullmatch(text.strip())
        letters = [letter_of(position) for position in range(choices)]
        return letters.index(letter[1].lower()) if letter and letter[1].lower() in letters else None
    value = plain_number(text)
    if value is None or value != int(value):
        return None
    position = int(value) - (form == "number")
    return position if 0 <= position < choices else None
