"""The log-probabilities in an endpoint's answer, of the chat and of the completions API."""

from collections.abc import Iterator
from typing import Any

from dsbs.core.logprobs import MAX_POSITIONS, TokenLogprobs, read_position
from dsbs.core.untrusted import Fields


def read_logprobs(choice: Fields) -> tuple[TokenLogprobs, ...] | None:
    """Return the log-probabilities of each token of a choice, or None where there are none.

    If one position is invalid all are dropped, since later ones could be assigned to the wrong tokens.

    >>> logprobs = {"content": [{"token": "no", "logprob": -0.5, "bytes": [110, 111], "top_logprobs": []}]}
    >>> read_logprobs(Fields({"logprobs": logprobs}))
    (TokenLogprobs(token=b'no', logprob=-0.5, top=()),)
    """
    fields = choice.inside("logprobs")
    parts = _chat(fields) if isinstance(fields.raw("content"), list) else _completions(fields)
    found: list[TokenLogprobs] = []
    for part in parts:
        if part is None or len(found) == MAX_POSITIONS:
            return None
        found.append(part)
    return tuple(found) or None


def _chat(fields: Fields) -> Iterator[TokenLogprobs | None]:
    for position in fields.each("content"):
        top = position.raw("top_logprobs")
        if not (top is None or isinstance(top, list)):
            yield None
            return
        pairs = [(_token(one), one.raw("logprob")) for one in position.each("top_logprobs")]
        yield read_position(_token(position), position.raw("logprob"), pairs)


def _token(fields: Fields) -> Any:
    """Return a token's bytes, or its text where the server sends none."""
    values = fields.raw("bytes")
    if isinstance(values, list) and values:
        whole = all(isinstance(byte, int) and not isinstance(byte, bool) and 0 <= byte < 256 for byte in values)
        return bytes(values) if whole else None
    return fields.raw("token")


def _completions(fields: Fields) -> Iterator[TokenLogprobs | None]:
    """Yield the positions of the older form: lists of tokens, their log-probabilities, and objects of alternatives.

    A first log-probability may be ``null``, and the alternatives with it: nothing stands before that token.
    """
    tokens, own, top = (fields.raw(name) for name in ("tokens", "token_logprobs", "top_logprobs"))
    if not isinstance(tokens, list):
        return
    if not isinstance(own, list) or len(own) != len(tokens) or (isinstance(top, list) and len(top) != len(tokens)):
        yield None
        return
    for position, (token, logprob) in enumerate(zip(tokens, own, strict=True)):
        there = top[position] if isinstance(top, list) else None
        if not (there is None or isinstance(there, dict)):
            yield None
            return
        yield read_position(token, logprob, (there or {}).items())
