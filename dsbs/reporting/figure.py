"""The plot of test scores over shares of the training data, one line per method."""

import io
from collections.abc import Sequence
from typing import Any

from dsbs.core.units import show_fraction
from dsbs.inference.metrics import show_score
from dsbs.reporting.conditions import Condition, count_examples, group_lines
from dsbs.reporting.report import Report
from dsbs.reporting.wording import describe_condition
from dsbs.tasks.base import ACCURACY

# Okabe and Ito's palette, which is safe for colour blindness; the markers also work in black and white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK = "#333333"


def draw_scores(report: Report, formats: Sequence[str]) -> dict[str, bytes]:
    """Return format -> image, for formats such as ``png`` and ``svg``.

    Lines join the means over seeds, bars are 95% intervals, small dots are seeds, dashed lines the teachers' scores.
    The axis of shares is logarithmic.
    """
    import matplotlib as mpl

    # Without pyplot: needs no display and leaves no global state.
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, PercentFormatter

    conditions = [condition for condition in report.conditions if not condition.control] or report.conditions
    look = {"font.size": 11, "axes.edgecolor": INK, "text.color": INK}
    # A dollar sign in a name starts no formula.
    options: dict[Any, Any] = {"text.parse_math": False, "svg.fonttype": "none", "svg.hashsalt": report.task}
    with mpl.rc_context(options | look):
        figure = Figure(figsize=(8, 5), dpi=160, layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        lines = group_lines(conditions)
        for index, line in enumerate(lines):
            _draw_line(axes, line, index, len(lines), describe_condition(line[0], conditions))
        for index, teacher in enumerate(report.teachers):
            if teacher.accuracy is None or report.metric != ACCURACY:
                continue
            stand_in = ", scripted stand-in" if teacher.stand_in else ""
            value = show_score(ACCURACY, teacher.accuracy)
            label = f"teacher {teacher.name} on {teacher.split} ({value}{stand_in})"
            axes.axhline(teacher.accuracy, color="#777777", linestyle=("--", ":", "-.")[index % 3], label=label)
        fractions = sorted({condition.data_fraction for condition in conditions})
        axes.set_xticks(fractions, [_name_tick(fraction, conditions) for fraction in fractions])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(min(fractions) / 1.35, max(fractions) * 1.35)
        if report.metric == ACCURACY:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axes.set_xlabel("share of the training data")
        axes.set_ylabel(f"test {report.metric}")
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=1 if len(lines) > 4 else 2, frameon=False, fontsize=10)
        return {format: save_figure(figure, format) for format in formats}


def save_figure(figure: Any, format: str) -> bytes:
    """Return a figure as an image, without date and version: the same runs give the same file."""
    stream = io.BytesIO()
    figure.savefig(stream, format=format, metadata={"Software": None} if format == "png" else {"Date": None})
    return stream.getvalue()


def _draw_line(axes: Any, line: Sequence[Condition], index: int, count: int, label: str) -> None:
    # Lines stand a little beside each other, so that intervals at the same share of the data can be told apart; seeds
    # stand half-way to the next line.
    step = min(0.12, 0.6 / count)
    shift = 2 ** (step * (index - (count - 1) / 2))
    positions = [condition.data_fraction * shift for condition in line]
    estimates = [condition.estimate for condition in line]
    means = [estimate.mean for estimate in estimates]
    reach = [
        [max(0.0, estimate.mean - estimate.low) for estimate in estimates],
        [max(0.0, estimate.high - estimate.mean) for estimate in estimates],
    ]
    colour = COLOURS[index % len(COLOURS)]
    axes.errorbar(
        positions,
        means,
        yerr=reach,
        color=colour,
        marker=MARKERS[index % len(MARKERS)],
        markersize=8,
        linewidth=2,
        elinewidth=1.4,
        capsize=4,
        label=label,
        zorder=3,
    )
    for position, condition in zip(positions, line, strict=True):
        beside = [position * 2 ** (step / 2)] * len(condition.per_seed)
        axes.scatter(beside, condition.per_seed, s=16, facecolor="white", edgecolor=colour, linewidth=1.1, zorder=4)


def _name_tick(fraction: float, conditions: Sequence[Condition]) -> str:
    count = count_examples(conditions, fraction)
    name = "1" if fraction == 1 else show_fraction(fraction)
    return name if count is None else f"{name}\n({count:,} examples)"
