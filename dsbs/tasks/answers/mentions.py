# ruff: noqa: RUF001 - the signs that people write are meant
"""Where a text names closed answers: by their names, or by letters of the list."""

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from dsbs.tasks.answers.shapes import QUOTES

_OPTION = r"\b(?:option|choice|letter|answer|candidate|alternative)\b[\s:*_#]{0,4}"
SIGN = re.compile(rf"(?:{_OPTION})?[(\[]\s?([A-Za-z])\.?\s?[)\]]|{_OPTION}([A-Za-z])(?![\w'#+])", re.I)
# A capital counts as a letter of the list behind such words alone: 'plan B' is none.
_CAPITAL = re.compile(
    r"(?:^|(?<=\bis )|(?<=\bbe )|(?<=\bwith )|(?<=\bpick )|(?<=\bchoose )|(?<=\bselect )|(?<=\bsay )|(?<=\bnot )"
    r"|(?<=\bthan )|(?<=\bover )|(?<=\bof )|(?<=\bbut )|(?<=[:,;)] )|(?<=[(\[\t])|(?<=[-–=<>→] )"
    r"|(?<=\band )|(?<=\bor )|(?<=\bthen )|(?<=\bnor )|(?<=\bto )|(?<=\bfrom )|(?<=\bmaybe )|(?<=\bperhaps )"
    r"|(?<=\bpossibly ))"
    r"([B-HJ-Z]|[AI](?=\s?(?:[.,;:!)\]\[(/|<>=→–-]|$)|\s(?:but|and|or|nor|rather|to|with|aka)\b))(?![\w'’#+-]|\.\w)"
)
# Around a digit: it is a part of a number, a bound, or of arithmetic.
_PART_BEFORE = re.compile(r"[<>≥≤^*×±√]\s?$|\d[,:+/-]$")
_PART_AFTER = re.compile(r"[\^*×±]|[-–/+:][\d$€£]")
# An amount of something, and no label.
_AMOUNT_BEFORE, _AMOUNT_AFTER = re.compile(r"[€£¥₹]\s?$"), re.compile(r"\s?[%‰°€£¥₹]")
# Labels that are other words where they are not written in capitals.
_LIKE_WORDS = {"IT", "US", "OR", "IN", "ME", "HI", "OK", "AS", "AT", "BE", "SO", "TO",
               "IS", "ON", "AN", "HE", "WE", "IF"}  # fmt: skip


class Letters(NamedTuple):
    """What letters stand for: the answers in their order.

    Attributes:
        marked: of ``(b)``, ``B)`` and ``option B``.
        bare: of a lone ``B``; None where it may be the initial of another answer.
    """

    marked: Sequence[str]
    bare: Sequence[str | None]


class Mention(NamedTuple):
    """A place in a text (from ``start`` to before ``end``) that names an answer."""

    start: int
    end: int
    answer: str


def by_letter(letter: str, listed: Sequence[str | None]) -> str | None:
    """Return the answer of a letter (a: the first), or None where there are fewer answers."""
    position = ord(letter.lower()) - ord("a")
    return listed[position] if 0 <= position < len(listed) else None


def by_sign(letter: str, listed: Sequence[str | None], names: dict[str, str]) -> str | None:
    """Return what a letter stands for; labels that are letters stand for themselves."""
    own = next((names[name] for name in (letter, letter.upper(), letter.lower()) if name in names), None)
    return own or by_letter(letter, listed)


def fold_case(text: str) -> str:
    """Return a text in lower case, each character in its place."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def find_signs(text: str, letters: Letters, names: dict[str, str]) -> Iterator[Mention]:
    """Yield where a text names answers by their letters: ``(b)``, ``option B``, ``is B``."""
    for signs, listed in ((SIGN, letters.marked), (_CAPITAL, letters.bare)):
        for sign in signs.finditer(text):
            answer = by_sign(next(filter(None, sign.groups())), listed, names)
            if answer:
                yield Mention(*sign.span(), answer)


def find_names(text: str, names: dict[str, str]) -> Iterator[Mention]:
    """Yield where a text names answers as whole words; of names within names, the longest."""
    written, text = text, fold_case(text)
    found: list[Mention] = []
    for (name, answer), separator in itertools.product(names.items(), "_ "):
        name = _spelt(name, separator)
        if (len(name) < 2 and not name.isdigit()) or (separator == " " and name in names):
            continue  # 'a' may be an article
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            like_words = answer in _LIKE_WORDS and not written[start:end].isupper()
            like_words = like_words or (name == "other" and text.startswith(" than", end))
            if _is_word(text, start, end) and not like_words:
                found.append(Mention(start, end, answer))
            start = text.find(name, end)
    for one in dict.fromkeys(found):  # a name without '_' was looked for twice
        wider = (
            b for b in found if b.start <= one.start and one.end <= b.end and b.end - b.start > one.end - one.start
        )
        if not next(wider, None):
            yield one


@lru_cache(maxsize=4096)  # the same names, time and again
def _spelt(name: str, separator: str) -> str:
    """Return a name as it may be written in a text: in lower case, with plain quotes, and ``separator`` for ``_``."""
    return " ".join(fold_case(name.translate(QUOTES)).replace("_", separator).split())


def _is_word(text: str, start: int, end: int) -> bool:
    """Return whether a place in a text is a word of its own: neither in ``non-positive`` nor in ``1.5``."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or before[-1:] == "_" or (before[-1:] in "-." and before[:1].isalnum() and before[1:]):
        return False
    if text[end - 1].isdigit() and (_PART_AFTER.match(after) or _AMOUNT_AFTER.match(after)):
        return False
    if text[start].isdigit():
        if _PART_BEFORE.search(before) or _PART_AFTER.match(after) or _AMOUNT_BEFORE.search(before):
            return False
        if before[-1:] == "$" != after[:1]:  # dollars, and no formula
            return False
    if (before[-1:] == "-" and text[start].isdigit()) or after[:1].isalnum() or after[:1] == "_":
        return False
    return not ((after[:1] == "-" and after[1:].isalpha()) or (after[:1] in (".", ",") and after[1:].isdigit()))
