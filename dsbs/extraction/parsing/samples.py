"""From completions to an annotation: parsed, taken as a whole, or by a vote of several."""

from collections import Counter
from collections.abc import Callable, Sequence

from dsbs.core.finish_reasons import BROKEN, LENGTH, REFUSED, STOP, read_finish_reason
from dsbs.core.records import OK, Annotation, Completion, Example
from dsbs.extraction.parsing.chain import parse
from dsbs.extraction.parsing.rationales import FROM_ANSWER, Take
from dsbs.extraction.parsing.thoughts import split_thought
from dsbs.tasks.base import Answers

BESIDE = 2  # tokens by which servers count differently


def annotate(
    example: Example,
    completion: Completion,
    cue: str,
    answers: Answers,
    *,
    take: Take = FROM_ANSWER,
    most_written: int | None = None,
) -> Annotation:
    """Return the annotation of an example, parsed from a completion.

    Args:
        cue, answers, take: see ``dsbs.extraction.parsing.parse``.
        most_written: maximum tokens of a completion; one that reached it was cut off, whatever the server says.
    """
    rationale, label, status = parse(
        completion.text,
        _why_it_ended(completion, most_written),
        cue,
        answers,
        example.choices,
        reasoning=completion.reasoning,
        take=take,
    )
    if label is None:
        return Annotation(example.id, None, rationale, status)
    return Annotation(example.id, label, rationale, status, agreement=1.0, votes={label: 1})


def annotate_whole(
    example: Example, completion: Completion, answers: Answers, *, most_written: int | None = None
) -> Annotation:
    """Return the annotation with the whole completion as the teacher's answer, without its thinking.

    Args:
        most_written: as in ``annotate``.

    >>> from dsbs.tasks.answers import TextAnswers
    >>> completion = Completion("<think>Two parts.</think>One.\\n\\nTwo.", "stop")
    >>> annotate_whole(Example("1", "Write two lines."), completion, TextAnswers()).label
    'One.\\n\\nTwo.'
    """
    ended = _why_it_ended(completion, most_written)
    written = split_thought(completion.text)
    label = answers.parse(written.answer, example.choices)
    if ended == REFUSED:
        return Annotation(example.id, status="refused")
    if written.thinking or (ended in (LENGTH, BROKEN) and not written.ended):
        return Annotation(example.id, status="cut_off")
    if label is None:
        return Annotation(example.id, status="only_thinking" if completion.reasoning or written.thought else "empty")
    return Annotation(example.id, label, agreement=1.0, votes={label: 1})


def _why_it_ended(completion: Completion, most_written: int | None) -> str | None:
    # Far more tokens than the bound are those of hidden thinking, which not all servers bound.
    reached = most_written and 0 <= (completion.completion_tokens or 0) - most_written <= BESIDE
    ending = read_finish_reason(completion.finish_reason)
    return LENGTH if reached and ending in (STOP, None) else ending


def vote(annotations: Sequence[Annotation], same: Callable[[str | None, str | None], bool]) -> Annotation:
    """Return the annotation that most samples of one example agree on (self-consistency).

    The rationale is that of the first sample with the label that has one; a tie goes to the label that came first.
    ``agreement`` is the share of all samples, those without an answer included. Where no sample has an answer, the
    most frequent failure is returned.

    Args:
        annotations: of one example; at least one.

    >>> three = [Annotation("1", "8", "why"), Annotation("1", "9", "no"), Annotation("1", "8.0", "so")]
    >>> winner = vote(three, lambda a, b: float(a) == float(b))
    >>> winner.label, winner.rationale, winner.votes
    ('8', 'why', {'8': 2, '9': 1})
    """
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
