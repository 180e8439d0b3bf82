"""Faults in the rows of a split, collected while they are read and reported together."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field

from dsbs.core.command_line import quoted
from dsbs.core.units import pluralize
from dsbs.tasks.answers.arithmetic import evaluate
from dsbs.tasks.cells import MISSING

_SHOWN = 20
_KEPT = 10_000  # different labels that are told apart; beyond that they are counted together
_DECIMAL_COMMA = re.compile(r"(?<![\d,])(?:\d{1,3}(?:[. ]\d{3})+|\d+),\d+(?![\d,])")
# Patterns that take a number out of a text, the likeliest first: GSM8K's, and whatever is the only number.
_PATTERNS = ("#### *(.+)", "#### *(-?[0-9][0-9.,]*[0-9]|-?[0-9])", "-?[0-9][0-9.,]*", "-?[0-9]+(?:[.,][0-9]+)*")
_NUMBER_INSIDE = re.compile(r"[^\d-]*-?\d[\d.,]*[^\d]*")


@dataclass
class RowFaults:
    """Faults by kind, each with counts and places.

    Attributes:
        split: of the rows; empty for a single row.
        unread: labels that are not answers of the task, with counts.
        first_places: the first place of each of them.
        no_input: places of the first rows without an input.
        unlabelled: places of the first rows without a label, where that is a fault.
        absent: (key of the setting, column) -> number of rows without that column.
        without_input: number of rows without an input.
        without_label: number of rows without a label, where that is a fault.
    """

    split: str
    unread: Counter[str] = field(default_factory=Counter)
    first_places: dict[str, str] = field(default_factory=dict)
    no_input: list[str] = field(default_factory=list)
    unlabelled: list[str] = field(default_factory=list)
    absent: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_input: int = 0
    without_label: int = 0

    def __bool__(self) -> bool:
        return bool(self.unread or self.no_input or self.unlabelled)

    def note_unread(self, raw: str, place: str) -> None:
        """Count a label that is not an answer of the task."""
        raw = _shorten(raw)
        if raw not in self.unread and len(self.unread) >= _KEPT:
            raw = "(others)"
        self.unread[raw] += 1
        self.first_places.setdefault(raw, place)

    def note_empty_input(self, place: str) -> None:
        """Count a row without an input."""
        self.without_input += 1
        if len(self.no_input) < _SHOWN:
            self.no_input.append(place)

    def note_unlabelled(self, place: str) -> None:
        """Count a row without a label."""
        self.without_label += 1
        if len(self.unlabelled) < _SHOWN:
            self.unlabelled.append(place)

    def describe(self, input: str, expected: str, advice: str) -> str:
        """Return one message about all faults."""
        parts = []
        if self.no_input:
            fault = f"{_places(self.no_input, self.without_input)}: the input is empty (task.input='{input}')."
            parts.append(fault + " Fix the data, or type task.empty_inputs=drop to drop such rows." * bool(self.split))
        if self.unlabelled:
            parts.append(
                f"{_places(self.unlabelled, self.without_label)}: there is no label ({self.without_label:,} of the "
                f"rows of {self.split}). Type task.unlabelled=drop to drop them, or task.unlabelled=keep."
            )
        if self.unread:
            count = self.unread.total()
            rows = f"{pluralize(count, 'row')} of {self.split} {'has' if count == 1 else 'have'}"
            times = {raw: pluralize(self.unread[raw], "time") for raw in self.shown}
            lines = [f"  {raw!r}: {times[raw]}, first at {self.first_places[raw]}" for raw in times]
            if len(self.unread) > _SHOWN:
                lines.append(f"  and {len(self.unread) - _SHOWN:,} more")
            parts += [f"{rows} a label that is not an answer of the task (expected {expected}):", *lines, advice]
        return "\n".join(parts)

    def synonyms(self) -> str:
        """Return the setting that maps the unread labels to answers, to be filled in."""
        return shlex.quote(f"task.synonyms={{{', '.join(f'{quoted(raw)}: LABEL' for raw in self.shown)}}}")

    def missing(self) -> str:
        """Return the setting that declares the unread labels to be missing values."""
        return shlex.quote(f"task.missing=[{', '.join(map(quoted, [*MISSING, *self.shown]))}]")

    def pattern(self) -> str | None:
        """Return the setting that extracts a number from every unread label, or None where no known pattern does."""
        one_number = all("####" in raw or _NUMBER_INSIDE.fullmatch(raw) for raw in self.unread)
        for pattern in _PATTERNS if one_number else ():
            if all(_takes_number(pattern, raw) for raw in self.unread):
                return shlex.quote(f'task.label_pattern="{pattern}"')
        return None

    @property
    def decimal_commas(self) -> bool:
        """Whether all unread labels have a decimal comma."""
        return bool(self.unread) and all(_DECIMAL_COMMA.search(raw) for raw in self.unread)

    @property
    def shown(self) -> list[str]:
        """The most frequent of the unread labels, at most ``_SHOWN``."""
        return [raw for raw, _ in self.unread.most_common(_SHOWN)]


def _takes_number(pattern: str, raw: str) -> bool:
    found = re.search(pattern, raw)
    return found is not None and evaluate(found[found.re.groups].strip()) is not None


def _shorten(raw: str) -> str:
    raw = " ".join(raw.split())
    return raw if len(raw) <= 80 else f"{raw[:38]} ... {raw[-37:]}"


def _places(shown: list[str], count: int) -> str:
    more = f" and {count - len(shown):,} more" if count > len(shown) else ""
    return ", ".join(shown) + more
