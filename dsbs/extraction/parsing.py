"""From a teacher's raw text to an annotation: an ordered chain of small filters, and a reason for every failure.

Parsing is pure and repeatable: the raw completions stay in the store, so a better parser re-asks nothing.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence

from dsbs.core.records import OK, Annotation, Completion, Example
from dsbs.tasks.base import Answers

# Why an annotation is not used. ``ok`` is ``dsbs.core.records.OK``.
STATUSES = {
    OK: "a rationale and an answer",
    "empty": "the teacher wrote nothing",
    "no_cue": "the teacher came to an end without the words that mark an answer",
    "cut_off": "the teacher was stopped before its answer was whole",
    "no_answer": "nothing follows the words that mark an answer",
    "unknown_label": "what follows them is no answer of the task",
    "no_rationale": "an answer with nothing before it; the label can be used",
    "refused": "the server withheld the answer (content filter)",
}

# Repetitions in these patterns are bounded: a teacher may write ten thousand newlines, and no text may hang the run.
# A teacher that does not stop invents the next question, worded as in a prompt ...
_NEXT_QUESTION = re.compile(r"\n\s{0,8}(?:\*\*)?Q(?:uestion)?\s?\d{0,4}\s?:", re.I)
# ... or as the exemplars of a task are; these words may also open a line of a rationale.
_NEXT_INPUT = re.compile(r"\n\s{0,8}(?:Premise|Hypothesis|Message|Input|Example|Text|Human|User)\s?\d{0,4}\s?:", re.I)
_OPENING = re.compile(r"^[*_#>\s]{0,8}(?:A|Assistant|Rationale|Reasoning|Explanation)\s?[*_]{0,4}:[*_]{0,4}", re.I)
# Words that mark an answer where those of the prompt do not occur, the most telling ones first.
_COMMON_CUES = (
    re.compile(
        r"(?:\b(?:so|thus|hence|therefore|in conclusion)\b,?\s{1,4})?\b(?:the|my)\s{1,4}"
        r"(?:(?:final|correct|right|most likely)\s{1,4})?answer\s{1,4}is\b[\s*_]{0,8}:?",
        re.I,
    ),
    re.compile(
        r"(?:^|(?<=[\n.!?]))[ \t#>*_]{0,12}(?:final\s)?(?:answer|label|conclusion)[ *_]{0,6}[:=][*_]{0,4}", re.I
    ),
    re.compile(r"(?:^|\n)[ \t]{0,8}(?:#{1,6}\s?|\*\*)(?:final\s)?answer(?:\*\*)?[ \t]{0,8}(?=\n)", re.I),
    re.compile(r"(?:^|\n)[ \t]{0,8}####"),
    re.compile(r"(?=\\boxed\{)"),
)
_SENTENCE = re.compile(r"[^.!?\n]*(?:[.!?](?=\S)[^.!?\n]*)*[.!?\n]*\s*")
_MARKUP = re.compile(r"\*\*|__|^#{1,6}\s|^[-*]\s", re.M)
_DANGLING = re.compile(r"(?:^|[\s,;])(?:so|thus|hence|therefore|and|because)$", re.I)
_JSON = re.compile(r"\s*(?:```(?:json)?\s*)?(\{)", re.I)
_JSON_ANSWERS = ("answer", "final_answer", "label")
_JSON_RATIONALES = ("rationale", "reasoning", "explanation")
_TERMINATED = re.compile(r"[.!?)\]}\"'”*`]\s{0,8}$")
_AROUND = " *_`:#\t\r\n"
_LONGEST_ANSWER = 500


def parse(
    text: str,
    finish_reason: str | None,
    cue: str,
    answers: Answers,
    choices: tuple[str, ...] | None = None,
) -> tuple[str | None, str | None, str]:
    """Read one completion.

    Args:
        text: the raw text.
        finish_reason: why the teacher stopped; ``length`` marks a text that was cut off.
        cue: the words that mark the answer in the prompt; common ones are tried where they do not occur.
        answers: how the task's answers are read.
        choices: the closed answers of the example, if any.

    Returns:
        rationale, label and status, a key of ``STATUSES``; any text gives one.

    >>> from dsbs.tasks.answers import ClosedAnswers
    >>> text = "Bums live outdoors. So the answer is (b) bridge.\\n\\nQ: What is red?\\nA: So the answer is (a)"
    >>> parse(text, "length", "So the answer is", ClosedAnswers(), ("hotel", "bridge"))
    ('Bums live outdoors.', 'bridge', 'ok')
    """
    if finish_reason == "content_filter":
        return None, None, "refused"
    written, in_thought = _without_thinking(text)
    if in_thought:
        return None, None, "cut_off"
    if not written.strip():
        return None, None, "cut_off" if finish_reason == "length" else "empty"
    if (read := _read_json(written, answers, choices)) is not None:
        return read
    block = _own_block(written)
    whole = len(block) == len(written.lstrip())
    found = _find_cue(block, cue)
    if found is None:
        stopped = whole and (finish_reason == "length" or (finish_reason is None and not _TERMINATED.search(block)))
        return clean_rationale(block) or None, None, "cut_off" if stopped else "no_cue"
    pattern, match = found
    rationale = clean_rationale(block[: match.start()], pattern) or None
    rest = block[match.end() :].strip(_AROUND)
    line = rest.split("\n", 1)[0].strip(_AROUND)[:_LONGEST_ANSWER]
    label = answers.parse(line, choices) if line else None
    last = whole and rest == line and not _TERMINATED.search(block)
    if last and (finish_reason == "length" or (finish_reason is None and label is None)):
        return rationale, None, "cut_off"
    if label is None:
        return rationale, None, "unknown_label" if line else "no_answer"
    return rationale, label, OK if rationale else "no_rationale"


def _read_json(
    text: str, answers: Answers, choices: tuple[str, ...] | None
) -> tuple[str | None, str | None, str] | None:
    """Read an object with the keys rationale and answer; None where the text is no such object."""
    match = _JSON.match(text)
    if match is None:
        return None
    try:
        found, _ = json.JSONDecoder().raw_decode(text, match.start(1))
    except (ValueError, RecursionError):
        return None
    keys = {str(key).lower(): value for key, value in found.items()} if isinstance(found, dict) else {}
    written = next((keys[key] for key in _JSON_ANSWERS if key in keys), None)
    reason = next((keys[key] for key in _JSON_RATIONALES if isinstance(keys.get(key), str)), "")
    if written is None or isinstance(written, dict | list):
        return None
    rationale = clean_rationale(reason) or None
    said = str(written).strip(_AROUND)[:_LONGEST_ANSWER]
    label = answers.parse(said, choices) if said else None
    if label is None:
        return rationale, None, "unknown_label" if said else "no_answer"
    return rationale, label, OK if rationale else "no_rationale"


def annotate(example: Example, completion: Completion, cue: str, answers: Answers) -> Annotation:
    """Return what a completion says about an example."""
    rationale, label, status = parse(completion.text, completion.finish_reason, cue, answers, example.choices)
    if label is None:
        return Annotation(example.id, None, rationale, status)
    return Annotation(example.id, label, rationale, status, agreement=1.0, votes={label: 1})


def vote(annotations: Sequence[Annotation], same: Callable[[str | None, str | None], bool]) -> Annotation:
    """Return the annotation that most samples of one example agree on (self-consistency).

    Of the samples that gave the label, the first with a rationale speaks for it; equal votes go to the label that came
    first. Samples without an answer count as votes for nothing: ``agreement`` is the share of all samples. Where no
    sample gave an answer, the commonest failure is returned.

    >>> three = [Annotation("1", "8", "why"), Annotation("1", "9", "no"), Annotation("1", "8.0", "so")]
    >>> vote(three, lambda a, b: float(a) == float(b))
    Annotation(id='1', label='8', rationale='why', status='ok', agreement=0.6666666666666666, votes={'8': 2, '9': 1})
    """
    if not annotations:
        raise ValueError("a vote needs at least one annotation")
    parties: list[list[Annotation]] = []
    for annotation in annotations:
        if annotation.label is None:
            continue
        party = next((party for party in parties if same(annotation.label, party[0].label)), None)
        if party is None:
            parties.append([annotation])
        else:
            party.append(annotation)
    if not parties:
        commonest = Counter(annotation.status for annotation in annotations).most_common(1)[0][0]
        first = next(annotation for annotation in annotations if annotation.status == commonest)
        return Annotation(first.id, None, first.rationale, first.status, agreement=None)
    winners = max(parties, key=len)
    speaker = next((annotation for annotation in winners if annotation.status == OK), winners[0])
    share = len(winners) / len(annotations)
    votes = {party[0].label: len(party) for party in parties if party[0].label is not None}
    return Annotation(speaker.id, speaker.label, speaker.rationale, speaker.status, share, votes)


def clean_rationale(text: str, cue: re.Pattern[str] | None = None) -> str:
    """Return a rationale on one line, without Markdown and without sentences that hold the cue.

    >>> clean_rationale("**Reasoning:** A dog is\\nan animal. So,")
    'A dog is an animal.'
    """
    text = _OPENING.sub("", text.lstrip(), count=1)
    if cue is not None and cue.search(text):
        text = "".join(sentence for sentence in _SENTENCE.findall(text) if not cue.search(sentence))
    text = " ".join(_MARKUP.sub("", text).split()).rstrip(" ,;:*-_#`")
    return _DANGLING.sub("", text).strip(" ,;:*-_#`")


def _without_thinking(text: str) -> tuple[str, bool]:
    """Return what follows a reasoning model's thoughts, and whether it never came out of them."""
    _, end, rest = text.rpartition("</think>")
    if end:
        return rest, False
    return text, text.lstrip().startswith("<think>")


def _own_block(text: str) -> str:
    """Return what the teacher wrote about its own question, without the questions that it made up."""
    text = text.lstrip()
    end = _NEXT_QUESTION.search(text)
    return text[: end.start()] if end else text


def _find_cue(block: str, cue: str) -> tuple[re.Pattern[str], re.Match[str]] | None:
    """Return the last cue of the first kind that occurs, before any made-up input."""
    own = [re.compile(r"[\s*_]+".join(map(re.escape, cue.split())) + r"[\s*_]*:?", re.I)] if cue.strip() else []
    for pattern in (*own, *_COMMON_CUES):
        matches = list(pattern.finditer(block))
        if not matches:
            continue
        next_input = _NEXT_INPUT.search(block, matches[0].end())
        before = [match for match in matches if not next_input or match.start() < next_input.start()]
        return pattern, before[-1]
    return None
