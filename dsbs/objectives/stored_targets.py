"""Stored top-k log-probabilities as targets: the teacher's most probable tokens at a position, and one bucket for the
rest.

Without that bucket the student's probability of all other tokens would be unconstrained, and reverse KL collapses.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from dsbs.core.logprobs import LEAST_TAIL, TokenLogprobs, joined, tail_of
from dsbs.objectives.divergences import FLOOR, Divergence

if TYPE_CHECKING:
    import torch

    from dsbs.students.model import Batch

# The signals of each token of a target: whether the teacher's distribution is known there, the log-probability of its
# tail, and id and log-probability of the most probable tokens.
KNOWN, TAIL, ID, LOGPROB = "known", "tail", "id {}", "logprob {}"


def align(
    tokens: Sequence[bytes], positions: Sequence[TokenLogprobs], end: bytes | None = None
) -> list[TokenLogprobs | None]:
    """Return the teacher's position for each token of a target; None where the teacher wrote no such token.

    Token and position must be at the same place of the same text, and have the same bytes. So the student reads before
    it what the teacher had written before it.

    Args:
        tokens: the bytes of the target's tokens, without its end token.
        positions: the positions of the teacher's completion; some endpoints return its end token as well.
        end: the bytes of the end token, which some endpoints return as a token without bytes; None: there is none.

    >>> positions = [TokenLogprobs(token, -0.1, ((token, -0.1),)) for token in (b"the", b" ket", b"tle")]
    >>> [one and one.token for one in align([b"the", b" kett", b"le"], positions)]
    [b'the', None, None]
    >>> [one and one.token for one in align([b"the", b" ket"], positions)]
    [b'the', b' ket']
    >>> ended = [positions[0], TokenLogprobs(b"", 0.0, ((b"", 0.0),))]
    >>> [one and one.token for one in align([b"the"], ended, end=b"<end>")]
    [b'the', b'']
    """
    text = b"".join(tokens)
    body = text.strip()
    place = joined(positions).rfind(body) if body else -1
    if place < 0:
        return [None] * (len(tokens) + (end is not None))
    spans: dict[tuple[int, int], TokenLogprobs] = {}
    last = 0
    for one in positions:
        begin, last = last, last + len(one.token)
        spans[begin, last] = one
    found = []
    last = place - (len(text) - len(text.lstrip()))
    for token in tokens:
        begin, last = last, last + len(token)
        there = spans.get((begin, last))
        found.append(there if there is not None and there.token == token and there.top else None)
    if end is not None:
        named = spans.get((last, last + len(end)))
        there = named if named is not None and named.token == end else spans.get((last, last))
        found.append(there if there is not None and there.top else None)
    return found


def signals_of(aligned: Sequence[TokenLogprobs | None], ids: Mapping[bytes, int], most: int) -> dict[str, list[float]]:
    """Return name -> signal of each token of a target: the ``most`` most probable tokens that the student has.

    Tokens that it does not have count in the tail.

    Args:
        ids: bytes -> the student's token.
    """
    rows: list[dict[str, float]] = []
    for one in aligned:
        top = [(ids[token], value) for token, value in (one.top if one else ()) if token in ids][:most]
        row = {KNOWN: float(bool(top)), TAIL: 0.0}
        if top:
            row[TAIL] = tail_of(value for _, value in top)
        for place in range(most):
            # What is not there repeats the first token, with no probability.
            id, value = top[place] if place < len(top) else (top[0][0] if top else 0, FLOOR)
            row |= {ID.format(place): float(id), LOGPROB.format(place): value}
        rows.append(row)
    return {name: [row[name] for row in rows] for name in (rows[0] if rows else ())}


def summed_stored_divergence(
    divergence: Divergence, logits: "torch.Tensor", target: "Batch", vocabulary: int
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the weighted sum of a loss over the tokens of targets, in nats, and the sum of the weights.

    Where the teacher's distribution is known, the loss is the divergence between its top k and tail and the student's;
    elsewhere, as often at the end token, it is the cross-entropy of the token.

    Args:
        divergence: of the two distributions over k + 1 buckets.
        logits: the student's [R, T, V or more], with gradients.
        target: ``labels`` [R, T], ``weights`` [R], and ``signals`` (``signals_of``) [R, T].
        vocabulary: V, the number of common tokens.
    """
    import torch

    from dsbs.objectives.losses import token_weights

    there, weights = token_weights(target)
    log_q = logits[there].float()[:, :vocabulary].log_softmax(-1)
    found = -log_q.gather(1, target["labels"][there].unsqueeze(1)).squeeze(1)
    signals = {name: values[there] for name, values in target["signals"].items()}
    if signals:
        most = sum(name.startswith(ID.format("")) for name in signals)
        ids = torch.stack([signals[ID.format(place)] for place in range(most)], 1).long()
        log_p = torch.stack([signals[LOGPROB.format(place)] for place in range(most)], 1).clamp(min=FLOOR)
        named = torch.zeros_like(log_q, dtype=torch.bool).scatter_(1, ids, True)
        own = torch.where(log_p > FLOOR, log_q.gather(1, ids), torch.full_like(log_p, FLOOR))
        rest = log_q.masked_fill(named, FLOOR).logsumexp(-1, keepdim=True).clamp(min=LEAST_TAIL)
        teacher = torch.cat([log_p, signals[TAIL].unsqueeze(1)], 1)
        divergences = divergence(teacher, torch.cat([own, rest], 1))
        found = torch.where(signals[KNOWN] > 0, divergences, found)
    return (weights * found).sum(), weights.sum()
