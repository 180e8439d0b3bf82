"""Log-probabilities as the text that a store keeps beside a completion.

One JSON list; for each token ``[token, log-probability, [[token, log-probability], …]]``, the most probable first. They
are rounded to a ten-thousandth of a nat.
"""

import json
from typing import Any

from dsbs.core.logprobs import MOST_POSITIONS, TokenLogprobs, read_position, to_text
from dsbs.core.untrusted import load_json

DIGITS = 4
MOST_CHARACTERS = 64 * 2**20


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
    >>> [(said.token, said.logprob, said.top) for said in unpack(pack((one,)))]
    [(b'\\xf0', -0.5, ((b'\\xf0', -0.5), (b'no', -1.0)))]
    >>> unpack("[[1]]"), unpack(None)
    (None, None)
    """
    if not isinstance(text, str) or len(text) > MOST_CHARACTERS:
        return None
    try:
        rows = load_json(text)
    except ValueError:
        return None
    if not isinstance(rows, list) or len(rows) > MOST_POSITIONS:
        return None
    found = [_read(row) for row in rows]
    return tuple(one for one in found if one is not None) if found and None not in found else None


def _read(row: Any) -> TokenLogprobs | None:
    if not isinstance(row, list) or len(row) != 3 or not isinstance(row[2], list):
        return None
    if not all(isinstance(pair, list) and len(pair) == 2 for pair in row[2]):
        return None
    return read_position(row[0], row[1], row[2])
