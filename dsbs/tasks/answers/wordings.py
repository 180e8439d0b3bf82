# ruff: noqa: RUF001 - the signs that people write are meant
"""Parsing a closed answer from text: correctly, or not at all.

People and chat models write ``option B.``, ``negative, not positive``, ``anything but positive``. An answer counts
where it is named alone, or where a clause asserts it and nothing in that clause denies it, doubts it or makes it depend
on something. What is unclear is not parsed: a wrong label costs more than a missing one.
"""

import re
from collections.abc import Sequence

from dsbs.tasks.answers.assertions import CONTRAST, CORRECTION, DENIAL, LEAD, SIGNS_OF_DENIAL, TURNS, asserts
from dsbs.tasks.answers.mentions import SIGN, Letters, by_sign, find_names, find_signs, fold_case
from dsbs.tasks.answers.numerals import read_spelt
from dsbs.tasks.answers.shapes import CLAUSE, QUOTES, bare, in_ascii_signs, spaced, squeeze, tidy
from dsbs.tasks.cells import plain_number

MOST = 1000
_MAX_LEADS = 10
_LONE_SIGN = re.compile(r"([A-Za-z])\s?([.):]|[-–—=](?=\s))?(?:\s{1,3}(\S.*))?", re.S)
_JOINT = re.compile(r"(?<=\w)-(?=[^\W\d])|_")
_BRACKETED = re.compile(r"<\s?([^<>/]{1,80}?)\s?>[.!]?")
# What Chinese, Japanese and Korean say behind an answer: that it is it.
_COPULA = re.compile(r"(?<=\w)(?:的|です|である|だ|입니다|이다|이에요|예요)$")
_MINUS = re.compile(r"\b(?:minus|negative)\s{1,3}(?=\d)", re.I)
_OUT_OF = re.compile(r"(?<=\d)(?:\sstars?)?\sout\sof\s(\d{1,3})(?=\s(?:stars?|points?)\b|\W{0,9}$)")
_BESIDE = re.compile(r"^(?:[ .:,–—=]|-(?!\d))+")
_EMPHASIS = re.compile(r"(?<!\w)_|_(?!\w)")
_STRUCK = re.compile(r"~~[^~]{1,200}~~")


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
    for _ in range(_MAX_LEADS):
        for form in (rest, _COPULA.sub("", rest)):
            if (found := match_name(form, names)) is not None:
                return found
        if bracketed := _BRACKETED.fullmatch(rest):
            rest = tidy(bracketed[1])
            continue
        if (found := _read_sign(rest, letters, names)) is not None:
            return found
        lead = LEAD.match(rest)
        if lead is None or any(name.start == 0 for name in find_names(rest, names)) or lead[0].strip() in names:
            break  # the label IT is no 'it', and the label A no article
        rest = tidy(rest[lead.end() :])
    return _read_mentions(" ".join(tidy(whole).translate(QUOTES).split()), letters, names)


def _without_initials(listed: Sequence[str]) -> list[str | None]:
    """Return the answers, with None where another begins with the letter: C may be the third, or contradiction."""
    initials = [answer[:1].casefold() for answer in listed]
    return [
        None if chr(ord("a") + position) in initials[:position] + initials[position + 1 :] else answer
        for position, answer in enumerate(listed)
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


def _read_sign(text: str, letters: Letters, names: dict[str, str]) -> str | None:
    """Return the answer of a text that begins with a letter: ``(b)``, ``B.``, ``option B``, ``b) whatever``."""
    clause, rest = _split(text)
    sign = SIGN.match(clause)
    if sign and any(name.start < sign.end() < name.end for name in find_names(clause, names)):
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
    answer = by_sign(letter, letters.marked if known else letters.bare, names)
    beside = tidy(_BESIDE.sub("", beside).rstrip(" .:,-–—="))
    if CORRECTION.search(fold_case(rest)):
        return None
    if beside and (found := match_name(beside, names)) is not None:
        return None if {letter, letter.upper()} & names.keys() and found != answer else found
    listed = text[len(clause) :].startswith(";")
    if listed and _read_clause(_split(rest)[0].strip(), letters, names) not in (None, answer):
        return None
    raw = fold_case(clause[sign.end() if sign else 1 :])
    others = (*find_names(beside, names), *find_signs(beside, letters, names))
    unclear = any(one.answer != answer for one in others)
    unclear = unclear or any(words.match(side) for words in (TURNS, CORRECTION) for side in (raw, fold_case(beside)))
    return answer if answer is not None and marked and not unclear else None


def _split(text: str) -> tuple[str, str]:
    """Return the first clause of a text, and the rest."""
    end = CLAUSE.search(text)
    return (text[: end.start()], text[end.end() :]) if end else (text, "")


def _read_mentions(text: str, letters: Letters, names: dict[str, str]) -> str | None:
    """Return the one answer that the first clause of a text asserts, and that no later one takes back."""
    clause, rest = _split(text)
    answer = _read_clause(clause, letters, names)
    if answer is None or CORRECTION.search(fold_case(rest)):
        return None
    while rest:
        clause, rest = _split(rest)
        if _read_clause(clause.strip(), letters, names) not in (None, answer):
            return None
    return answer


def _read_clause(text: str, letters: Letters, names: dict[str, str]) -> str | None:
    clause = _EMPHASIS.sub(" ", fold_case(text))
    if SIGNS_OF_DENIAL.search(clause):
        return None
    mentions = list(find_names(text, names))
    mentions += [sign for sign in find_signs(text, letters, names)
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
