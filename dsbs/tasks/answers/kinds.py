"""Closed, number, whole-text and free answers."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from dsbs.tasks.answers.arithmetic import evaluate, join_numbers
from dsbs.tasks.answers.mentions import by_letter
from dsbs.tasks.answers.numerals import MOST, read_number, same
from dsbs.tasks.answers.shapes import bare, spaced, squeeze, tidy
from dsbs.tasks.answers.wordings import read_closed

READINGS = ("tolerant", "paper")
Choices = tuple[str, ...] | None

_LETTERS = re.compile(r"\(\s?([A-Za-z])\s?\)")
# Words of a line that is nothing but an answer, such as ``the second option: (b)``.
LONE_WORDS = 4
_LONE_NUMBER = re.compile(
    r"[^\w\n]{0,6}\d[^A-Za-z\n]{0,80}(?:[^\W\d_]{1,15}[ .]?){0,2}|\\[a-z]{4,8}\s?\{.{1,60}\}[^\n]{0,20}"
)
_BRACKETED = re.compile(r"\(.*\)", re.S)


def with_choices(text: str, choices: Sequence[str]) -> str:
    r"""Return a question with its choices listed by letter, as in the paper's code; once, if they are listed already.

    >>> with_choices("Where?", ("bank", "park"))
    'Where?\nAnswer Choices:\n(a) bank\n(b) park'
    """
    listed = _list_choices(choices)
    return text if text.endswith(listed) else text + listed


def without_choices(text: str, choices: Sequence[str]) -> str:
    r"""Return a question without the list of its choices.

    >>> without_choices(with_choices("Where?", ("bank", "park")), ("bank", "park"))
    'Where?'
    """
    return text.removesuffix(_list_choices(choices))


def _list_choices(choices: Sequence[str]) -> str:
    return "\nAnswer Choices:" + "".join(f"\n({letter_of(i)}) {choice}" for i, choice in enumerate(choices))


def letter_of(position: int) -> str:
    """Return the letter of a choice (from position 0): a, b, …, z, then the numbers from 27."""
    return chr(ord("a") + position) if position < 26 else str(position + 1)


@dataclass(frozen=True)
class ClosedAnswers:
    """Answers of a closed set: the example's choices, or else the task's labels.

    Attributes:
        labels: the task's labels; used where an example has no choices of its own.
        synonyms: pairs of another word for a label, and that label.
        reading: ``tolerant`` or ``paper``; there, a text without capitals may come from a tokenizer without them, and
            matches in any case.
    """

    labels: Choices = None
    synonyms: tuple[tuple[str, str], ...] = ()
    reading: str = "tolerant"

    def parse(self, text: str, choices: Choices = None) -> str | None:
        """Return the choice that a text gives, in canonical form, or None.

        >>> ClosedAnswers().parse("(B) Train Station.", ("bus", "train station", "park"))
        'train station'
        >>> ClosedAnswers(("yes", "no")).parse("**No**, because it rained")
        'no'
        """
        listed = choices or self.labels or ()
        names = {choice: choice for choice in listed} | dict(self.synonyms)
        if self.reading != "paper":
            return read_closed(text, listed, names, lettered=listed != self.labels)
        whole, text = text.strip(), tidy(text)  # a choice may end with a full stop of its own
        found = _match_as_written(whole, names)
        return _read_as_written(text, listed, names) if found is None else found

    def parse_alone(self, text: str, choices: Choices = None) -> str | None:
        """Return the choice given by a line that is nothing but an answer, at most ``LONE_WORDS`` words; or None."""
        return self.parse(text, choices) if len(text.split()) <= LONE_WORDS else None

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Return whether two canonical answers are the same."""
        return answer is not None and answer == gold


def _read_as_written(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    found = _match_as_written(text, names)
    letters = _LETTERS.findall(text)
    if found is not None or not letters:
        return found
    beside = text[text.index(")") + 1 :].strip() if text.startswith("(") else text
    if not beside:
        return by_letter(letters[0], listed)
    found = _match_as_written(beside, names)
    return beside if found is None else found


def _match_as_written(text: str, names: dict[str, str]) -> str | None:
    """Return the answer that a text names, up to spaces at punctuation, and up to case in a text without capitals."""
    if text in names:
        return names[text]
    fold = text == text.lower()
    wanted = spaced(text, fold)
    found = {answer for name, answer in names.items() if spaced(name, fold) == wanted}
    return found.pop() if len(found) == 1 else None


@dataclass(frozen=True)
class NumberAnswers:
    """Answers that are a number or an equation; two are equivalent where they have the same value.

    Attributes:
        reading: ``tolerant``; or ``paper``: the text from the first opening to the last closing bracket, as it is
            written, even where it has no value.
        tolerance: relative difference up to which two values are the same.
    """

    reading: str = "tolerant"
    tolerance: float = 1e-6

    def parse(self, text: str, choices: Choices = None) -> str | None:
        """Return the number or equation that a text gives, or None.

        >>> tolerant = NumberAnswers()
        >>> tolerant.parse("( 84. 0 / 2. 0 )"), tolerant.parse("$42 per day."), tolerant.parse("3 or 4")
        ('( 84.0 / 2.0 )', '$42', None)
        >>> tolerant.parse("(16 * 17) * 4"), NumberAnswers("paper").parse("(16 * 17) * 4")
        ('(16 * 17) * 4', '(16 * 17)')
        """
        text = tidy(text[:MOST])
        if self.reading == "paper" and "(" in text:
            bracketed = _BRACKETED.search(text)
            return join_numbers(bracketed[0]) if bracketed else None
        return read_number(text)

    def parse_alone(self, text: str, choices: Choices = None) -> str | None:
        """Return the number given by a line that is nothing but a number and its unit, or None."""
        return self.parse(text) if _LONE_NUMBER.fullmatch(tidy(text[:MOST])) else None

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Return whether two answers have the same value; texts without a value are the same where they are equal."""
        if answer is None or gold is None:
            return False
        if evaluate(answer) is None and evaluate(gold) is None:
            return squeeze(answer) == squeeze(gold)
        return same(answer, gold, self.tolerance)


@dataclass(frozen=True)
class TextAnswers:
    """Answers that are texts of any length, kept as they are; two are equivalent if equal up to whitespace."""

    whole: ClassVar[bool] = True  # perplexity is measured on such answers

    def parse(self, text: str, choices: Choices = None) -> str | None:
        r"""Return the text without surrounding whitespace, or None where nothing is left.

        >>> TextAnswers().parse(" One line.\n\nAnd another. ")
        'One line.\n\nAnd another.'
        """
        return text.strip() or None

    def parse_alone(self, text: str, choices: Choices = None) -> str | None:
        """Return the same as ``parse``: all of a text is the answer."""
        return self.parse(text, choices)

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Return whether two texts are the same."""
        return answer is not None and gold is not None and answer.split() == gold.split()


@dataclass(frozen=True)
class FreeAnswers:
    """Answers in free text; two are equivalent if equal up to spacing, case, accents and surrounding punctuation."""

    def parse(self, text: str, choices: Choices = None) -> str | None:
        """Return the text without quotes, markup and full stop around it, or None where nothing is left.

        >>> FreeAnswers().parse(' "Paris". ')
        'Paris'
        """
        return tidy(text) or None

    def parse_alone(self, text: str, choices: Choices = None) -> str | None:
        """Return None: any line might be one."""
        return None

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Return whether two texts are the same."""
        return answer is not None and gold is not None and bare(answer) == bare(gold)
