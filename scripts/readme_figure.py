"""Draw the README's figure, docs/accuracy.svg, from the figures in docs/results.md: python scripts/readme_figure.py."""

from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot as plt

# Test accuracy in percent: the mean, then one number per seed; docs/results.md has the commands.
PANELS = (
    (
        "Built-in task triage (scripted teacher)",
        26.8,
        (
            ("step-by-step, 1/8 of the labels", 98.3, (98.0, 99.2, 97.7)),
            ("fine-tuning, all labels", 98.9, (98.9, 98.2, 99.5)),
            ("step-by-step, another example's rationale", 26.4, (26.1, 26.0, 27.2)),
            ("fine-tuning, 1/8 of the labels", 27.6, (27.4, 27.4, 28.0)),
        ),
    ),
    (
        "CommonsenseQA (540B teacher, 135M student)",
        20.0,
        (
            ("step-by-step, 1/4 of the data", 34.5, (35.8, 34.4, 34.2, 33.6)),
            ("step-by-step, another question's rationale", 31.3, (30.4, 32.3, 31.1)),
            ("fine-tuning, 1/4 of the data", 31.7, (32.1, 32.8, 29.8, 31.9)),
            ("fine-tuning, all of the data", 42.5, (43.8, 41.3)),
        ),
    ),
)
COLOURS = {"step-by-step": "#3563c9", "fine-tuning": "#b0672b"}


def main() -> None:
    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "dsbs", "font.family": "sans-serif", "font.size": 9})
    rows = [len(bars) for _, _, bars in PANELS]
    figure, axes = plt.subplots(len(PANELS), 1, figsize=(7.2, 3.8), sharex=True, height_ratios=rows)
    for axis, (title, chance, bars) in zip(axes, PANELS, strict=True):
        for y, (name, mean, seeds) in enumerate(reversed(bars)):
            colour = COLOURS[name.split(",")[0]]
            axis.barh(y, mean, height=0.62, color=colour, alpha=0.85)
            if len(seeds) > 1:
                axis.plot(seeds, [y] * len(seeds), "o", markersize=3.5, color="white", markeredgecolor="black")
            axis.text(max(mean, *seeds) + 1.5, y, f"{mean:.1f}%", va="center", fontweight="bold")
        axis.axvline(chance, color="0.4", linewidth=1, linestyle="--")
        axis.set_yticks(range(len(bars)), [name for name, _, _ in reversed(bars)])
        axis.set_title(title, loc="left", fontsize=9, fontweight="bold")
        axis.set_xlim(0, 112)
        axis.tick_params(axis="y", length=0)
        axis.spines[["top", "right", "left"]].set_visible(False)
    axes[-1].set_xlabel("test accuracy (%), dashed: chance")
    figure.tight_layout()
    path = Path(__file__).resolve().parents[1] / "docs" / "accuracy.svg"
    figure.savefig(path, metadata={"Date": None}, facecolor="white")
    path.write_text("".join(line.rstrip() + "\n" for line in path.read_text(encoding="utf-8").splitlines()))


if __name__ == "__main__":
    main()
