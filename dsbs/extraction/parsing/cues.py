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
_NEXT_INPUT = re.compile(r"\n\s{0,8}(?:Premise|Hypothesis|Message|Input|Example|Text|Human|User)\s?\d{0,4}\s?:", re.I)
_KINDS = r"answer|label|conclusion|output|prediction|classification|verdict|final decision|result"
# Words that mark an answer where those of the prompt do not occur, the most reliable first.
_COMMON = (
    re.compile(r"<(?:final[_ -]?)?(?:answer|label)>", re.I),
    re.compile(
        r"(?:\b(?:so|thus|hence|therefore|in conclusion)\b,?\s{1,4})?\b(?:the|my)\s{1,4}"
        r"(?:(?:final|correct|right|best|most likely)\s{1,4})?(?:answer|option|choice|label)\s{1,4}is\b[\s*_]{0,8}:?",
        re.I,
    ),
    re.compile(
        r"(?:^|(?<=[\n.!?>:]))[ \t#>*_-]{0,12}(?:(?:so|thus|hence|therefore),?\s)?(?:(?:my|the)\s)?(?:final\s)?"
        rf"(?:{_KINDS})[ *_]{{0,6}}(?:[:=]|\s[-–—→]|\s?[-=]>)[*_]{{0,4}}",
        re.I,
    ),
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


def find_cues(block: str, cue: str) -> Iterator[Cue]:
    """Yield the last match of each kind of cue before any invented input, the prompt's own kind first.

    Each one is later in the text than those yielded before it, so that the last statement counts.

    Args:
        block: of ``own_block``.
    """
    after = -1
    for pattern in (*own_pattern(cue), *_COMMON):
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
