# ruff: noqa: RUF001 - the signs that people write are meant
"""Parsing a closed answer from text: correctly, or not at all.

People and chat models write ``option B.``, ``negative, not positive``, ``anything but positive``. An answer counts
where it is named alone, or where a clause asserts it and nothing in that clause denies it, doubts it or makes it depend
on something. What is unclear is not parsed: a wrong label costs more than a missing one.
"""

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dsbs.tasks.cells import plain_number
from dsbs.tasks.shapes import QUOTES, bare, in_ascii_signs, spaced, squeeze, tidy

MOST = 1000
_MOST_LEADS = 10
_CLAUSE = re.compile(r"[;\n]|\.(?=\s|$)|,?[ \t]{1,4}(?:because|since|as)\s")
# What may stand before an answer without saying anything about it; taken off piece by piece.
_LEAD = re.compile(
    r"(?:so|thus|hence|therefore|clearly|definitely|certainly|surely|simply|just|that's|it's|that|it|this|is|the|my|"
    r"final|correct|right|best|predicted|likely|most|overall|single|sure|okay|ok)(?:[,:]\s{0,3}|\s{1,3})"
    r"|an?\s{1,3}(?=[\w\"'*(<`])"  # and not 'A, B'
    r"|(?:answer|label|class|category|classification|prediction|output|verdict|conclusion|response|result|value)\b"
    r"\s{0,3}(?:is\b|would\s{1,3}be\b|should\s{1,3}be\b|must\s{1,3}be\b)?\s{0,3}(?:[:=>→–—]|-(?!\d)){0,3}\s{0,3}"
    r"|[-–—•*:>=→#]{1,6}(?!\d)\s{0,3}|\d{1,2}[.)]\s{1,3}",
    re.I,
)
_OPTION = r"\b(?:option|choice|letter|answer|candidate|alternative)\b[\s:*_#]{0,4}"
_SIGN = re.compile(rf"(?:{_OPTION})?[(\[]\s?([A-Za-z])\.?\s?[)\]]|{_OPTION}([A-Za-z])(?![\w'])", re.I)
# A capital counts as a letter of the list behind such words alone: 'plan B' is none.
_CAPITAL = re.compile(
    r"(?:^|(?<=\bis )|(?<=\bbe )|(?<=\bwith )|(?<=\bpick )|(?<=\bchoose )|(?<=\bselect )|(?<=\bsay )|(?<=\bnot )"
    r"|(?<=\bthan )|(?<=\bover )|(?<=\bof )|(?<=\bbut )|(?<=: )|(?<=, ))"
    r"([B-HJ-Z]|A(?=[.,;:)!]|\s(?:but|and|or|nor)\b|$))(?![\w'’-]|\.\w)"
)
_LONE_SIGN = re.compile(r"([A-Za-z])\s?([.):]|[-–—=](?=\s))?(?:\s{1,3}(\S.*))?", re.S)
# The answer that such words stand right before is denied.
_DENIAL = re.compile(
    r"(?:(?:,|\band|\bbut)?\s{0,3}\b(?:not|no|never|neither|nor|cannot|hardly|barely|scarcely|without|except|unlike|than|"
    r"nicht|keine?|weder|noch|pas|ni|non|niet|geen|inte|ikke|não|nunca|не|ні|nie|ne|není|nije|nem|nu|ei|bukan|tidak|không|"
    r"δεν|όχι|לא|ليس|ليست|غير|لا|"
    r"versus|vs|over|rather than|instead of|opposed to|anything but|everything but|all but|far from|nothing like|"
    r"opposite of)|n't)[.,]?\s{1,3}"
    r"(?:(?:an?|the|be|is|it|it's|really|entirely|quite|fully|completely|necessarily|at all|exactly|very|so|simply|in|"
    r"as|being|considered|called|classified|labell?ed|option|choice|answer)\s{1,3}){0,4}$",
    re.I,
)
_CONTRAST = re.compile(r"\s{0,3},?\s{0,3}but(?:\s{1,3}(?:rather|instead))?\b")
# Where a clause has such words, it is not clear what it says.
_HEDGES = re.compile(
    r"n't\b|\b(?:not|no|never|neither|nor|non|cannot|hardly|barely|scarcely|rarely|but|far|rather|instead|unlike|opposite|"
    r"contrary|contradicts|except|excluding|besides|without|lacks?|less|least|fewer|than|other|if|unless|would|could|"
    r"might|may|can|either|or|between|both|almost|nearly|wrong|false|incorrect|mistaken|unlikely|doubt\w*|ruled?|"
    r"exclude\w*|eliminate\w*|discard\w*|dismiss\w*|reject\w*|refuse\w*|avoid\w*|fail\w*|short|out|off|question\w*|first|"
    r"initial\w*|previous\w*|former\w*|once|was|were|used|too|until|supposed\w*|pretend\w*|ironic\w*|sarcas\w*|assum\w*|"
    r"suppose|hypothetical\w*|depends?|unclear|unsure|uncertain|ambiguous|hard|difficult|impossible|whether|versus|vs|"
    r"mix\w*|though|although|however|despite|only|free|anti|some|many|people|others|surface|literally|"
    r"nicht|kein\w*|weder|niemals|außer|statt|pas|jamais|sauf|nunca|tampoco|salvo|excepto|niet|geen|não|nem|nessun\w*|"
    r"inte|ikke|не|ні|nie|ne|není|nije|nem|nu|ei|değil|bukan|tidak|không|δεν|όχι|לא|ليس|ليست|غير|لا|"
    r"partly|partially|minus|half|semi|quasi|pseudo|zero|absence|devoid|falsely|allegedly|unknown|undecided|so-called|"
    r"should\s+have)\b|\b0(?:\.0+)?\s?%|नहीं|নয়|不|非|没|未|ない|ません|아니|않"
)
_SIGNS_OF_DENIAL = re.compile(r"[❌✗✘🚫⛔¬≠]|!=|!\w")
# An answer at the head of a sentence may be followed by reasons in any words, but not by these.
_TURNS = re.compile(
    r"\W{0,6}(?:if|unless|but|or|nor|and|though|although|except|only|however|not|no|maybe|perhaps|when|until|provided|"
    r"assuming|depending|is|are|was|were|may|might|could|would|can|cannot|seems?|vs|versus|"
    r"wrong|incorrect|false|none|haha|just kidding)\b|\s{0,3}[?/|&+]"
    r"|\s{0,3}[:=(]\s{0,3}0(?:\.0+)?(?:%|\b(?!\.))|\W{0,6}(?:では|じゃ|は(?=な)|不|아니|않)"
)
_CORRECTION = re.compile(
    r"\b(?:wait|actually|correction|scratch|oops|hmm|second thought|alternatively|sorry|could also|might also|may also|"
    r"or maybe|or perhaps|or rather|i mean|however)\b|\bno,|^\W{0,4}(?:but|or)\b"
)
# What may follow an answer that ends its clause in meaning, if not in letters.
_FOLLOWS = re.compile(
    r"(?:\s{1,3}(?:sentiment|label|class|category|option|answer|choice|tone|review|one|statement|relation|relationship|"
    r"opinion|feeling|stars?|points?|message|text|case|polarity|emotion|intent|topic)\b)?"
    r"(?:\s{0,3}$|\s{0,3}[^\w\s?/|&+]|\s{1,3}(?:because|since|as|for|due|given|with|in|on|of|to|at|by|from|that|here|"
    r"overall|is\s{1,3}(?:the\s{1,3})?(?:most\s{1,3})?(?:correct|right|best|answer|likely|appropriate|fitting))\b)"
)
_ENDS = re.compile(r"\s{0,3}(?:$|[^\w\s]|(?:because|since|as|for)\b)")
# Around a digit: it is a part of a number, a bound, or of arithmetic.
_PART_BEFORE = re.compile(r"[<>≥≤^*×±√]\s?$|\d[,+/-]$")
_PART_AFTER = re.compile(r"[\^*×±]|[-–/+]\d")
_JOINT = re.compile(r"(?<=\w)-(?=[^\W\d])|_")
_BRACKETED = re.compile(r"<\s?([^<>/]{1,80}?)\s?>")
_MINUS = re.compile(r"\b(?:minus|negative)\s{1,3}(?=\d)", re.I)
_STRUCK = re.compile(r"~~[^~]{1,200}~~")


class Mention(NamedTuple):
    """A place in a text (from ``start`` to before ``end``) that names an answer."""

    start: int
    end: int
    answer: str


def read_closed(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    """Return the answer that a text gives, or None.

    Args:
        text: one line of text.
        listed: the answers, in the order of their letters.
        names: name -> answer: the answers themselves, and synonyms.

    >>> labels = ("positive", "negative")
    >>> names = dict(zip(labels, labels))
    >>> [read_closed(text, labels, names) for text in ("option B.", "negative, not positive", "anything but positive")]
    ['negative', 'negative', None]
    """
    whole = _STRUCK.sub("", text[:MOST]).strip()
    if (found := match_name(whole, names)) is not None:  # a choice may end with a full stop of its own
        return found
    whole, names = _in_ascii_signs(whole, names)
    if bracketed := _BRACKETED.fullmatch(whole):  # the place of a label in a prompt, filled in
        whole = bracketed[1]
    rest = tidy(whole)
    for _ in range(_MOST_LEADS):
        if (found := match_name(rest, names)) is not None:
            return found
        if (found := _read_sign(rest, listed, names)) is not None:
            return found
        lead = _LEAD.match(rest)
        if lead is None:
            break
        rest = tidy(rest[lead.end() :])
    return _read_mentions(" ".join(tidy(whole).translate(QUOTES).split()), listed, names)


def _in_ascii_signs(text: str, names: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return text and names with their signs in ASCII, and ``minus 1`` as ``-1`` where names are numbers."""
    if any(name[-1:].isdigit() for name in names):
        text = _MINUS.sub("-", text)
    plain = names if all(map(str.isascii, names)) else {in_ascii_signs(name): answer for name, answer in names.items()}
    return in_ascii_signs(text), plain if len(plain) == len(names) else names


def match_name(text: str, names: dict[str, str]) -> str | None:
    """Return the answer that a whole text names, or None: exactly, or as the only name of the same normal form."""
    if text in names:
        return names[text]
    # Joined words are the last resort: 'livingroom' and 'living room' can both be choices.
    doubted = text.endswith("?") or text.startswith("!")
    for shape in (spaced, squeeze, _joined) if doubted else (spaced, squeeze, bare, _joined):
        wanted = shape(text)
        found = {answer for name, answer in names.items() if shape(name) == wanted} if wanted else set()
        if found:
            return found.pop() if len(found) == 1 else None
    value = plain_number(text.removeprefix("+"))
    found = {answer for name, answer in names.items() if plain_number(name) == value} if value is not None else set()
    return found.pop() if len(found) == 1 else None


def _joined(text: str) -> str:
    return spaced(_JOINT.sub(" ", text).rstrip("."))


def by_letter(letter: str, listed: Sequence[str]) -> str | None:
    """Return the answer of a letter (a: the first), or None where there are fewer answers."""
    position = ord(letter.lower()) - ord("a")
    return listed[position] if 0 <= position < len(listed) else None


def _read_sign(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    """Return the answer of a text that begins with a letter: ``(b)``, ``B.``, ``option B``, ``b) whatever``."""
    clause, rest = _split(text)
    sign = _SIGN.match(clause)
    if sign:
        letter, marked, beside = sign[1] or sign[2], True, clause[sign.end() :]
    elif lone := _LONE_SIGN.fullmatch(clause):
        letter, marked, beside = lone[1], bool(lone[2]) or lone[3] is None, lone[3] or ""
    else:
        return None
    answer, beside = _by_sign(letter, listed, names), tidy(beside.strip(" .:,-–—="))
    if answer is None or _CORRECTION.search(_fold(rest)):
        return None
    if beside and (found := match_name(beside, names)) is not None:
        return found
    beside = _fold(beside)
    unclear = bool(_TURNS.match(beside) or _SIGN.search(beside) or next(_find_names(beside, names), None))
    return answer if marked and not unclear else None


def _by_sign(letter: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    """Return what a letter stands for; labels that are letters stand for themselves."""
    return next((names[name] for name in (letter, letter.upper(), letter.lower()) if name in names), None) or by_letter(
        letter, listed
    )


def _split(text: str) -> tuple[str, str]:
    """Return the first clause of a text, and the rest."""
    end = _CLAUSE.search(text)
    return (text[: end.start()], text[end.end() :]) if end else (text, "")


def _read_mentions(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    """Return the one answer that the first clause of a text asserts, and that no later one takes back."""
    clause, rest = _split(text)
    answer = _read_clause(clause, listed, names)
    if answer is None or _CORRECTION.search(_fold(rest)):
        return None
    while rest:
        clause, rest = _split(rest)
        if _read_clause(clause, listed, names) not in (None, answer):
            return None
    return answer


def _read_clause(text: str, listed: Sequence[str], names: dict[str, str]) -> str | None:
    clause = _fold(text)
    if _SIGNS_OF_DENIAL.search(clause):
        return None
    mentions = list(_find_names(clause, names))
    mentions += [sign for sign in _find_signs(text, listed, names)
                 if not any(sign.start < name.end and name.start < sign.end for name in mentions)]  # fmt: skip
    parts, asserted, done = [""], set(), 0
    for mention in sorted(mentions):
        seen_from = max(done, mention.start - 80)  # far enough back for the longest denial
        denial = _DENIAL.search(clause[seen_from : mention.start])
        if denial:
            parts[-1] += clause[done : seen_from + denial.start()] + " "
            contrast = _CONTRAST.match(clause, mention.end)
            done = contrast.end() if contrast else mention.end
        else:
            parts[-1] += clause[done : mention.start]
            parts.append("")
            asserted.add(mention.answer)
            done = mention.end
    parts[-1] += clause[done:]
    if len(asserted) != 1:
        return None
    answer = asserted.pop()
    return answer if _asserts(parts, answer.lower() in ("no", "none", "not", "all")) else None


def _fold(text: str) -> str:
    """Return a text in lower case, each character in its place."""
    return "".join(c.lower() if len(c.lower()) == 1 else c for c in text)


def _find_signs(text: str, listed: Sequence[str], names: dict[str, str]) -> Iterator[Mention]:
    """Yield where a text names answers by their letters: ``(b)``, ``option B``, ``is B``."""
    for sign in (*_SIGN.finditer(text), *_CAPITAL.finditer(text)):
        answer = _by_sign(next(filter(None, sign.groups())), listed, names)
        if answer:
            yield Mention(*sign.span(), answer)


def _asserts(parts: list[str], denies: bool) -> bool:
    """Return whether a clause says that its answer is the answer.

    Args:
        parts: what stands before, between and after the places where the clause names it.
        denies: whether the answer is a word that may also belong to the next one, such as ``no``.
    """
    before, after = parts[0], parts[-1]
    if before.rstrip().endswith(("/", "|", "&", "+")):  # the second of two
        return False
    if not _FOLLOWS.match(after) or (denies and not _ENDS.match(after)):
        return False
    while (lead := _LEAD.match(before := before.lstrip(" \t*_\"'`([{,"))) and lead.end():
        before = before[lead.end() :]
    if not before and not after.lstrip(" ")[:1].isalnum():  # 'negative, for it broke': reasons in any words
        return not _TURNS.match(after)
    return not any(_HEDGES.search(part) for part in parts)


def _find_names(text: str, names: dict[str, str]) -> Iterator[Mention]:
    """Yield where a text in lower case names answers as whole words; of names within names, the longest."""
    found: list[Mention] = []
    for (name, answer), separator in itertools.product(names.items(), "_ "):
        name = " ".join(_fold(name.translate(QUOTES)).replace("_", separator).split())
        if (len(name) < 2 and not name.isdigit()) or (separator == " " and name in names):
            continue  # 'a' may be an article
        start = text.find(name)
        while start >= 0:
            end = start + len(name)
            if _is_word(text, start, end):
                found.append(Mention(start, end, answer))
            start = text.find(name, end)
    for one in found:
        wider = (
            b for b in found if b.start <= one.start and one.end <= b.end and b.end - b.start > one.end - one.start
        )
        if not next(wider, None):
            yield one


def _is_word(text: str, start: int, end: int) -> bool:
    """Return whether a place in a text is a word of its own: neither in ``non-positive`` nor in ``1.5``."""
    before, after = text[max(0, start - 2) : start], text[end : end + 2]
    if before[-1:].isalnum() or before[-1:] == "_" or (before[-1:] in "-." and before[:1].isalnum() and before[1:]):
        return False
    if text[start].isdigit() and (_PART_BEFORE.search(before) or _PART_AFTER.match(after)):
        return False
    if (before[-1:] == "-" and text[start].isdigit()) or after[:1].isalnum() or after[:1] == "_":
        return False
    return not ((after[:1] == "-" and after[1:].isalpha()) or (after[:1] in (".", ",") and after[1:].isdigit()))
