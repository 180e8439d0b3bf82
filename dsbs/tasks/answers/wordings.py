# ruff: noqa: RUF001 - the signs that people write are meant
"""Parsing a closed answer from text: correctly, or not at all.

People and chat models write ``option B.``, ``negative, not positive``, ``anything but positive``. An answer counts
where it is named alone, or where a clause asserts it and nothing in that clause denies it, doubts it or makes it depend
on something. What is unclear is not parsed: a wrong label costs more than a missing one.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from dsbs.tasks.answers.assertions import CONTRAST, CORRECTION, DENIAL, LEAD, SIGNS_OF_DENIAL, TURNS, asserts
from dsbs.tasks.answers.numerals import read_spelt
from dsbs.tasks.answers.shapes import CLAUSE, QUOTES, bare, in_ascii_signs, spaced, squeeze, tidy
from dsbs.tasks.cells import plain_number

MOST = 1000
_MOST_LEADS = 10
_OPTION = r"\b(?:option|choice|letter|answer|candidate|alternative)\b[\s:*_#]{0,4}"
_SIGN = re.compile(rf"(?:{_OPTION})?[(\[]\s?([A-Za-z])\.?\s?[)\]]|{_OPTION}([A-Za-z])(?![\w'#+])", re.I)
# A capital counts as a letter of the list behind such words alone: 'plan B' is none.
_CAPITAL = re.compile(
    r"(?:^|(?<=\bis )|(?<=\bbe )|(?<=\bwith )|(?<=\bpick )|(?<=\bchoose )|(?<=\bselect )|(?<=\bsay )|(?<=\bnot )"
    r"|(?<=\bthan )|(?<=\bover )|(?<=\bof )|(?<=\bbut )|(?<=[:,;)] )|(?<=[(\[\t])|(?<=[-–=<>→] )"
    r"|(?<=\band )|(?<=\bor )|(?<=\bthen )|(?<=\bnor )|(?<=\bto )|(?<=\bfrom )|(?<=\bmaybe )|(?<=\bperhaps )"
    r"|(?<=\bpossibly ))"
    r"([B-HJ-Z]|[AI](?=\s?(?:[.,;:!)\]\[(/|<>=→–-]|$)|\s(?:but|and|or|nor|rather|to|with|aka)\b))(?![\w'’#+-]|\.\w)"
)
_LONE_SIGN = re.compile(r"([A-Za-z])\s?([.):]|[-–—=](?=\s))?(?:\s{1,3}(\S.*))?", re.S)
# Around a digit: it is a part of a number, a bound, or of arithmetic.
_PART_BEFORE = re.compile(r"[<>≥≤^*×±√]\s?$|\d[,:+/-]$")
_PART_AFTER = re.compile(r"[\^*×±]|[-–/+:][\d$€£]")
# An amount of something, and no label.
_AMOUNT = re.compile(r"[€£¥₹]\s?$"), re.compile(r"\s?[%‰°€£¥₹]")
# Labels that are other words where they are not written in capitals.
_LIKE_WORDS = {"IT", "US", "OR", "IN", "ME", "HI", "OK", "AS", "AT", "BE", "SO", "TO",
               "IS", "ON", "AN", "HE", "WE", "IF"}  # fmt: skip
_JOINT = re.compile(r"(?<=\w)-(?=[^\W\d])|_")
_BRACKETED = re.compile(r"<\s?([^<>/]{1,80}?)\s?>[.!]?")
# What Chinese, Japanese and Korean say behind an answer: that it is it.
_COPULA = re.compile(r"(?<=\w)(?:的|です|である|だ|입니다|이다|이에요|예요)$")
_MINUS = re.compile(r"\b(?:minus|negative)\s{1,3}(?=\d)", re.I)
_OUT_OF = re.compile(r"(?<=\d)(?:\sstars?)?\sout\sof\s(\d{1,3})(?=\s(?:stars?|points?)\b|\W{0,9}$)")
_BESIDE = re.compile(r"^(?:[ .:,–—=]|-(?!\d))+")
_EMPHASIS = re.compile(r"(?<!\w)_|_(?!\w)")
_STRUCK = re.compile(r"~~[^~]{1,200}~~")


class Letters(NamedTuple):
    """What letters stand for: the answers in their order.

    Attributes:
        marked: of ``(b)``, ``B)`` and ``option B``.
        bare: of a mere ``B``; None where it may be the initial of another answer.
    """

    marked: Sequence[str]
    bare: Sequence[str | None]


class Mention(NamedTuple):
    """A place in a text (from ``start`` to before ``end``) that names an answer."""

    start: int
    end: int
    answer: str


def read_closed(text: str, listed: Sequence[str], names: dict[str, str], lettered: bool = True) -> str | None:
    """Return the answer that a text gives, or None.

    Args:
        text: one line of text.
        listed: the answers, in the order of their letters.
        names: name -> answer: the answers themselves, and synonyms.
        lettered: whether the question lists the answers by letter.

    >>> labels = ("positive", "negative")
    >>> names = dict(zip(labels, labels))
    >>> [read_closed(text, labels, names) for text in ("option B.", "negative, not positive", "anything but positive")]
    ['negative', 'negative', None]
    >>> [read_closed(text, ("bad", "good"), {}, lettered=False) for text in ("B", "(B)", "A")]
    [None, 'good', 'bad']
    """
    letters = Letters(listed, listed if lettered else _without_initials(listed))
    if not lettered and any(len(name) == 1 and name.isalpha() for name in names):
        letters = Letters((), ())  # among grades, C is not the third of them
    whole = _STRUCK.sub("", text[:MOST]).strip()
    if (found := match_name(whole, names)) is not None:  # a choice may end with a full stop of its own
        return found
    whole, names = _in_ascii_signs(whole, names)
    if bracketed := _BRACKETED.fullmatch(whole):  # the place of a label in a prompt, filled in
        whole = bracketed[1]
    rest = tidy(whole)
    for _ in range(_MOST_LEADS):
        for form in (rest, _COPULA.sub("", rest)):
            if (found := match_name(form, names)) is not None:
                return found
        if bracketed := _BRACKETED.fullmatch(rest):
            rest = tidy(bracketed[1])
            continue
        if (found := _read_sign(rest, letters, names)) is not None:
            return found
        lead = LEAD.match(rest)
        if lead is None or any(name.start == 0 for name in _find_names(rest, names)) or lead[0].strip() in names:
            break  # the label IT is no 'it', and the label A no article
        rest = tidy(rest[lead.end() :])
    return _read_mentions(" ".join(tidy(whole).translate(QUOTES).split()), letters, names)


def _without_initials(listed: Sequence[str]) -> list[str | None]:
    """Return the answers, with None where another begins with the letter: C may be the third, or contradiction."""
    initials = [answer[:1].casefold() for answer in listed]
    return [
        None if chr(ord("a") + place) in initials[:place] + initials[place + 1 :] else answer
        for place, answer in enumerate(listed)
    ]


def _in_ascii_signs(text: str, names: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return text and names with their signs in ASCII; where names are numbers, with ``-1`` for ``minus 1``.

    Where they are all numbers, and 5 is the highest, ``4 out of 5`` is 4.
    """
    if any(name[-1:].isdigit() for name in names):
        text = _MINUS.sub("-", text)
        values = [plain_number(name) for name in names]
        highest = None if None in values else max(filter(None, values), default=None)
        text = _OUT_OF.sub(lambda match: "" if plain_number(match[1]) == highest else match[0], text)
    plain = names if all(map(str.isascii, names)) else {in_ascii_signs(name): answer for name, answer in names.items()}
    return in_ascii_signs(text), plain if len(plain) == len(names) else names


def match_name(text: str, names: dict[str, str]) -> str | None:
    """Return the answer that a whole text names, or None: exactly, or as the only name of the same normal form."""
    if text in names:
        return names[text]
    # Joined words are the last resort: 'livingroom' and 'living room' can both be choices.
    doubted = text.rstrip("!").endswith("?") or text.startswith("!")
    for shape in (spaced, squeeze, *(() if doubted else (bare,)), _joined, _fused):
        wanted = shape(text)
        found = {answer for name, answer in names.items() if shape(name) == wanted} if wanted else set()
        if found:
            return found.pop() if len(found) == 1 else None
    value = plain_number(text.removeprefix("+") if (spelt := read_spelt(text)) is None else str(spelt))
    found = {answer for name, answer in names.items() if plain_number(name) == value} if value is not None else set()
    return found.pop() if len(found) == 1 else None


def _joined(text: str) -> str:
    return spaced(_JOINT.sub(" ", text).replace("&", " and ").rstrip("."))


def _fused(text: str) -> str:
    return squeeze(_JOINT.sub("", text).rstrip("."))  # BillingIssue


def by_letter(letter: str, listed: Sequence[str | None]) -> str | None:
    """Return the answer of a letter (a: the first), or None where there are fewer answers."""
    position = ord(letter.lower()) - ord("a")
    return listed[position] if 0 <= position < len(listed) else None


def _read_sign(text: str, letters: Letters, names: dict[str, str]) -> str | None:
    """Return the answer of a text that begins with a letter: ``(b)``, ``B.``, ``option B``, ``b) whatever``."""
    clause, rest = _split(text)
    sign = _SIGN.match(clause)
    if sign and any(name.start < sign.end() < name.end for name in _find_names(clause, names)):
        return None  # 'option A dog', where 'A dog' is one
    if sign:
        letter, marked, beside, known = sign[1] or sign[2], True, clause[sign.end() :], True
    elif lone := _LONE_SIGN.fullmatch(clause):
        letter, marked, beside = lone[1], bool(lone[2]) or lone[3] is None, lone[3] or ""
        known = lone[2] == ")"
        following = tidy(_split(rest.strip())[0])
        beside = following if not beside and match_name(following, names) is not None else beside  # 'A. negative'
    else:
        return None
    answer = _by_sign(letter, letters.marked if known else letters.bare, names)
    beside = tidy(_BESIDE.sub("", beside).rstrip(" .:,-–—="))
    if CORRECTION.search(_fold(rest)):
        return None
    if beside and (found := match_name(beside, names)) is not None:
        return None if {letter, letter.upper()} & names.keys() and found != answer else found
    listed = text[len(clause) :].startswith(";")
    if listed and _read_clause(_split(rest)[0].strip(), letters, names) not in (None, answer):
        return None
    raw = _fold(clause[sign.end() if sign else 1 :])
    others = (*_find_names(beside, names), *_find_signs(beside, letters, names))
    unclear = any(one.answer != answer for one in others)
    unclear = unclear or any(words.match(side) for words in (TURNS, CORRECTION) for side in (raw, _fold(beside)))
    return answer if answer is not None and marked and not unclear else None


def _by_sign(letter: str, listed: Sequence[str | None], names: dict[str, str]) -> str | None:
    """Return what a letter stands for; labels that are letters stand for themselves."""
    return next((names[name] for name in (letter, letter.upper(), letter.lower()) if name in names), None) or by_letter(
        letter, listed
    )


def _split(text: str) -> tuple[str, str]:
    """Return the first clause of a text, and the rest."""
    end = CLAUSE.search(text)
    return (text[: end.start()], text[end.end() :]) if end else (text, "")


def _read_mentions(text: str, letters: Letters, names: dict[str, str]) -> str | None:
    """Return the one answer that the first clause of a text asserts, and that no later one takes back."""
    clause, rest = _split(text)
    answer = _read_clause(clause, letters, names)
    if answer is None or CORRECTION.search(_fold(rest)):
        return None
    while rest:
        clause, rest = _split(rest)
        if _read_clause(clause.strip(), letters, names) not in (None, answer):
            return None
    return answer


def _read_clause(text: str, letters: Letters, names: dict[str, str]) -> str | None:
    clause = _EMPHASIS.sub(" ", _fold(text))
    if SIGNS_OF_DENIAL.search(clause):
        return None
    mentions = list(_find_names(text, names))
    mentions += [sign for sign in _find_signs(text, letters, names)
                 if not any(sign.start < name.end and name.start < sign.end for name in mentions)]  # fmt: skip
    parts, asserted, done, since = [""], set(), 0, 0
    for mention in sorted(mentions):
        if mention.start < done:
            continue
        seen_from = max(since, mention.start - 80)  # far enough back for the longest denial
        denial = DENIAL.search(clause[seen_from : mention.start])
        if denial:
            parts[-1] += clause[done : seen_from + denial.start()] + " "
            contrast = CONTRAST.match(clause, mention.end)
            done = contrast.end() if contrast else mention.end
        else:
            parts[-1] += clause[done : mention.start]
            parts.append("")
            asserted.add(mention.answer)
            done = mention.end
        # The label 'neither' also denies the next one.
        since = mention.start if clause[mention.start : mention.end] == "neither" else done
    parts[-1] += clause[done:]
    if len(asserted) != 1:
        return None
    answer = asserted.pop()
    return answer if asserts(parts, answer.lower() in ("no", "none", "not", "all", "other")) else None


def _fold(text: str) -> str:
    """Return a text in lower case, each character in its place."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _find_signs(text: str, letters: Letters, names: dict[str, str]) -> Iterator[Mention]:
    """Yield where a text names answers by their letters: ``(b)``, ``option B``, ``is B``."""
    for signs, listed in ((_SIGN, letters.marked), (_CAPITAL, letters.bare)):
        for sign in signs.finditer(text):
            answer = _by_sign(next(filter(None, sign.groups())), listed, names)
            if answer:
                yield Mention(*sign.span(), answer)


def _find_names(text: str, names: dict[str, str]) -> Iterator[Mention]:
    """Yield where a text names answers as whole words; of names within names, the longest."""
    written, text = text, _fold(text)
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
    return " ".join(_fold(name.translate(QUOTES)).replace("_", separator).split())


def _is_word(text: str, start: int, end: int) -> bool:
    """Return whether a place in a text is a word of its own: neither in ``non-positive`` nor in ``1.5``."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or before[-1:] == "_" or (before[-1:] in "-." and before[:1].isalnum() and before[1:]):
        return False
    if text[end - 1].isdigit() and (_PART_AFTER.match(after) or _AMOUNT[1].match(after)):
        return False
    if text[start].isdigit():
        if _PART_BEFORE.search(before) or _PART_AFTER.match(after) or _AMOUNT[0].search(before):
            return False
        if before[-1:] == "$" != after[:1]:  # dollars, and no formula
            return False
    if (before[-1:] == "-" and text[start].isdigit()) or after[:1].isalnum() or after[:1] == "_":
        return False
    return not ((after[:1] == "-" and after[1:].isalpha()) or (after[:1] in (".", ",") and after[1:].isdigit()))
