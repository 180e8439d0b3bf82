# ruff: noqa: RUF001 - the signs that models write are meant
"""The object of rationale and answer in a completion: fenced, wrapped, with prose around it, or not quite JSON.

Models quote with ``'`` or ``“``, leave keys unquoted, write comments, trailing commas, line breaks and backslashes into
strings, and stop before the last brace. Nothing else is accepted: an object with anything unexpected in it is none.
That is why this is not ``json-repair``, which guesses: it reads ``{"answer": "yes" but no}`` as yes.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

# Keys, as letters alone.
ANSWERS = ("answer", "finalanswer", "label", "finallabel", "category", "class", "classification", "prediction",
           "predictedlabel", "labels", "output", "result", "verdict")  # fmt: skip
RATIONALES = ("rationale", "reasoning", "explanation", "reason", "justification", "thought", "thoughts", "thinking",
              "analysis", "chainofthought", "steps", "evidence")  # fmt: skip
_INNER = ("answer", "label", "value", "text")
_MAX_OBJECTS = 50
_MAX_DEPTH = 4
_FENCE = re.compile(r"\s*(?:`{3}|~{3})\w{0,10}\s*$|^\s*(?:`{3}|~{3})\s*")
# A model that was given the first brace goes on behind it.
_WITHOUT_BRACE = re.compile(r"""\s{0,9}["'](\w{1,40})["']\s{0,9}:""")
_ESCAPED = {'\\"': '"', "\\n": "\n"}

# Of objects that are not quite JSON.
_DEEPEST = 20
_LONGEST = 50_000  # characters of an object that is not quite JSON
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

Fields = Mapping[str, Any]


class AnswerObject(NamedTuple):
    """What an object says.

    Attributes:
        written: its answer as text.
        rationale: its rationale, or else the text before it.
        after: the text after it.
        closed: whether it has its last brace.
    """

    written: str
    rationale: str
    after: str
    closed: bool = True


def find_answer_object(text: str, alone: Callable[[str], str | None], closed_set: bool) -> AnswerObject | None:
    """Return what the last object with an answer says, or None where there is none.

    Args:
        alone: returns the answer that a text alone gives, or None.
        closed_set: whether the answers are listed; then an answer may be below a key that is not known.
    """
    if (head := _WITHOUT_BRACE.match(text)) and plain_key(head[1]) in (*ANSWERS, *RATIONALES):
        text = "{" + text
    if '{\\"' in text:  # an object within a string
        text = re.sub(r'\\["n]', lambda match: _ESCAPED[match[0]], text)
    start, found, last = text.find("{"), None, -1
    for _ in range(_MAX_OBJECTS):
        if start < 0:
            break
        value, end = read_object(text, start)
        for fields in _objects(value, 0):
            written = _find_said(fields, alone if closed_set else None)
            if written is not None:
                if found and written != found.written and not text[last:start].strip(", \n\t"):
                    written = f"{found.written}; {written}"  # a list of answers is none
                last = end
                before = _FENCE.sub("", text[:start])
                rationale = _find_rationale(fields)
                found = AnswerObject(
                    written, before if rationale is None else rationale, text[end:], text[end - 1] == "}"
                )
        start = text.find("{", max(end, start + 1))
    return found


def plain_key(key: str) -> str:
    """Return a key as letters alone, in lower case."""
    return re.sub(r"[^a-z]", "", str(key).lower())


def _objects(value: Any, depth: int) -> Iterator[Fields]:
    """Yield an object and those in it, the outer ones first; arguments of a tool call may be an object as text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = read_object(value, value.index("{"))[0]
    if not isinstance(value, dict) or depth > _MAX_DEPTH:
        return
    fields = {plain_key(key): part for key, part in value.items()}
    yield fields
    if _find_said(fields, None) is None:
        for part in fields.values():
            yield from _objects(part, depth + 1)


def _find_said(fields: Fields, alone: Callable[[str], str | None] | None) -> str | None:
    """Return the answer in an object as text, or None: below a known key, else the only other text if it is one."""
    for key in ANSWERS:
        if key in fields:
            return _text(fields[key])
    others = [part for key, part in fields.items() if key not in RATIONALES]
    others = [
        part for part in others if isinstance(part, str | list | dict)
    ] or others  # 4, where nothing else is there
    if alone is None or len(others) != 1 or not isinstance(others[0], str | int) or isinstance(others[0], bool):
        return None
    return str(others[0]) if alone(str(others[0])) is not None else None


def _text(answer: Any) -> str | None:
    """Return an answer as text; None where it is something else, such as the schema of one."""
    if isinstance(answer, dict):
        answer = next((answer[key] for key in _INNER if key in answer), {})
    if isinstance(answer, list):
        answer = answer[0] if len(answer) == 1 else "; ".join(map(str, answer))
    if isinstance(answer, dict):
        return None
    return "" if answer is None else str(answer)


def _find_rationale(fields: Fields) -> str | None:
    for key in RATIONALES:
        part = fields.get(key)
        if isinstance(part, list):
            parts = [one if isinstance(one, str) else _longest(one) for one in part]
            part = " ".join(filter(None, parts)) or None
        elif isinstance(part, dict):
            part = _longest(part)
        if isinstance(part, str):
            return part
    inner = next((fields[key] for key in ANSWERS if isinstance(fields.get(key), dict)), None)
    return _find_rationale({plain_key(key): part for key, part in inner.items()}) if inner else None


def _longest(value: Any) -> str | None:
    """Return the longest text in an object, such as that of one step."""
    texts = [part for part in value.values() if isinstance(part, str)] if isinstance(value, dict) else []
    return max(texts, key=len, default=None)


def read_object(text: str, start: int) -> tuple[dict[str, Any] | None, int]:
    """Return the object that begins at a ``{``, and where it ends; None and ``start`` where there is none.

    >>> read_object("x {'why': \\"It's so.\\", answer: 'no', // sure\\n}", 2)
    ({'why': "It's so.", 'answer': 'no'}, 45)
    """
    try:
        value, end = _STRICT.raw_decode(text, start)
    except (ValueError, RecursionError):
        reader = _Reader(text[: start + _LONGEST], start)
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
        if depth > _DEEPEST:
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
        closing, position = _CLOSING[opening], self.at + 1
        pieces: list[str] = []
        while True:
            sign = self.text[position : position + 1]
            if not sign:
                raise ValueError("no end of a string")
            if sign in (closing, opening) and _AFTER_STRING.match(self.text, position + 1):
                self.at = position + 1
                return "".join(pieces)
            if sign == "\\":
                position += 1
                following = self.text[position : position + 1]
                sign = _ESCAPES.get(following, following if following in "\"'/\\_*`" else "\\" + following)
                if following == "u" and (code := _CODE.match(self.text, position + 1)):
                    sign, position = chr(int(code[0], 16)), position + 4
            pieces.append(sign)
            position += 1

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
            return word[0]
