"""The learning curve as text, for a terminal."""

import math
from collections.abc import Sequence

from dsbs.core.units import show_fraction
from dsbs.reporting.charts import choose_score_ticks, label_ticks
from dsbs.reporting.conditions import Condition, count_examples
from dsbs.reporting.wording import describe_condition

WIDTH, HEIGHT = 70, 14  # of the whole; of the area of points
LEFT = 7  # columns for the scale, or more where its numbers are longer
MARKS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def draw_text(conditions: Sequence[Condition]) -> list[str]:
    """Return the lines of a plot of scores over shares of the data: a letter at each mean, ``|`` over its 95% interval.

    Empty for fewer than two conditions. Controls are left out, and methods after the 26th, which have no letter.
    """
    conditions = [one for one in conditions if not one.control]
    if len(conditions) < 2:
        return []
    metric = conditions[0].metric
    names = dict.fromkeys(condition.line for condition in conditions)
    marks = dict(zip(names, MARKS, strict=False))
    shown = [condition for condition in conditions if condition.line in marks]
    ends = [end for one in shown for end in (one.estimate.low, one.estimate.high, one.estimate.mean)]
    ticks = choose_score_ticks(metric, min(ends), max(ends), wanted=4)
    low, high = ticks[0], max(ticks[-1], *ends)
    labels = label_ticks(metric, ticks)
    left = max(LEFT, max(map(len, labels)) + 1)

    def row(value: float) -> int:
        return round((HEIGHT - 1) * (high - value) / (high - low))

    shares = sorted({condition.data_fraction for condition in shown})
    columns = {share: _column_of(share, shares, len(marks), left) for share in shares}
    field = [[" "] * WIDTH for _ in range(HEIGHT)]
    for number, line in enumerate(marks):
        shift = 2 * number - (len(marks) - 1)
        for condition in (one for one in shown if one.line == line):
            column = min(WIDTH - 1, max(left + 1, columns[condition.data_fraction] + shift))
            for place in range(row(condition.estimate.high), row(condition.estimate.low) + 1):
                field[place][column] = "|"
            field[row(condition.estimate.mean)][column] = marks[line]
    for tick, label in zip(ticks, labels, strict=True):
        field[row(tick)][: left - 1] = label.rjust(left - 1)
    lines = ["".join([*cells[:left], "|", *cells[left + 1 :]]).rstrip() for cells in field]
    lines.append(" " * left + "+" + "-" * (WIDTH - left - 1))
    lines.append(_label({columns[share]: show_fraction(share) for share in shares}))
    counts = {columns[share]: count_examples(shown, share) for share in shares}
    if None not in counts.values():
        lines.append(_label({place: f"{count:,} labels" for place, count in counts.items()}))
    lines += [f"{' ' * left} {mark}  {_name(line, conditions)}" for line, mark in marks.items()]
    return lines


def _column_of(share: float, shares: Sequence[float], methods: int, left: int) -> int:
    """Return the column of a share of the data, on a scale by powers of two."""
    first, last = left + 1 + methods + 3, WIDTH - methods - 4
    if shares[0] == shares[-1]:
        return (first + last) // 2
    return round(first + (last - first) * math.log(share / shares[0]) / math.log(shares[-1] / shares[0]))


def _label(texts: dict[int, str]) -> str:
    """Return a line with each text below its column; texts that would touch their neighbour are left out."""
    line = ""
    for column, text in sorted(texts.items()):
        start = min(max(column - len(text) // 2, 0), WIDTH - len(text))
        if not line or start > len(line):
            line = line.ljust(start) + text
    return line


def _name(line: tuple[str, ...], conditions: Sequence[Condition]) -> str:
    return describe_condition(next(one for one in conditions if one.line == line), conditions)
