"""From rows to examples: which column says what, checked row by row with the place of every fault."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.tasks.answers import ClosedAnswers, with_choices
from dsbs.tasks.sources import Row

_COLUMN = re.compile(r"\{([^{}]+)\}")
_SHOWN = 20


@dataclass(frozen=True)
class Columns:
    """Which column says what.

    Attributes:
        input: a template such as ``{title}\\n{body}``; nothing but ``{column}`` is understood in it.
        label: the column of the gold answer, or None where there is none.
        id: the column of the id, or None: split and position are the id.
        choices: the column with the closed answers of each example, or None. ``a.b`` reaches into a column of objects.
        labels: the closed answers of all examples, or None.
        label_names: what a raw label, as text, stands for.
        first_word: whether only the first word of the label counts (``9 (apples)``).
        list_choices: whether the input ends with the choices, listed by letter.
    """

    input: str
    label: str | None = "label"
    id: str | None = None
    choices: str | None = None
    labels: tuple[str, ...] | None = None
    label_names: dict[str, str] = field(default_factory=dict)
    first_word: bool = False
    list_choices: bool = True

    def examples(self, rows: Iterable[tuple[str, Row]], split: str) -> Iterator[Example]:
        """Yield an example for each row.

        Raises:
            DataError: for a missing column, an empty input, an id that occurs twice; and, after the last row, for
                all unknown labels together.
        """
        ids: set[str] = set()
        unknown: Counter[str] = Counter()
        first_places: dict[str, str] = {}
        for position, (place, row) in enumerate(rows):
            example, raw = self._example(row, place, f"{split}-{position}")
            if self.id is not None:
                if example.id in ids:
                    raise DataError(f"{place}: the id {example.id!r} occurs a second time in {split}.")
                ids.add(example.id)
            if raw is not None and example.label is None:
                unknown[raw] += 1
                first_places.setdefault(raw, place)
            elif not unknown:
                yield example
        if unknown:
            raise DataError(self._unknown_labels(unknown, first_places, split))

    def raw_label(self, row: Row, place: str) -> str | None:
        """Return a row's label as text, named where it has a name; None where it is missing."""
        if self.label is None:
            return None
        value = _value(row, self.label, place, "label")
        text = (
            ("true" if value else "false") if isinstance(value, bool) else "" if value is None else str(value).strip()
        )
        if isinstance(value, float) and value.is_integer() and str(int(value)) in self.label_names:
            text = str(int(value))
        text = self.label_names.get(text, text)
        if self.first_word:
            text = text.split(" ")[0]
        return text or None

    def _example(self, row: Row, place: str, default_id: str) -> tuple[Example, str | None]:
        text = fill(self.input, row, place).strip()
        if not text:
            raise DataError(f"{place}: the input is empty (task.input={self.input!r}).")
        own_id = default_id if self.id is None else _value(row, self.id, place, "id")
        id = "" if own_id is None else str(own_id).strip()
        if not id:
            raise DataError(f"{place}: the id is empty (column {self.id!r}); task.id=null numbers the rows instead.")
        choices = self.labels
        if self.choices is not None:
            choices = _choices(_value(row, self.choices, place, "choices"), place)
            text = with_choices(text, choices) if self.list_choices else text
        raw = self.raw_label(row, place)
        if raw is None or choices is None:
            return Example(id, text, raw, choices), raw
        label = raw if raw in choices else ClosedAnswers().parse(raw, choices)
        if label is None and self.choices is not None and raw.isdecimal() and int(raw) < len(choices):
            label = choices[int(raw)]  # many sets give the position, from 0
        return Example(id, text, label, choices), raw

    def _unknown_labels(self, counts: Counter[str], places: dict[str, str], split: str) -> str:
        lines = [f"  {label!r}: {count} times, first at {places[label]}" for label, count in counts.most_common(_SHOWN)]
        if len(counts) > _SHOWN:
            lines.append(f"  and {len(counts) - _SHOWN} more")
        expected = "one of the row's choices" if self.choices else f"one of {', '.join(self.labels or ())}"
        return "\n".join(
            [
                f"{counts.total()} rows of {split} have a label that is no answer of the task (expected {expected}):",
                *lines,
                "Mend the data, say with task.synonyms what they stand for, or add them to task.labels.",
            ]
        )


def template_columns(template: str) -> list[str]:
    """Return the columns that a template names; one without braces is a column's name.

    >>> template_columns("{title}: {body}"), template_columns("text")
    (['title', 'body'], ['text'])
    """
    return _COLUMN.findall(template) or ([template] if template.strip() else [])


def fill(template: str, row: Row, place: str) -> str:
    """Put a row's values into a template; nothing but ``{column}`` has a meaning in it.

    >>> fill("{a.__class__} {b}", {"a.__class__": 1, "b": "{a}"}, "here:1")
    '1 {a}'
    """

    def value(column: str) -> str:
        found = _value(row, column, place, "input")
        return "" if found is None else str(found)

    if not _COLUMN.search(template):
        return value(template)
    template = template.replace("\\n", "\n")  # a command line hands the two characters on
    return _COLUMN.sub(lambda match: value(match[1]), template)


def _value(row: Row, column: str, place: str, key: str) -> Any:
    if column in row:
        return row[column]
    found: Any = row
    for part in column.split("."):
        if not isinstance(found, dict) or part not in found:
            columns = ", ".join(map(str, row))
            hint = " For data without labels: task.label=null." if key == "label" else ""
            raise DataError(f"{place}: there is no column {column!r} (task.{key}). The columns are: {columns}.{hint}")
        found = found[part]
    return found


def _choices(value: Any, place: str) -> tuple[str, ...]:
    if isinstance(value, str):
        try:
            parsed = json.loads(value) if value.lstrip().startswith("[") else value.split("|")
        except (json.JSONDecodeError, RecursionError):
            parsed = None
        value = parsed
    choices = tuple(str(choice).strip() for choice in value) if isinstance(value, list | tuple) else ()
    if len(set(choices)) < 2 or not all(choices):
        raise DataError(
            f"{place}: expected at least two choices (task.choices), as a list or as text such as yes|no, "
            f"got {value!r:.80}."
        )
    return choices
