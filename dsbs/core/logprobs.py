"""Log-probabilities of the tokens that a teacher wrote, with the most probable alternatives at each position.

They are built by ``read_position`` alone, whether an endpoint or a store has them: every log-probability is then 0 or
less, and their count is bounded. A token is its bytes, since some hold only a part of a character.

A store keeps them as JSON (``pack``), ``[token, log-probability, [[token, log-probability], …]]`` for each token,
the most probable first, rounded to a ten-thousandth of a nat.
"""

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dsbs.core.untrusted import is_finite, load_json

MAX_POSITIONS = 32_768  # tokens of a completion
MAX_TOP = 128  # alternatives at a position
MAX_BYTES = 256  # of a token
LEAST = -9999.0  # what endpoints say of a token that is next to impossible
LEAST_TAIL = math.log(1e-8)  # rounding leaves no more to be known
ROUNDING = 1e-2  # log-probabilities above 0 by no more than this are 0
DIGITS = 4  # after the point, of what is stored
MAX_CHARACTERS = 64 * 2**20  # of what is stored
_BYTES = re.compile(r"bytes:(?:\\x[0-9a-fA-F]{2})+")


@dataclass(frozen=True, slots=True)
class TokenLogprobs:
    """The log-probabilities at one position of a teacher's completion.

    Attributes:
        token: the bytes of the token that it wrote.
        logprob: its log-probability in nats; None where the endpoint did not say.
        top: the most probable tokens there with their log-probabilities, most probable first, without repetition.
    """

    token: bytes
    logprob: float | None
    top: tuple[tuple[bytes, float], ...] = ()


def read_position(token: Any, logprob: Any, top: Iterable[tuple[Any, Any]]) -> TokenLogprobs | None:
    """Return a position, or None where any part of it is invalid.

    Args:
        token: bytes, or a text as ``to_bytes`` reads it.

    >>> read_position("a", -0.5, [("b", -1.0), ("a", -0.5)]).top
    ((b'a', -0.5), (b'b', -1.0))
    >>> read_position("a", float("nan"), []), read_position("a", 2.0, []), read_position("a", None, [("b", "x")])
    (None, None, None)
    """
    written = to_bytes(token)
    if written is None or not (logprob is None or _is_logprob(logprob)):
        return None
    found: dict[bytes, float] = {}
    for name, value in top:
        other = to_bytes(name)
        if other is None or not _is_logprob(value) or len(found) >= MAX_TOP:
            return None
        found[other] = max(_clean(value), found.get(other, LEAST))
    ordered = tuple(sorted(found.items(), key=lambda item: (-item[1], item[0])))
    return TokenLogprobs(written, None if logprob is None else _clean(logprob), ordered)


def tail_of(logprobs: Iterable[float]) -> float:
    """Return the log of the probability that some tokens leave to all others, at least ``LEAST_TAIL``.

    Args:
        logprobs: of the tokens, in nats.

    >>> round(math.exp(tail_of([math.log(0.5), math.log(0.25)])), 6)
    0.25
    """
    left = 1.0 - math.fsum(math.exp(one) for one in logprobs)
    return math.log(left) if left > math.exp(LEAST_TAIL) else LEAST_TAIL


def to_bytes(token: Any) -> bytes | None:
    r"""Return a token's bytes, or None where it is no text or too long.

    Endpoints write bytes that are not valid UTF-8 by themselves as ``bytes:\xf0\x9f``.

    >>> to_bytes(" é"), to_bytes("bytes:\\xf0\\x9f"), to_bytes(7), to_bytes("a" * 1000)
    (b' \xc3\xa9', b'\xf0\x9f', None, None)
    """
    if isinstance(token, str):
        token = token[: MAX_BYTES + 1] if not _BYTES.fullmatch(token) else bytes.fromhex(token[8:].replace("\\x", ""))
    if isinstance(token, str):
        token = token.encode(errors="surrogatepass")
    return token if isinstance(token, bytes) and len(token) <= MAX_BYTES else None


def to_text(token: bytes) -> str:
    r"""Return a token as a text that ``to_bytes`` reads back.

    >>> to_text(b" caf\xc3\xa9"), to_text(b"\xf0\x9f")
    (' café', 'bytes:\\xf0\\x9f')
    """
    try:
        text = token.decode()
    except UnicodeDecodeError:
        text = ""
    if token and (not text or _BYTES.fullmatch(text)):
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in token)
    return text


def joined(positions: Sequence[TokenLogprobs]) -> bytes:
    """Return the text of some positions, as bytes: their tokens one after another."""
    return b"".join(one.token for one in positions)


def pack(positions: tuple[TokenLogprobs, ...] | None) -> str | None:
    """Return positions as text, or None where there are none."""
    if not positions:
        return None
    rows = [
        [to_text(one.token), None if one.logprob is None else round(one.logprob, DIGITS),
         [[to_text(token), round(value, DIGITS)] for token, value in one.top]]
        for one in positions
    ]  # fmt: skip
    return json.dumps(rows, ensure_ascii=True, separators=(",", ":"))


def unpack(text: Any) -> tuple[TokenLogprobs, ...] | None:
    """Return the positions in a text that ``pack`` wrote; None for anything else, since a store is untrusted.

    >>> one = TokenLogprobs(b"\\xf0", -0.5, ((b"\\xf0", -0.5), (b"no", -1.0)))
    >>> [(one.token, one.logprob, one.top) for one in unpack(pack((one,)))]
    [(b'\\xf0', -0.5, ((b'\\xf0', -0.5), (b'no', -1.0)))]
    >>> unpack("[[1]]"), unpack(None)
    (None, None)
    """
    if not isinstance(text, str) or len(text) > MAX_CHARACTERS:
        return None
    try:
        rows = load_json(text)
    except ValueError:
        return None
    if not isinstance(rows, list) or len(rows) > MAX_POSITIONS:
        return None
    found = [_unpack_row(row) for row in rows]
    return tuple(one for one in found if one is not None) if found and None not in found else None


def _unpack_row(row: Any) -> TokenLogprobs | None:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[2], list):
        return None
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in row[2]):
        return None
    return read_position(row[0], row[1], row[2])


def _is_logprob(value: Any) -> bool:
    return value == -math.inf or (is_finite(value) and value <= ROUNDING)


def _clean(value: float) -> float:
    return float(min(max(value, LEAST), 0.0))
