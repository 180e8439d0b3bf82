"""The plot: test accuracy over the share of the training data, a line for each method."""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from dsbs.reporting.cells import STAND_IN, Cell, show_fraction
from dsbs.reporting.comparisons import describe_cell

if TYPE_CHECKING:
    from dsbs.reporting.report import TeacherAccuracy

# Okabe and Ito's palette, told apart with every kind of colour vision; the markers tell the rest, in print as well.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK = "#333333"


def draw_accuracy(cells: Sequence[Cell], teachers: Sequence["TeacherAccuracy"]) -> bytes:
    """Return the plot as PNG.

    Lines join the means over seeds, bars are their 95% intervals, small dots the seeds themselves; a dashed line
    stands at each teacher's accuracy. The axis of the shares is logarithmic.
    """
    import matplotlib as mpl

    # No pyplot: a figure of its own needs no display and leaves nothing behind in the process.
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullLocator, PercentFormatter

    with mpl.rc_context({"font.size": 11, "axes.edgecolor": INK, "text.color": INK}):
        figure = Figure(figsize=(8, 5), dpi=160, layout="constrained", facecolor="white")
        axes = figure.subplots()
        axes.set_xscale("log", base=2)
        lines = group_lines(cells)
        for index, line in enumerate(lines):
            _draw_line(axes, line, index, len(lines), describe_cell(line[0], cells))
        for index, teacher in enumerate(teachers):
            stand_in = ", scripted stand-in" if teacher.name == STAND_IN else ""
            label = f"teacher {teacher.name} on {teacher.split} ({100 * teacher.accuracy:.1f}%{stand_in})"
            axes.axhline(teacher.accuracy, color="#777777", linestyle=("--", ":", "-.")[index % 3], label=label)
        fractions = sorted({cell.data_fraction for cell in cells})
        axes.set_xticks(fractions, [_name_tick(fraction, cells) for fraction in fractions])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(min(fractions) / 1.35, max(fractions) * 1.35)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axes.set_xlabel("share of the training data")
        axes.set_ylabel("test accuracy")
        axes.grid(axis="y", color="#dddddd", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        figure.legend(loc="outside lower center", ncols=1 if len(lines) > 4 else 2, frameon=False, fontsize=10)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", metadata={"Software": None})
        return stream.getvalue()


def group_lines(cells: Sequence[Cell]) -> list[list[Cell]]:
    """Return the cells line by line, each in the order of its shares of the data."""
    lines: dict[tuple[str, ...], list[Cell]] = {}
    for cell in cells:
        lines.setdefault(cell.line, []).append(cell)
    return [sorted(line, key=lambda cell: cell.data_fraction) for line in lines.values()]


def _draw_line(axes: Any, line: Sequence[Cell], index: int, count: int, label: str) -> None:
    # Lines stand a little beside each other, so that intervals at the same share of the data can be told apart.
    shift = 2 ** (0.07 * (index - (count - 1) / 2))
    places = [cell.data_fraction * shift for cell in line]
    estimates = [cell.estimate for cell in line]
    means = [estimate.mean for estimate in estimates]
    reach = [
        [max(0.0, estimate.mean - estimate.low) for estimate in estimates],
        [max(0.0, estimate.high - estimate.mean) for estimate in estimates],
    ]
    colour = COLOURS[index % len(COLOURS)]
    axes.errorbar(
        places,
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
    for place, cell in zip(places, line, strict=True):
        beside = [place * 1.05] * len(cell.per_seed)
        axes.scatter(beside, cell.per_seed, s=16, facecolor="white", edgecolor=colour, linewidth=1.1, zorder=4)


def _name_tick(fraction: float, cells: Sequence[Cell]) -> str:
    counts = [cell.mean("train_examples") for cell in cells if cell.data_fraction == fraction]
    known = sorted({round(count) for count in counts if count is not None})
    name = "1" if fraction == 1 else show_fraction(fraction)
    return f"{name}\n({known[0]:,} examples)" if len(known) == 1 else name
