"""The teacher's probabilities of the closed answers, from the log-probabilities of the tokens of its completion.

Where its answer begins, each of the most probable tokens counts for the only answer that begins with it. A token with
which several answers begin, such as the bracket in ``(a)``, is followed to the next position of the completion. Tokens
with which no answer begins, and those that the endpoint did not return, count for none.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from dsbs.core.logprobs import TokenLogprobs, joined
from dsbs.core.records import Completion
from dsbs.extraction.parsing.chain import locate
from dsbs.tasks.answers import letter_of
from dsbs.tasks.base import Answers

# How an answer may be written, the most telling way first.
_WAYS = ("({letter}) {answer}", "{letter}) {answer}", "{letter}. {answer}", "{answer}", "({letter})", "{letter}")


def answer_probabilities(
    completion: Completion, label: str, choices: Sequence[str], cue: str | None, answers: Answers
) -> dict[str, float] | None:
    """Return closed answer -> probability, with a sum of at most 1; None where they cannot be determined.

    Args:
        cue: the words that mark the answer; None: it begins with the text.
    """
    if not completion.logprobs:
        return None
    position = locate(completion.text, cue, answers, tuple(choices))
    offset = joined(completion.logprobs).rfind(completion.text.encode(errors="surrogatepass"))
    if position is None or offset < 0:
        return None
    forms = _forms(completion.text[position:], label, choices)
    start = offset + len(completion.text[:position].encode(errors="surrogatepass"))
    return walk(list(_from(completion.logprobs, start)), forms) if forms else None


def _forms(written: str, label: str, choices: Sequence[str]) -> dict[str, bytes] | None:
    """Return how each answer is written where the teacher wrote its own in this way, in small letters; None: neither.

    >>> _forms("(B) bridge.", "bridge", ["hotel", "bridge"])
    {'hotel': b'(a) hotel', 'bridge': b'(b) bridge'}
    """
    for way in _WAYS:
        forms = {
            one: _lower(way.format(letter=letter_of(position), answer=one)) for position, one in enumerate(choices)
        }
        if label in forms and _lower(written).startswith(forms[label]):
            return forms
    return None


def _lower(text: str) -> bytes:
    """Return the bytes of a text with ASCII letters in lower case: a token may end within another letter."""
    return text.encode(errors="surrogatepass").lower()


def _from(positions: Sequence[TokenLogprobs], start: int) -> Iterator[tuple[bytes, TokenLogprobs]]:
    """Yield the positions from a byte on; the first with what of its token stands before that."""
    end = 0
    for position in positions:
        begin, end = end, end + len(position.token)
        if end > start:
            yield position.token[: max(start - begin, 0)], position


def walk(path: Sequence[tuple[bytes, TokenLogprobs]], forms: Mapping[str, bytes]) -> dict[str, float] | None:
    """Return answer -> probability along the written tokens; None where the first one has no alternatives.

    Args:
        path: the positions from the answer on, each with the bytes of its token that precede the answer.
        forms: answer -> how it is written, in lower case.

    >>> one = TokenLogprobs(b" yes", math.log(0.7), ((b" yes", math.log(0.7)), (b" No", math.log(0.2))))
    >>> {name: round(share, 4) for name, share in walk([(b" ", one)], {"yes": b"yes", "no": b"no"}).items()}
    {'yes': 0.7, 'no': 0.2}
    """
    if not path or not path[0][1].top:
        return None
    found, reached, written = dict.fromkeys(forms, 0.0), 1.0, b""
    for before, position in path:
        logprobs = dict(position.top)
        if position.logprob is not None:
            logprobs.setdefault(position.token, position.logprob)
        goes_on = False
        for token, logprob in logprobs.items():
            part = _strip(token, before, first=not written)
            fitting = _fitting(written + part.lower(), forms) if part else []
            if len(fitting) == 1:
                found[fitting[0]] += reached * math.exp(logprob)
            goes_on |= len(fitting) > 1 and token == position.token
        if not goes_on:
            return found
        written += _strip(position.token, before, first=not written).lower()
        reached *= math.exp(logprobs[position.token])
    # What was written ends where one answer does, and another might have begun.
    if ended := [name for name, form in forms.items() if form == written]:
        found[ended[0]] += reached
    return found


def _strip(token: bytes, before: bytes, *, first: bool) -> bytes:
    """Return the part of a token that belongs to the answer, or nothing; the first may have a space in front."""
    if not before.strip():
        return token.lstrip() if first else token
    return token[len(before) :] if token.startswith(before) else b""


def _fitting(written: bytes, forms: Mapping[str, bytes]) -> list[str]:
    """Return the answers of which this may be the beginning; the longest where it goes beyond others' ends.

    >>> _fitting(b"yes an", {"a": b"yes", "b": b"yes and no", "c": b"no"}), _fitting(b"not", {"c": b"no"})
    (['b'], [])
    """
    begun = [name for name, form in forms.items() if form.startswith(written)]
    beyond = [name for name, form in forms.items() if written.startswith(form) and len(written) > len(form)]
    ended = [name for name in beyond if not written[len(forms[name]) :][:1].isalnum()]
    return begun or ended


def mean_probabilities(found: Sequence[Mapping[str, float]]) -> dict[str, float] | None:
    """Return the mean of the probabilities over samples, or None where there are none.

    >>> mean_probabilities([{"a": 1.0, "b": 0.0}, {"a": 0.5, "b": 0.25}])
    {'a': 0.75, 'b': 0.125}
    """
    if not found:
        return None
    return {name: math.fsum(one.get(name, 0.0) for one in found) / len(found) for name in found[0]}
