# ruff: noqa: RUF001 - the signs that people write are meant
"""The words that mark an answer: those of the prompt, and those that chat models use instead."""

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

# Repetitions in these patterns are bounded: a teacher may write ten thousand newlines, and no text may hang the run.
# A teacher that does not stop invents the next question, worded as in a prompt ...
_NEXT_QUESTION = re.compile(r"\n\s{0,8}(?:\*\*)?Q(?:uestion)?\s?\d{0,4}\s?(?::|$)", re.I)
# ... or as the exemplars of a task are; these words may also open a line of a rationale.
_NEXT_INPUT = re.compile(
    r"\n\s{0,8}(?:(?:#{1,6}\s?|\*\*)?(?:Premise|Hypothesis|Message|Input|Example|Text|Human|User|Instruction)\s?\d{0,4}"
    r"\s?:|#{1,6}\s?(?:Instruction|Question|Input|Example|User|Human)\s?\d{0,4}\s?(?=\n))",
    re.I,
)
# What may follow an answer: why it is the answer.
_EXPLAINED = re.compile(
    r"[\s*_#>-]{0,12}(?:<(?:rationale|reasoning|explanation)>"
    r"|(?:rationale|reasoning|explanation|reason|justification)[*_ ]{0,4}:[*_]{0,4})",
    re.I,
)
_KINDS = r"answer|label|conclusion|output|prediction|classification|verdict|final decision|result"
_CLASSES = r"class|category|choice|decision|sentiment|emotion|intent|topic|stance"
_HEAD = r"(?:^|(?<=[\n.!?>:]))[ \t#>*_-]{0,12}(?:\d{1,2}[.)]\s{1,3}[*_]{0,4})?"
_COLON = r"[ *_]{0,6}(?:[:=]|\s[-–—→]|\s?[-=]>)[*_]{0,4}"
# Words that mark an answer where those of the prompt do not occur, the most reliable first.
_COMMON = (
    re.compile(r"<(?:final[_ -]?)?(?:answer|ans|label)>|\[(?:final[_ ])?(?:answer|label)\](?!\()[ \t]{0,4}:?", re.I),
    re.compile(
        r"(?:\b(?:so|thus|hence|therefore|in conclusion)\b,?\s{1,4})?\b(?:the|my)\s{1,4}"
        r"(?:(?:final|correct|right|best|most likely|predicted|(?:most )?appropriate)\s{1,4})?"
        r"(?:answer|option|choice|label)\s{1,4}is\b[\s*_]{0,8}:?",
        re.I,
    ),
    re.compile(
        rf"{_HEAD}(?:(?:so|thus|hence|therefore),?\s)?(?:(?:my|the)\s)?(?:final\s)?(?:{_KINDS}){_COLON}",
        re.I,
    ),
    re.compile(r"(?:^|(?<=[\n.!?>:]))[ \t#>*_-]{0,12}(?:final\s)?answer\s{1,3}is\b[\s*_]{0,8}:?", re.I),
    re.compile(
        rf"(?:^|\n)[ \t]{{0,8}}(?:#{{1,6}}\s?|\*\*)(?:final\s)?(?:{_KINDS}):?(?:\*\*)?:?[ \t]{{0,8}}(?=\n)", re.I
    ),
    re.compile(
        r"(?:答案|答え|回答|结论|結論|정답|답변?|\b(?:antwort|réponse|respuesta|risposta|resposta|antwoord|odpowiedź|ответ|"
        r"відповідь|cevap|jawaban|svaret|الإجابة|الجواب)(?:\s(?:finale?|correcta|correta|final))?)[ *_]{0,4}"
        r"(?:[:：]|是|为|為|は|은|는|\s(?:ist|est|es|è|é|is|jest|är|er|هي|هو|[-–—])(?=\W))[ *_]{0,4}[:：]?",
        re.I,
    ),
    re.compile(r"(?:^|\n)[ \t]{0,8}####"),
    re.compile(r"(?=\\boxed\s?\{)"),
)
# Others that mark one of closed answers, and may mark anything else where answers are open.
_OF_CLOSED = (
    re.compile(rf"<(?:final[_ -]?)?(?:{_KINDS}|{_CLASSES})>|<final>", re.I),
    re.compile(
        r"\b(?:the|my)\s{1,4}(?:(?:final|correct|right|best|most likely|predicted|(?:most )?appropriate)\s{1,4})?"
        r"(?:class|category|classification|prediction|verdict)\s{1,4}is\b[\s*_]{0,8}:?",
        re.I,
    ),
    re.compile(rf"{_HEAD}(?:(?:my|the)\s)?(?:final\s)?(?:{_CLASSES}){_COLON}", re.I),
    re.compile(r"(?=\[\[[^\[\]\n]{1,40}\]\]\W{0,4}(?:\n|$))"),
)


class Cue(NamedTuple):
    """The words that mark an answer in a text.

    Attributes:
        start, end: their position.
    """

    pattern: re.Pattern[str]
    start: int
    end: int


def own_block(text: str) -> str:
    """Return a completion up to the first new question that the teacher invented."""
    text = text.lstrip()
    end = _NEXT_QUESTION.search(text)
    return text[: end.start()] if end else text


def before_next_input(text: str) -> str:
    """Return a text up to the first new input that the teacher invented."""
    end = _NEXT_INPUT.search(text)
    return text[: end.start()] if end else text


def explained(after: str) -> str:
    """Return the text after an answer as its rationale, under such a title; or an empty text.

    >>> explained("\\n**Explanation:** It broke."), explained("\\nIt broke.")
    (' It broke.', '')
    """
    title = _EXPLAINED.match(after)
    return before_next_input(after[title.end() :].partition("</")[0]) if title else ""


def find_cues(block: str, cue: str, closed: bool) -> Iterator[Cue]:
    """Yield the last match of each kind of cue before any invented input, the prompt's own kind first.

    Each one is later in the text than those yielded before it, so that the last statement counts.

    Args:
        block: of ``own_block``.
        closed: whether the answers are closed.
    """
    after = -1
    for pattern in (*own_pattern(cue), *_COMMON, *(_OF_CLOSED if closed else ())):
        matches = list(pattern.finditer(block))
        if not matches:
            continue
        next_input = _NEXT_INPUT.search(block, matches[0].end())
        last = [match for match in matches if not next_input or match.start() < next_input.start()][-1]
        if last.start() > after:
            after = last.start()
            yield Cue(pattern, *last.span())


@lru_cache(maxsize=64)
def own_pattern(cue: str) -> tuple[re.Pattern[str], ...]:
    """Return the pattern of a prompt's cue, as a tuple; empty for an empty cue."""
    words = cue.split()
    return (re.compile(r"[\s*_]{1,40}".join(map(re.escape, words)) + r"[\s*_]{0,40}:?", re.I),) if words else ()
