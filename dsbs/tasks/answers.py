# ruff: noqa: RUF001, RUF002 - the signs that people write are meant
"""Kinds of answers: a closed set, a number, free text. How each is read from what somebody wrote, and compared.

Teachers write ``So the answer is (d) math problem.``, WordPiece students ``don ' t`` for ``don't`` and ``84. 0`` for
``84.0``: everything is compared in a squeezed form and mapped back to the canonical answer.

Two readings exist. ``tolerant`` makes sense of what was written. ``paper`` reads as the code of the paper's release
does, because its published accuracies count that way: the text beside a letter is the answer as it stands, capitals
included, even where it names no choice; of an equation, only what stands in brackets is read.
"""

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from dsbs.tasks.arithmetic import evaluate, join_numbers, without_units

READINGS = ("tolerant", "paper")
Choices = tuple[str, ...] | None

_WRAPPING = " \t\n\r*_`\"'“”‘’"
_LETTER = re.compile(r"^(?:(?:option|choice)\s+)?(?:\(\s*([A-Za-z])\s*\)|([A-Za-z])\s*[).:](?=\s|$))[\s:.]*(.*)$", re.S)
_LETTERS = re.compile(r"\(\s*([A-Za-z])\s*\)")
_CLAUSE = re.compile(r"[;\n]|\.(?=\s|$)|,?\s+(?:because|since|as)\s")
_NEGATION = re.compile(r"(?:\bnot|\bno|\bnever|\bneither|\bnor|n't)\s+(?:an?\s+|the\s+)?$")
_WORD = re.compile(r"[^\W\d_]")
_BRACKETED = re.compile(r"\(.*\)", re.S)
_EXPRESSION = re.compile(r"[$€£(]*\s*-?\s*[$€£]?[0-9][0-9.,+\-*/()^×÷−$ ]*")


def tidy(text: str) -> str:
    """Return an answer without the quotes, Markdown and full stop around it.

    >>> tidy(' **"train station"**. ')
    'train station'
    """
    text = re.sub(r"^\\boxed\{(.*)\}\.?$", r"\1", text.strip(), flags=re.S)
    before = None
    while before != text:
        before = text
        text = text.strip(_WRAPPING) if text.strip(_WRAPPING) else text.strip()
        if text.endswith(".") and not text.endswith(".."):
            text = text[:-1]
    return text


@lru_cache(maxsize=65536)
def squeeze(text: str, fold: bool = True) -> str:
    """Return a text without what tokenizers change: spaces, accents, the shape of quotes and (``fold``) case.

    >>> squeeze("Don ' t"), squeeze("don’t")
    ("don't", "don't")
    """
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = "".join(text.translate({0x2018: "'", 0x2019: "'", 0x201C: '"', 0x201D: '"'}).split())
    return text.casefold() if fold else text


def with_choices(text: str, choices: Sequence[str]) -> str:
    r"""Return a question with its choices listed by letter, as the paper's code does; safe to repeat.

    >>> with_choices("Where?", ("bank", "park"))
    'Where?\nAnswer Choices:\n(a) bank\n(b) park'
    """
    listed = "\nAnswer Choices:" + "".join(f"\n({letter_of(i)}) {choice}" for i, choice in enumerate(choices))
    return text if text.endswith(listed) else text + listed


def letter_of(position: int) -> str:
    """Return the letter of a choice: a, b, ..., z, then numbers."""
    return chr(ord("a") + position) if position < 26 else str(position + 1)


@dataclass(frozen=True)
class ClosedAnswers:
    """One of a closed set: the example's choices, or else the task's labels.

    Attributes:
        labels: the task's labels; used where an example has no choices of its own.
        synonyms: other words (keys) for a label.
        reading: ``tolerant``: the text names the choice; where it names none, a letter does; where there is neither,
            the one choice that the first clause mentions. ``paper``: the text beside the letter is the answer as it is
            written, capitals included, even where it is no choice (a text without capitals may come from a tokenizer
            that has none and matches in any case).
    """

    labels: Choices = None
    synonyms: tuple[tuple[str, str], ...] = ()
    reading: str = "tolerant"

    def parse(self, text: str, choices: Choices = None) -> str | None:
        """Return the choice that a text gives, or None.

        >>> ClosedAnswers().parse("(B) Train Station.", ("bus", "train station", "park"))
        'train station'
        >>> ClosedAnswers(("yes", "no")).parse("**No**, because it rained")
        'no'
        """
        listed = choices or self.labels or ()
        names = {choice: choice for choice in listed} | dict(self.synonyms)
        whole, text = text.strip(), tidy(text)  # a choice may end with a full stop of its own
        if self.reading == "paper":
            found = _match_as_written(whole, names)
            return _read_as_written(text, listed, names) if found is None else found
        found = _match(whole, names)
        if found is None:
            found = _match(text, names)
        return found if found is not None or not text else _read(text, listed, names)

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Tell whether two canonical answers are the same."""
        return answer is not None and answer == gold


def _read_as_written(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    found = _match_as_written(text, names)
    letters = _LETTERS.findall(text)
    if found is not None or not letters:
        return found
    beside = text[text.index(")") + 1 :].strip() if text.startswith("(") else text
    if not beside:
        return _by_letter(letters[0], listed)
    found = _match_as_written(beside, names)
    return beside if found is None else found


def _match_as_written(text: str, names: dict[str, str]) -> str | None:
    """Return the name that stands there; spaces at punctuation, and case in a text without capitals, say nothing."""
    if text in names:
        return names[text]
    fold = text == text.lower()
    found = {answer for name, answer in names.items() if _spaced(name, fold) == _spaced(text, fold)}
    return found.pop() if len(found) == 1 else None


def _read(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    letter = _LETTER.match(text)
    if letter:
        found = _match(tidy(letter[3]), names)
        if found is not None:
            return found
    letters = {found for found in _LETTERS.findall(text.lower()) if _by_letter(found, listed)}
    if letter:
        letters.add((letter[1] or letter[2]).lower())
    elif len(text) == 1:
        letters.add(text.lower())
    if len(letters) == 1:
        return _by_letter(letters.pop(), listed)
    return None if letters else _mentioned(_CLAUSE.split(text, maxsplit=1)[0], names)


def _match(text: str, names: dict[str, str]) -> str | None:
    """Return what a text names: as it stands, or else the only name of the same squeezed form."""
    if text in names:
        return names[text]
    # Joined words are the last resort: 'livingroom' and 'living room' can both be choices.
    for shape in (_spaced, squeeze, _bare):
        found = {answer for name, answer in names.items() if shape(name) == shape(text)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


@lru_cache(maxsize=65536)
def _spaced(text: str, fold: bool = True) -> str:
    """Return the squeezed form with the spaces between words left in."""
    words = (squeeze(word, fold) for word in re.sub(r"([^\w\s])", r" \1 ", text).split())
    return re.sub(r"\s*([^\w\s])\s*", r"\1", " ".join(words))


@lru_cache(maxsize=65536)
def _bare(text: str) -> str:
    return squeeze(text).strip(".,;:!?'\"")


def _by_letter(letter: str, listed: Sequence[str]) -> str | None:
    position = ord(letter.lower()) - ord("a")
    return listed[position] if 0 <= position < len(listed) else None


def _mentioned(clause: str, names: dict[str, str]) -> str | None:
    """Return the only answer that a clause mentions as whole words and does not deny."""
    clause = " ".join(clause.casefold().split())
    spans: list[tuple[int, int, str]] = []
    for name, answer in names.items():
        pattern = rf"(?<!\w){re.escape(' '.join(name.casefold().split()))}(?!\w)"
        spans += [(*match.span(), answer) for match in re.finditer(pattern, clause)]
    outer = [a for a in spans if not any(b[0] <= a[0] and a[1] <= b[1] and b[1] - b[0] > a[1] - a[0] for b in spans)]
    found = {answer for start, _, answer in outer if not _NEGATION.search(clause[:start])}
    return found.pop() if len(found) == 1 and len({answer for _, _, answer in outer}) == 1 else None


@dataclass(frozen=True)
class NumberAnswers:
    """A number or an equation; two are the same where they have the same value.

    Attributes:
        reading: ``tolerant``: the number or equation that the text gives, units aside. ``paper``: what stands between
            the first opening and the last closing bracket, as it is written, even where it has no value.
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
        text = tidy(text)
        if self.reading == "paper" and "(" in text:
            bracketed = _BRACKETED.search(text)
            return join_numbers(bracketed[0]) if bracketed else None
        if not _WORD.search(text) and evaluate(text) is not None:
            return join_numbers(text)
        clause = without_units(_CLAUSE.split(text, maxsplit=1)[0])
        return clause if evaluate(clause) is not None else self._search(clause)

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Tell whether two answers have the same value; texts without a value are the same where they are equal."""
        if answer is None or gold is None:
            return False
        a, b = evaluate(answer), evaluate(gold)
        if a is None or b is None:
            return a is b and squeeze(answer) == squeeze(gold)
        return math.isclose(a, b, rel_tol=self.tolerance, abs_tol=1e-9)

    def _search(self, clause: str) -> str | None:
        """Return the one expression of a clause; where several differ in value, none is the answer."""
        found = [run.strip().rstrip(".,(+-*/$ ") for run in _EXPRESSION.findall(clause)]
        values = [(run, evaluate(run)) for run in found]
        known = [(run, value) for run, value in values if value is not None]
        if not known or len(known) < len(values) or any(not self.equivalent(run, known[0][0]) for run, _ in known):
            return None
        return known[0][0]


@dataclass(frozen=True)
class FreeAnswers:
    """Free text; two are the same where they are equal but for spacing, case, accents and the full stop at the end."""

    def parse(self, text: str, choices: Choices = None) -> str | None:
        """Return the text without the quotes and full stop around it, or None where nothing is left.

        >>> FreeAnswers().parse(' "Paris". ')
        'Paris'
        """
        return tidy(text) or None

    def equivalent(self, answer: str | None, gold: str | None) -> bool:
        """Tell whether two texts are the same."""
        return answer is not None and gold is not None and _bare(answer) == _bare(gold)
