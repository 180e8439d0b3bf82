"""The geometry of the page's charts, in pixels; templates draw them in the reader's colour scheme."""

import math
from collections.abc import Callable, Sequence
from typing import Any

from dsbs.core.units import show_fraction
from dsbs.inference.metrics import show_score
from dsbs.reporting.sizes import show_parameters
from dsbs.reporting.wording import show_interval
from dsbs.tasks.base import ACCURACY

LEFT, RIGHT, TOP, BOTTOM = 48, 14, 12, 44
SHAPES = ("circle", "square", "triangle", "diamond")
COLOURS = 8

Cell = dict[str, Any]
Scale = Callable[[float], float]


def draw_curve(document: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    """Return the learning curve: scores over shares of the data, with intervals, seeds and the teachers' scores."""
    cells = [cell for cell in document["cells"] if not cell["control"]]
    shares = sorted({cell["data_fraction"] for cell in cells})
    ticks = [(math.log2(share), show_fraction(share), _count_examples(share, cells)) for share in shares]
    lines = [
        (members[0]["name"], sorted(members, key=lambda cell: cell["data_fraction"]))
        for line in dict.fromkeys(cell["line"] for cell in cells)
        if (members := [cell for cell in cells if cell["line"] == line])
    ]
    return _draw_lines(document, lines, ticks, lambda cell: math.log2(cell["data_fraction"]), width, height)


def draw_sizes(document: dict[str, Any], width: int, height: int) -> dict[str, Any]:
    """Return the chart of scores over numbers of parameters: students of any kind, so points are not joined."""
    cells = {cell["id"]: cell for cell in document["cells"]}
    lines = [(series["name"], [cells[id] for id in series["cells"]]) for series in document["sizes"]]
    counts = sorted({cell["parameters"] for _, members in lines for cell in members})
    ticks = [(math.log2(count), show_parameters(count), "") for count in counts]
    chart = _draw_lines(document, lines, ticks, lambda cell: math.log2(cell["parameters"]), width, height)
    for line in chart.get("lines", ()):
        line["path"] = ""
    return chart


def _draw_lines(
    document: dict[str, Any],
    lines: Sequence[tuple[str, list[Cell]]],
    x_ticks: Sequence[tuple[float, str, str]],
    x_of: Callable[[Cell], float],
    width: int,
    height: int,
) -> dict[str, Any]:
    """Return a chart of named lines.

    Args:
        lines: (name, conditions) of each.
        x_ticks: (value, label, second label) of each.
        x_of: condition -> its value on the x axis.
    """
    metric, cells = document["metric"], [cell for _, members in lines for cell in members]
    if not cells:
        return {}
    teachers = [one for one in document["teacher"]["all"] if one["accuracy"] is not None and metric == ACCURACY]
    values = [value for cell in cells for value in (cell["ci_low"], cell["ci_high"], *cell["per_seed"])]
    values += [one["accuracy"] for one in teachers]
    ticks = choose_score_ticks(metric, min(values), max(values))
    y = _scale(ticks[0], max(ticks[-1], *values), height - BOTTOM, TOP)
    labels = label_ticks(metric, ticks)
    left = _left_of(labels)
    pad = 26  # for points that stand beside each other
    x = _scale(x_ticks[0][0], x_ticks[-1][0], left + pad, width - RIGHT - pad)
    step = min(9.0, 40 / max(1, len(lines)))
    return {
        "width": width,
        "height": height,
        "bottom": height - BOTTOM,
        "left": left,
        "right": width - RIGHT,
        "y_ticks": [{"y": y(tick), "text": text} for tick, text in zip(ticks, labels, strict=True)],
        "x_ticks": [{"x": x(place), "text": text, "below": below} for place, text, below in x_ticks],
        "teachers": [
            {
                "y": y(one["accuracy"]),
                "tip": f"teacher {one['name']}, on {one['split']}: {show_score(metric, one['accuracy'])}",
            }
            for one in teachers
        ],
        "lines": [
            {
                "name": name,
                "colour": number % COLOURS,
                "shape": SHAPES[(number + number // COLOURS) % len(SHAPES)],
                "points": (points := _place(members, step * (number - (len(lines) - 1) / 2), metric, x_of, x, y)),
                "path": " ".join(f"{point['x']:.1f},{point['y']:.1f}" for point in points),
            }
            for number, (name, members) in enumerate(lines)
        ],
    }


def _place(
    cells: Sequence[Cell], shift: float, metric: str, x_of: Callable[[Cell], float], x: Scale, y: Scale
) -> list[dict[str, Any]]:
    """Return the points of a line, shifted so that intervals of several lines do not overlap."""
    return [
        {
            "x": x(x_of(cell)) + shift,
            "y": y(cell[metric]),
            "low": y(cell["ci_low"]),
            "high": y(cell["ci_high"]),
            "seeds": [y(value) for value in cell["per_seed"]],
            "tip": describe_cell(cell, metric),
        }
        for cell in cells
    ]


def describe_cell(cell: Cell, metric: str) -> str:
    """Return a condition's figures in one line, for the tooltip."""
    seeds = ", ".join(show_score(metric, value) for value in cell["per_seed"])
    return (
        f"{cell['name']} on {show_fraction(cell['data_fraction'])} of the data: {show_score(metric, cell[metric])} "
        f"(95% interval {show_interval(metric, cell['ci_low'], cell['ci_high'])}; seeds {seeds})"
    )


def draw_differences(comparisons: Sequence[Cell], width: int = 240, margin: float = 0.0) -> list[dict[str, Any]]:
    """Return a chart for each comparison: difference with interval, all on the same axis.

    Args:
        margin: non-inferiority margin, as a difference of scores; 0: none is marked.
    """
    ends = [100 * item[key] for item in comparisons for key in ("ci_low_adjusted", "ci_high_adjusted")]
    reach = max([5.0, *(abs(end) for end in ends if abs(end) != 100)])  # 100: cut off, and says nothing of the others
    x = _scale(-reach, reach, 6, width - 6)

    def clip(value: float) -> float:
        return min(width - 2.0, max(2.0, x(100 * value)))

    return [
        {
            "width": width,
            "zero": x(0),
            "margin": x(-100 * margin) if margin else None,
            "x": clip(item["difference"]),
            "low": clip(item["ci_low_adjusted"]),
            "high": clip(item["ci_high_adjusted"]),
        }
        for item in comparisons
    ]


def draw_scale(cells: Sequence[Cell], metric: str) -> dict[str, Any]:
    """Return a horizontal axis of scores, and for each condition, by its id, its position on it.

    Returns:
        ``width``; ``ticks``: ``x`` and ``text``; ``points``: id -> ``x``, ``low`` and ``high``.
    """
    width = 200
    ends = [cell[key] for cell in cells for key in ("ci_low", "ci_high")]
    ticks = choose_score_ticks(metric, min(ends), max(ends), wanted=4)
    x = _scale(ticks[0], max(ticks[-1], *ends), 18, width - 18)
    keys = {"x": metric, "low": "ci_low", "high": "ci_high"}
    return {
        "width": width,
        "ticks": [{"x": x(tick), "text": text} for tick, text in zip(ticks, label_ticks(metric, ticks), strict=True)],
        "points": {cell["id"]: {name: x(cell[key]) for name, key in keys.items()} for cell in cells},
    }


def draw_calibration(found: dict[str, Any]) -> dict[str, Any]:
    """Return a reliability diagram: accuracy over confidence."""
    size = 180
    x, y = _scale(0.0, 1.0, 26, size - 8), _scale(0.0, 1.0, size - 26, 8)
    highest = max(one["answers"] for one in found["bins"])
    return {
        "size": size,
        "diagonal": (x(0), y(0), x(1), y(1)),
        "points": [
            {
                "x": x(one["confidence"]),
                "y": y(one["accuracy"]),
                "r": 2 + 5 * math.sqrt(one["answers"] / highest),
                "tip": (
                    f"confidence {100 * one['confidence']:.1f}%: accuracy {100 * one['accuracy']:.1f}% on "
                    f"{one['answers']:,} answers"
                ),
            }
            for one in found["bins"]
        ],
    }


def draw_history(runs: Sequence[dict[str, Any]], metric: str, series: str) -> dict[str, Any]:
    """Return a chart of a logged series over steps, one line per seed; ``{}`` where nothing was logged."""
    lines = [(run["seed"], run[series]) for run in runs if run[series]]
    if not lines:
        return {}
    width, height = 300, 150
    values = [value for _, points in lines for _, value in points]
    last = max(step for _, points in lines for step, _ in points)
    metric = metric if series == "validation" else series
    ticks = choose_score_ticks(metric, min(values), max(values), wanted=3)
    labels = label_ticks(metric, ticks)
    left = _left_of(labels)
    x = _scale(0, last, left, width - RIGHT)
    y = _scale(ticks[0], max(ticks[-1], *values), height - 24, TOP)
    return {
        "width": width,
        "height": height,
        "left": left,
        "right": width - RIGHT,
        "bottom": height - 24,
        "last": f"{last:,}",
        "y_ticks": [{"y": y(tick), "text": text} for tick, text in zip(ticks, labels, strict=True)],
        "lines": [
            {
                "colour": number % COLOURS,
                "tip": f"seed {seed}: {show_score(metric, points[-1][1])} at step {points[-1][0]:,}",
                "path": " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points),
                "alone": (x(points[0][0]), y(points[0][1])) if len(points) == 1 else None,
            }
            for number, (seed, points) in enumerate(lines)
        ],
    }


def choose_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Return about ``wanted`` round numbers that span a range; one value gets a range of 10% around it.

    >>> [round(tick, 2) for tick in choose_ticks(0.23, 0.61)]
    [0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    >>> [round(tick, 2) for tick in choose_ticks(0.9, 0.9, wanted=3)]
    [0.85, 0.9, 0.95]
    """
    if high - low <= 1e-6 * abs(high):
        around = 0.05 * abs(high) or 0.05
        low, high = low - around, high + around
    span = high - low
    rough = span / wanted
    unit = 10 ** math.floor(math.log10(rough))
    step = next(unit * times for times in (1, 2, 5, 10) if unit * times >= rough - 1e-12)
    first = math.floor(low / step + 1e-9)
    count = max(1, math.ceil(high / step - 1e-9) - first)
    return [(first + place) * step for place in range(count + 1)]


def choose_score_ticks(metric: str, low: float, high: float, wanted: int = 5) -> list[float]:
    """Return round numbers that span a range of scores, of accuracies none below 0 or above 100%."""
    return [tick for tick in choose_ticks(low, high, wanted) if metric != ACCURACY or -1e-9 < tick < 1 + 1e-9]


def label_ticks(metric: str, ticks: Sequence[float]) -> list[str]:
    """Return the texts of an axis of scores, with as many decimals as tell its numbers apart.

    >>> label_ticks("accuracy", [0.995, 0.9975, 1.0]), label_ticks("mine", [-20_000, -10_000])
    (['99.5%', '99.8%', '100.0%'], ['-20,000', '-10,000'])
    """
    times, unit = (100, "%") if metric == ACCURACY else (1, "")
    step = times * (ticks[1] - ticks[0]) if len(ticks) > 1 else 1.0
    digits = max(0, -math.floor(math.log10(step) + 1e-6))
    return [f"{times * tick:,.{digits}f}{unit}" for tick in ticks]


def _left_of(labels: Sequence[str]) -> int:
    """Return where a chart begins to the right of the texts of its axis."""
    return max(LEFT, 7 * max(map(len, labels)) + 8)


def _scale(low: float, high: float, start: float, end: float) -> Scale:
    """Return the linear map from a range of values to a range of pixels; an empty range maps to the middle."""
    if high - low < 1e-12:
        return lambda value: (start + end) / 2
    return lambda value: start + (value - low) / (high - low) * (end - start)


def _count_examples(share: float, cells: Sequence[Cell]) -> str:
    alike = [cell for cell in cells if cell["data_fraction"] == share and cell["train_examples"]]
    counts = {round(cell["train_examples"]) for cell in alike}
    return f"{counts.pop():,}" if len(counts) == 1 else ""
