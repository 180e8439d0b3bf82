"""From a teacher's raw text to rationale and answer: an ordered chain of small parsers, and a status for every failure.

Parsing can be repeated: the raw completions stay in the store, so a better parser needs no new requests.
"""

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from dsbs.core.finish_reasons import BROKEN, LENGTH, REFUSED, STOP, read_finish_reason
from dsbs.core.records import NO_RATIONALE, OK
from dsbs.extraction.parsing.cues import Cue, before_next_input, explained, find_cues, own_block, own_pattern
from dsbs.extraction.parsing.objects import find_answer_object, read_object
from dsbs.extraction.parsing.rationales import FROM_ANSWER, Take, clean_rationale
from dsbs.extraction.parsing.tables import unfold
from dsbs.extraction.parsing.thoughts import split_thought
from dsbs.tasks.base import Answers
from dsbs.tasks.cells import fold

# Why an annotation is not used. ``ok`` is ``dsbs.core.records.OK``.
STATUSES = {
    OK: "a rationale and an answer",
    "empty": "the teacher wrote nothing",
    "only_thinking": "thinking, and no answer after it",
    "no_cue": "no words that mark an answer, such as 'So the answer is'",
    "cut_off": "the completion was cut off before its answer, or its thinking, was complete",
    "no_answer": "nothing follows the words that mark an answer",
    "unknown_label": "what the teacher gave as its answer is none of the task's, or is ambiguous",
    NO_RATIONALE: "an answer without a rationale; the label is usable",
    "refused": "the server or the model refused to answer (content filter, refusal)",
}

_MAX_LINES = 300
_TERMINATED = re.compile(r"[.!?)\]}\"'”*`>$]\s{0,8}$")
# Words with which a text that has given its answer takes it back.
_CORRECTION = re.compile(
    r"(?:^|[.!?\n]\s{0,8})(?:but\s|no,\s)?(?:wait|actually|hmm|hold on|correction|scratch that|on second thought|"
    r"let me re\w+|on reflection|however, i)\b",
    re.I,
)
# Right before the words that mark an answer: they deny or doubt it, or make it depend on something.
_DOUBT = re.compile(
    r"(?:n['\u2019]t|\b(?:not|no|never|nobody|cannot|doubt\w*|wonder\w*|whether|if|unless|otherwise|unclear|unsure|unlikely|"
    r"false|wrong|incorrect|might|could|would))(?:\s{1,3}[\w'\u2019]{1,15}){0,4}\s{1,3}$",
    re.I,
)
_LONGEST_DOUBT = 80
_HENCE = re.compile(r"\W{0,8}(?:so|thus|hence|therefore|in conclusion)\b", re.I)
_AROUND = " *_`:#\t\r\n"
_DISPLAYED = re.compile(r"^(?:\\\[|\$\$|`{3}\w{0,10}|-{3,9})\s{1,9}")
_BULLET = re.compile(r"^(?:[-*•]|\d{1,2}[.)])\s{1,3}")
_LISTED = re.compile(rf"{_BULLET.pattern}|^(?:or|and)\b\s{{0,3}}", re.I)
_GOES_ON = re.compile(r"\w[*_)'\"]{0,4}[.!?]\s{1,9}\w+\s")
_LONGEST_ANSWER = 500


class Found(NamedTuple):
    """An answer found in a text.

    Attributes:
        label: in canonical form, or None where it is not an answer of the task.
        cue: the words that mark it, or None.
        open: whether the text may end within it.
    """

    label: str | None
    written: str
    before: str
    after: str
    cue: Cue | None = None
    open: bool = False


def parse(
    text: str,
    finish_reason: str | None,
    cue: str,
    answers: Answers,
    choices: tuple[str, ...] | None = None,
    *,
    reasoning: str | None = None,
    take: Take = FROM_ANSWER,
) -> tuple[str | None, str | None, str]:
    """Return rationale, label and status of a completion; never raises.

    Args:
        finish_reason: why the teacher stopped, as its server words it (``dsbs.core.finish_reasons``).
        cue: the words that mark the answer in the prompt; common ones are tried where they do not occur.
        reasoning: the model's reasoning, which the server returned beside the text; or None.

    Returns:
        rationale or None, label or None, and status, a key of ``STATUSES``.

    >>> from dsbs.tasks.answers import ClosedAnswers
    >>> text = "Bums live outdoors. So the answer is (b) bridge.\\n\\nQ: What is red?\\nA: So the answer is (a)"
    >>> parse(text, "length", "So the answer is", ClosedAnswers(), ("hotel", "bridge"))
    ('Bums live outdoors.', 'bridge', 'ok')
    """
    ending = read_finish_reason(finish_reason)
    if ending == REFUSED:
        return None, None, "refused"
    ending = LENGTH if ending == BROKEN else ending
    written = split_thought(text)
    thought = "\n".join(filter(None, dict.fromkeys((reasoning, written.thought))))
    if written.thinking:
        return None, None, "cut_off"
    if not written.answer.strip() and ending == STOP and _concludes(thought, cue, answers, choices):
        return parse(thought, finish_reason, cue, answers, choices, take=take)  # all of it was taken for thinking
    if not written.answer.strip():
        status = "cut_off" if ending == LENGTH else "only_thinking" if thought.strip() else "empty"
        return None, None, status
    block = _whole_object(written.answer) or own_block(written.answer)
    whole = not written.ended and len(block) == len(written.answer.lstrip())
    block = unfold(block)
    found = _find(block, cue, answers, choices)
    if found is None:
        stopped = whole and (ending == LENGTH or (ending is None and not _TERMINATED.search(block)))
        return clean_rationale(block) or None, None, "cut_off" if stopped else "no_cue"
    marks = [*own_pattern(cue), *([found.cue.pattern] if found.cue else [])]
    rationale = take.choose(clean_rationale(found.before, *marks), clean_rationale(thought, *marks))
    rationale = rationale or clean_rationale(explained(found.after), *marks) or None
    if whole and _is_unfinished(found, ending, block, _listed(answers, choices)):
        return rationale, None, "cut_off"
    if found.label is None or _CORRECTION.search(found.after):
        return rationale, None, "unknown_label" if found.written else "no_answer"
    if rationale and _is_answer(rationale, (found.label, *_listed(answers, choices))):
        rationale = None
    return rationale, found.label, OK if rationale else NO_RATIONALE


def _concludes(text: str, cue: str, answers: Answers, choices: tuple[str, ...] | None) -> bool:
    """Return whether a text ends with the words that mark the answer in the prompt, and an answer."""
    found = _find(text, cue, answers, choices)
    if found is None or found.label is None or found.cue is None or found.after.strip(_AROUND):
        return False
    return found.cue.pattern in own_pattern(cue)


def _is_answer(rationale: str, known: Sequence[str]) -> bool:
    """Return whether a rationale is nothing but an answer again: it does not say why."""
    bare = rationale.strip(f"{_AROUND}.!()'\"")
    return len(bare) <= max(map(len, known)) and fold(bare) in map(fold, known)


def _whole_object(text: str) -> str | None:
    """Return a completion up to the end of the object that it begins with: its texts may have questions in them."""
    text = text.lstrip()
    start = text.find("{")
    if start < 0 or text[:start].strip("`json5 \n"):
        return None
    end = read_object(text, start)[1]
    return text[:end] if "\n" in text[start:end] and end > len(own_block(text)) else None


def locate(text: str, cue: str | None, answers: Answers, choices: tuple[str, ...] | None) -> int | None:
    """Return the position in a text at which the answer of ``parse`` begins, or None where it is not certain.

    Args:
        cue: the words that mark the answer; None: the whole text is the answer.

    >>> from dsbs.tasks.answers import ClosedAnswers
    >>> text = "Bums live outdoors. So the answer is bridge."
    >>> text[locate(text, "So the answer is", ClosedAnswers(), ("hotel", "bridge")):]
    'bridge.'
    """
    written = split_thought(text).answer
    block = written.strip() if cue is None else own_block(written)
    start = text.rfind(block) if block else -1
    if start < 0 or cue is None:
        return start if start >= 0 else None
    found = _find(block, cue, answers, choices)
    if found is None or not found.written:
        return None
    position = block.rfind(found.written, 0, len(block) - len(found.after))
    return start + position if position >= 0 else None


def _listed(answers: Answers, choices: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the closed answers, or none where they are open."""
    return choices or getattr(answers, "labels", None) or ()


def _is_unfinished(found: Found, ending: str | None, block: str, listed: Sequence[str]) -> bool:
    """Return whether the teacher was stopped before its answer was whole, or while it was still reasoning.

    A text that goes on after its answer and is stopped there may be a thought that no tag marks: it might have come to
    another answer.
    """
    if ending not in (LENGTH, None):
        return False
    if found.after.strip(_AROUND) or _GOES_ON.search(found.written):
        return ending == LENGTH or not _TERMINATED.search(block)
    if not found.open or _TERMINATED.search(block):
        return False
    if ending == LENGTH or found.label is None:
        return True
    written = found.written.casefold()  # 'credit' may be half of 'credit card'
    return any(len(name) > len(written) and name.casefold().startswith(written) for name in listed)


def _find(block: str, cue: str, answers: Answers, choices: tuple[str, ...] | None) -> Found | None:
    """Return the answer of a text: in an object, after a cue, or alone; the first of these that can be read.

    Another one after a later cue retracts it.
    """
    unread: Found | None = None
    candidates = _candidates(block, cue, answers, choices)
    for found in candidates:
        if found.label is not None:
            more = candidates if found.cue and found.after.strip(_AROUND) else ()
            differs = any(_differs(later, found, block, answers, choices) for later in more)
            return found._replace(label=None) if differs else found
        unread = unread or found
    return unread


def _differs(later: Found, found: Found, block: str, answers: Answers, choices: tuple[str, ...] | None) -> bool:
    """Return whether another answer follows a later cue, about the same input."""
    if found.cue is None or later.cue is None:
        return False
    other = answers.parse_alone(later.written, choices)
    between = block[found.cue.end : later.cue.start]
    return other is not None and not answers.equivalent(other, found.label) and before_next_input(between) == between


def _candidates(block: str, cue: str, answers: Answers, choices: tuple[str, ...] | None) -> Iterator[Found]:
    closed = bool(_listed(answers, choices))
    marks = find_cues(block, cue, closed)  # one by one: mostly the first is enough
    mark = next(marks, None)
    found = find_answer_object(block, lambda written: answers.parse_alone(written, choices), closed)
    if found and len(block) - len(found.after) > (mark.start if mark else -1):
        written = found.written.strip(_AROUND)[:_LONGEST_ANSWER]
        label = answers.parse(written, choices) if written else None
        yield Found(label, written, found.rationale, found.after, open=not found.closed)
    end = 0
    while mark is not None:
        end = mark.end
        yield _read_marked(block, mark, answers, choices)
        mark = next(marks, None)
    yield from _find_alone(block, end, answers, choices)


def _read_marked(block: str, cue: Cue, answers: Answers, choices: tuple[str, ...] | None) -> Found:
    """Read the line that follows a cue."""
    rest = block[cue.end :]
    line_follows = not rest.split("\n", 1)[0].strip(_AROUND)
    rest = _DISPLAYED.sub("", rest.strip(_AROUND))
    if block[cue.start : cue.end].lstrip().startswith("<"):
        written, closed, after = rest.partition("</")
        written, after = written.strip(_AROUND), after.partition(">")[2] if closed else ""
    else:
        written, _, after = rest.partition("\n")
        written = written.strip(_AROUND)
        closed = ""
    if line_follows:
        written = _BULLET.sub("", written)
    written = written[:_LONGEST_ANSWER]
    denied = not _HENCE.match(block, cue.start) and _DOUBT.search(block[max(0, cue.start - _LONGEST_DOUBT) : cue.start])
    label = answers.parse(written, choices) if written and not denied else None
    if label is not None and not closed:  # a list of answers is none
        following = _LISTED.sub("", after.partition("\n")[0].strip(_AROUND))
        other = answers.parse_alone(following, choices)
        label = None if other is not None and not answers.equivalent(other, label) else label
    return Found(label, written, block[: cue.start], after, cue, open=not closed)


def _find_alone(block: str, start: int, answers: Answers, choices: tuple[str, ...] | None) -> Iterator[Found]:
    """Yield an answer that is all there is to a line, the last line or the first, where no other line says another."""
    written = list(dict.fromkeys(filter(None, (line.strip(_AROUND) for line in block.split("\n")))))
    if not written or len(written) > _MAX_LINES or block.rfind(written[-1]) < start:
        return
    read = {line: _read_lone(line, answers, choices) for line in written}
    if len({label for label in read.values() if label is not None}) != 1:
        return
    if (label := read[written[-1]]) is not None:
        yield Found(label, written[-1], block[: block.rfind(written[-1])], "", open=True)
    elif (label := read[written[0]]) is not None and not start:
        yield Found(label, written[0], "", block.lstrip(_AROUND)[len(written[0]) :])


def _read_lone(line: str, answers: Answers, choices: tuple[str, ...] | None) -> str | None:
    return None if len(line) > _LONGEST_ANSWER or _BULLET.match(line) else answers.parse_alone(line, choices)
