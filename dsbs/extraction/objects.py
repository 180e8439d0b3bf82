"""The object of rationale and answer in a completion: fenced, wrapped, with prose around it, or not quite JSON."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from dsbs.extraction.lenient import read_object

# Keys, as letters alone.
ANSWERS = ("answer", "finalanswer", "label", "finallabel", "category", "class", "classification", "prediction",
           "predictedlabel", "labels", "output", "result", "verdict")  # fmt: skip
RATIONALES = ("rationale", "reasoning", "explanation", "reason", "justification", "thought", "thoughts", "thinking",
              "analysis", "chainofthought", "steps", "evidence")  # fmt: skip
_INNER = ("answer", "label", "value", "text")
_MOST_OBJECTS = 50
_MOST_DEPTH = 4
_FENCE = re.compile(r"\s*(?:`{3}|~{3})\w{0,10}\s*$|^\s*(?:`{3}|~{3})\s*")
# A model that was given the first brace goes on behind it.
_WITHOUT_BRACE = re.compile(r"""\s{0,9}["'](\w{1,40})["']\s{0,9}:""")
_ESCAPED = {'\\"': '"', "\\n": "\n"}

Fields = Mapping[str, Any]


class Told(NamedTuple):
    """What an object says.

    Attributes:
        said: its answer as text.
        rationale: its rationale, or else the text before it.
        after: the text after it.
        closed: whether it has its last brace.
    """

    said: str
    rationale: str
    after: str
    closed: bool = True


def find_answer_object(text: str, alone: Callable[[str], str | None], closed_set: bool) -> Told | None:
    """Return what the last object with an answer says, or None where there is none.

    Args:
        alone: returns the answer that a text alone gives, or None.
        closed_set: whether the answers are listed; then an answer may be below a key that is not known.
    """
    if (head := _WITHOUT_BRACE.match(text)) and _plain(head[1]) in (*ANSWERS, *RATIONALES):
        text = "{" + text
    if '{\\"' in text:  # an object within a string
        text = re.sub(r'\\["n]', lambda match: _ESCAPED[match[0]], text)
    start, found, last = text.find("{"), None, -1
    for _ in range(_MOST_OBJECTS):
        if start < 0:
            break
        value, end = read_object(text, start)
        for fields in _objects(value, 0):
            said = _find_said(fields, alone if closed_set else None)
            if said is not None:
                if found and said != found.said and not text[last:start].strip(", \n\t"):
                    said = f"{found.said}; {said}"  # a list of answers is none
                last = end
                before = _FENCE.sub("", text[:start])
                rationale = _find_rationale(fields)
                found = Told(said, before if rationale is None else rationale, text[end:], text[end - 1] == "}")
        start = text.find("{", max(end, start + 1))
    return found


def _plain(key: str) -> str:
    return re.sub(r"[^a-z]", "", str(key).lower())


def _objects(value: Any, depth: int) -> Iterator[Fields]:
    """Yield an object and those in it, the outer ones first; arguments of a tool call may be an object as text."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        value = read_object(value, value.index("{"))[0]
    if not isinstance(value, dict) or depth > _MOST_DEPTH:
        return
    fields = {_plain(key): part for key, part in value.items()}
    yield fields
    if _find_said(fields, None) is None:
        for part in fields.values():
            yield from _objects(part, depth + 1)


def _find_said(fields: Fields, alone: Callable[[str], str | None] | None) -> str | None:
    """Return the answer in an object as text, or None: below a known key, else the only other text if it is one."""
    for key in ANSWERS:
        if key in fields:
            return _text(fields[key])
    others = [part for key, part in fields.items() if key not in RATIONALES and isinstance(part, str | list | dict)]
    if alone is None or len(others) != 1 or not isinstance(others[0], str):
        return None
    return others[0] if alone(others[0]) is not None else None


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
    return _find_rationale({_plain(key): part for key, part in inner.items()}) if inner else None


def _longest(value: Any) -> str | None:
    """Return the longest text in an object, such as that of one step."""
    texts = [part for part in value.values() if isinstance(part, str)] if isinstance(value, dict) else []
    return max(texts, key=len, default=None)
