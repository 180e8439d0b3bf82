# ruff: noqa: RUF001 - the signs that models write are meant
"""Reading of objects as models write them: JSON, or nearly so.

Models quote with ``'`` or ``“``, leave keys unquoted, write comments, trailing commas, line breaks and backslashes into
strings, and stop before the last brace. Nothing else is accepted: an object with anything unexpected in it is none.
That is why this is not ``json-repair``, which guesses: it reads ``{"answer": "yes" but no}`` as yes.
"""

import json
import re
from typing import Any

MOST_DEPTH = 20
MOST = 50_000  # characters of an object that is not quite JSON
_CLOSING = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
_BLANK = re.compile(r"(?:\s|//[^\n]*|/\*.{0,2000}?\*/|#[^\n]*)*", re.S)
_WORD = re.compile(r"[A-Za-z_$][\w$ -]{0,40}(?=\s{0,9}:)")
_SCALAR = re.compile(r"[-+]?[\w.]{1,40}(?=\s{0,9}[,}\]\n/#]|\s{0,9}$)")
_END = re.compile(r"[`\s]*\Z")
_CODE = re.compile(r"[0-9a-fA-F]{4}")
_AFTER_STRING = re.compile(r"\s*(?:[,:}\]]|//|/\*|#|$)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_NAMED = {"true": True, "false": False, "null": None, "none": None}
_STRICT = json.JSONDecoder(strict=False)


def read_object(text: str, start: int) -> tuple[dict[str, Any] | None, int]:
    """Return the object that begins at a ``{``, and where it ends; None and ``start`` where there is none.

    >>> read_object("x {'why': \\"It's so.\\", answer: 'no', // sure\\n}", 2)
    ({'why': "It's so.", 'answer': 'no'}, 45)
    """
    try:
        value, end = _STRICT.raw_decode(text, start)
    except (ValueError, RecursionError):
        reader = _Reader(text[: start + MOST], start)
        try:
            value = reader.read(0)
        except ValueError:
            return None, start
        end = reader.at
    return (value, end) if isinstance(value, dict) else (None, start)


class _Reader:
    """Reads one value; ``at`` is the position of the next character."""

    def __init__(self, text: str, at: int) -> None:
        self.text, self.at = text, at

    def read(self, depth: int) -> Any:
        """Return the value at the current position, at a depth of nesting.

        Raises:
            ValueError: where there is none, or it is nested too deeply.
        """
        if depth > MOST_DEPTH:
            raise ValueError("too deep")
        self._skip()
        here = self._here()
        if here in ("{", "["):
            self.at += 1
            return self._read_members(depth) if here == "{" else self._read_items(depth)
        if here in _CLOSING:
            return self._read_string()
        return self._read_scalar()

    def _here(self) -> str:
        return self.text[self.at : self.at + 1]

    def _skip(self) -> None:
        blank = _BLANK.match(self.text, self.at)
        self.at = blank.end() if blank else self.at

    def _read_members(self, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        while not self._closes("}"):
            key = self._read_key()
            self._skip()
            if self._here() != ":":
                raise ValueError("no colon")
            self.at += 1
            found[key] = self.read(depth + 1)
            self._separate("}")
        return found

    def _read_items(self, depth: int) -> list[Any]:
        found: list[Any] = []
        while not self._closes("]"):
            found.append(self.read(depth + 1))
            self._separate("]")
        return found

    def _closes(self, sign: str) -> bool:
        """Return whether a list or an object ends here: with its sign, or with the text."""
        self._skip()
        if self._here() == sign:
            self.at += 1
            return True
        return _END.match(self.text, self.at) is not None

    def _separate(self, sign: str) -> None:
        self._skip()
        if self._here() == ",":
            self.at += 1
        elif self._here() != sign and not _END.match(self.text, self.at):
            raise ValueError("no comma")

    def _read_key(self) -> str:
        if self._here() in _CLOSING:
            return self._read_string()
        word = _WORD.match(self.text, self.at)
        if word is None:
            raise ValueError("no key")
        self.at = word.end()
        return word[0].strip()

    def _read_string(self) -> str:
        """Read a string; a quote within it ends it only where the object can go on."""
        opening = self._here()
        closing, place = _CLOSING[opening], self.at + 1
        pieces: list[str] = []
        while True:
            sign = self.text[place : place + 1]
            if not sign:
                raise ValueError("no end of a string")
            if sign in (closing, opening) and _AFTER_STRING.match(self.text, place + 1):
                self.at = place + 1
                return "".join(pieces)
            if sign == "\\":
                place += 1
                following = self.text[place : place + 1]
                sign = _ESCAPES.get(following, following if following in "\"'/\\_*`" else "\\" + following)
                if following == "u" and (code := _CODE.match(self.text, place + 1)):
                    sign, place = chr(int(code[0], 16)), place + 4
            pieces.append(sign)
            place += 1

    def _read_scalar(self) -> Any:
        word = _SCALAR.match(self.text, self.at)
        if word is None:
            raise ValueError("no value")
        self.at = word.end()
        if word[0].lower() in _NAMED:
            return _NAMED[word[0].lower()]
        try:
            return float(word[0]) if re.search(r"[.eE]", word[0]) else int(word[0])
        except ValueError:
            raise ValueError("an unquoted word") from None
