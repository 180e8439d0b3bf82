"""The regular expressions in a ``tokenizer.json``: they come with an untrusted model, and run over every text.

The library that runs them backtracks without limit, or panics. So a pattern must be of the kind that tokenizers really
have: alternatives of a few characters, classes and repetitions, in which a text that does not match is rejected in
linear time. Refused are repetitions of what matches in several ways, such as ``(a+)+``, references, many optional
parts, a third repetition, and anything required after a second one, as in ``\\s*\\s*x``. No tensors here.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

MAX_PATTERN = 2000
MAX_DEPTH = 8
MAX_WAYS = 4096
MAX_TIMES = 64  # of a repetition with an end
# An escape, the start of a group of a harmless kind or a look-ahead, or a single character.
_TOKEN = re.compile(
    r"\\[pP]\{\^?\w+\}|\\x\{[0-9A-Fa-f]+\}|\\x[0-9A-Fa-f]{2}|\\u[0-9A-Fa-f]{4}|\\[^kgXRGK1-9]|"
    r"\(\?(?:[imsx]*(?:-[imsx]+)?:|[=!]|<[=!]|>)|\((?![?*])|[^\\]",
    re.S,
)
_TIMES = re.compile(r"(?:[*+?]|\{(\d*)(,?)(\d*)\})[?+]?")


def pattern_faults(tokenizer: Any) -> Iterator[str]:
    """Yield the regular expressions of a tokenizer that may take very long."""
    if not isinstance(tokenizer, dict):
        return
    parts = [tokenizer.get(name) for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")]
    while parts:
        part = parts.pop()
        if isinstance(part, list):
            parts += part
        elif isinstance(part, dict):
            pattern = part.get("Regex")
            if pattern is not None and not (isinstance(pattern, str) and is_linear(pattern)):
                yield str(pattern)
            parts += [value for value in part.values() if isinstance(value, dict | list)]


def is_linear(pattern: str) -> bool:
    r"""Return whether a pattern rejects texts in linear time; False where that is not certain.

    >>> is_linear(r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"), is_linear(r"(a+)+$")
    (True, False)
    >>> is_linear(r"(a|a)*b"), is_linear(r"\s*\s*x"), is_linear(r"(.)\1")
    (False, False, False)
    """
    if len(pattern) > MAX_PATTERN:
        return False
    try:
        return _read(pattern, 0, 0).end == len(pattern)
    except ValueError:
        return False


class _Read(NamedTuple):
    """What was read of a pattern.

    Attributes:
        end: where it ends.
        repeated: unbounded repetitions, in the alternative that has most.
        fixed: whether all its matches have one length, each in one way.
        look: whether it is a look-around.
        ways: number of ways to try it from one position, unbounded repetitions left out.
    """

    end: int
    repeated: int = 0
    fixed: bool = True
    look: bool = False
    ways: int = 1


def _read(pattern: str, position: int, depth: int) -> _Read:
    """Read alternatives up to their end."""
    if depth > MAX_DEPTH:
        raise ValueError
    most, repeated, fixed, ways, others = 0, 0, True, 1, 0
    while position < len(pattern) and pattern[position] != ")":
        if pattern[position] == "|":
            most, repeated, fixed, position = max(most, repeated), 0, False, position + 1
            ways, others = 1, others + ways
            continue
        piece = _read_piece(pattern, position, depth)
        times = _TIMES.match(pattern, piece.end)
        position = times.end() if times else piece.end
        endless, optional, counts = _bounds(times)
        if times and times[0][0] != "?" and not piece.fixed:
            raise ValueError  # something that matches in several ways is repeated
        if repeated >= 2 and not piece.look and (endless or not optional):
            raise ValueError  # something has to follow
        repeated += piece.repeated + endless
        if repeated > 2:
            raise ValueError
        ways *= piece.ways + counts - 1 if piece.fixed or counts == 2 else piece.ways * counts
        if others + ways > MAX_WAYS:
            raise ValueError
        fixed = fixed and piece.fixed and (times is None or times[0].strip("{}").isdecimal())
    return _Read(position, max(most, repeated), fixed, ways=others + ways)


def _read_piece(pattern: str, position: int, depth: int) -> _Read:
    """Read a class, a group or a character, without what says how often."""
    if pattern[position] == "[":
        return _Read(_end_of_class(pattern, position))
    token = _TOKEN.match(pattern, position)
    if token is None or token[0] in "*+?{":
        raise ValueError
    if not token[0].startswith("("):
        return _Read(token.end())
    inner = _read(pattern, token.end(), depth + 1)
    if inner.end >= len(pattern):
        raise ValueError
    look = token[0] in ("(?=", "(?!", "(?<=", "(?<!")
    return _Read(inner.end + 1, inner.repeated, inner.fixed, look, inner.ways)


def _bounds(times: re.Match[str] | None) -> tuple[bool, bool, int]:
    """Return whether a repetition has no end, whether it may be none at all, and how many counts it may have."""
    if times is None:
        return False, False, 1
    if times[0][0] in "*+?":
        return times[0][0] != "?", times[0][0] != "+", 2 if times[0][0] == "?" else 1
    least, comma, most = times.groups()
    bound = most or ("" if comma else least)
    endless, fewest = not bound or int(bound) > MAX_TIMES, int(least or 0)
    return endless, fewest == 0, 1 if endless else max(int(bound) - fewest, 0) + 1


def _end_of_class(pattern: str, position: int) -> int:
    """Return where a class ends; classes may lie within classes."""
    depth = 0
    while position < len(pattern):
        sign = pattern[position]
        if sign == "\\":
            position += 2
        elif sign == "[":
            depth, position = depth + 1, position + 1
            position += pattern[position : position + 1] == "^"
            position += pattern[position : position + 1] == "]"  # the first one is meant
        elif sign == "]":
            depth, position = depth - 1, position + 1
            if depth == 0:
                return position
        else:
            position += 1
    raise ValueError
