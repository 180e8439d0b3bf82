"""Draw the README's figure, docs/accuracy.svg, from the figures in docs/results.md: python scripts/readme_figure.py."""

from pathlib import Path
from statistics import mean

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

# Test accuracy in percent by seed; docs/results.md has the commands. Of triage by share of the data, and with the
# rationales of other examples on 1/8; of CommonsenseQA by what is trained, behind the mean.
SHARES = ("1/16", "1/8", "1/4", "1/2", "all")
CURVES = {
    "step-by-step": (
        (30.4, 30.5, 40.0, 29.4, 70.3),
        (99.9, 97.4, 98.9, 99.8, 99.4),
        (100.0, 100.0, 100.0, 100.0, 100.0),
        (99.6, 86.1, 100.0, 100.0, 100.0),
        (100.0, 86.4, 100.0, 100.0, 100.0),
    ),
    "fine-tuning": (
        (26.0, 27.5, 26.8, 26.5, 26.6),
        (28.8, 27.1, 29.6, 28.3, 27.7),
        (29.3, 32.0, 31.0, 28.2, 29.1),
        (33.4, 33.7, 63.4, 34.4, 39.4),
        (99.0, 98.4, 99.5, 99.2, 95.4),
    ),
}
SHUFFLED = (28.5, 27.4, 27.2, 26.7, 25.8)
BARS = (
    ("step-by-step, 1/4 of the data", 34.5, (35.8, 34.4, 34.2, 33.6)),
    ("the same, other questions' rationales", 31.3, (30.4, 32.3, 31.1)),
    ("fine-tuning, 1/4 of the data", 31.7, (32.1, 32.8, 29.8, 31.9)),
    ("fine-tuning, all of the data", 42.5, (43.8, 41.3)),
)
COLOURS = {"step-by-step": "#3563c9", "fine-tuning": "#b0672b", "the same": "#8fa9e0"}


def draw_curves(axis: Axes) -> None:
    """Draw the curves of the built-in task: a line through the means, a ring for each seed."""
    for name, points in CURVES.items():
        axis.plot([mean(seeds) for seeds in points], "o-", color=COLOURS[name], label=name, markersize=5)
        for x, seeds in enumerate(points):
            axis.plot([x + 0.1] * len(seeds), seeds, "o", markersize=3, color="white", markeredgecolor=COLOURS[name])
    axis.plot(1, mean(SHUFFLED), "x", color=COLOURS["step-by-step"], label="other examples' rationales")
    axis.axhline(26.8, color="0.4", linewidth=1, linestyle="--")
    axis.set_xticks(range(len(SHARES)), SHARES)
    axis.set_xlabel("share of the 4,800 labelled examples")
    axis.set_ylabel("test accuracy (%), dashed: chance")
    axis.set_ylim(0, 104)
    axis.set_title("Built-in task triage (scripted teacher)", loc="left", fontsize=9, fontweight="bold")
    axis.legend(frameon=False, fontsize=7.5, loc="upper left", bbox_to_anchor=(0.3, 0.85))


def draw_bars(axis: Axes) -> None:
    """Draw the bars of CommonsenseQA: a bar for each mean, a dot for each seed."""
    for y, (name, average, seeds) in enumerate(reversed(BARS)):
        axis.barh(y, average, height=0.6, color=COLOURS[name.split(",")[0]], alpha=0.85)
        axis.plot(seeds, [y] * len(seeds), "o", markersize=3.5, color="white", markeredgecolor="black")
        axis.text(max(seeds) + 1, y, f"{average:.1f}%", va="center", fontweight="bold")
        axis.text(0.6, y + 0.34, name, va="bottom", fontsize=7.5)
    axis.axvline(20.0, color="0.4", linewidth=1, linestyle="--")
    axis.set_xlim(0, 54)
    axis.set_ylim(-0.5, 3.75)
    axis.set_yticks([])
    axis.set_xlabel("test accuracy (%), dashed: chance")
    axis.set_title("CommonsenseQA (540B teacher, 135M student)", loc="left", fontsize=9, fontweight="bold")


def main() -> None:
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dsbs", "font.family": "sans-serif", "font.size": 8.5})
    figure, (left, right) = plt.subplots(1, 2, figsize=(8.6, 3.2), width_ratios=(1.1, 1))
    draw_curves(left)
    draw_bars(right)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(w_pad=2)
    path = Path(__file__).resolve().parents[1] / "docs" / "accuracy.svg"
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main()
