"""The page and the plot of a deferral study."""

import io
from pathlib import Path
from typing import Any

from dsbs.core.html import render
from dsbs.core.units import show_percent

TEMPLATES = Path(__file__).with_name("templates")


def draw_curve(figures: dict[str, Any], format: str) -> bytes:
    """Return the risk-coverage curve on test as an image, such as ``svg`` or ``png``."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    curve = figures["curve"]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "defer", "font.size": 11}):
        figure = Figure(figsize=(7, 4.2), dpi=150, layout="constrained", facecolor="white")
        axes = figure.subplots()
        low, high = zip(*curve["interval"], strict=True)
        axes.fill_between(curve["coverage"], low, high, color="#0072B2", alpha=0.2, linewidth=0)
        axes.plot(curve["coverage"], curve["risk"], color="#0072B2", label="student, most confident first")
        axes.plot(curve["coverage"], curve["random"], color="#7a7a7a", linestyle="--", label="random order")
        axes.plot(curve["coverage"], curve["oracle"], color="#009E73", linestyle=":", label="oracle")
        axes.axvline(1 - figures["deferred"], color="#D55E00", linewidth=1, label="threshold")
        axes.set_xlabel("coverage: share of answers that the student keeps")
        axes.set_ylabel("risk: share of wrong answers among them")
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=format)
    return buffer.getvalue()


def build_page(name: str, record: dict[str, Any]) -> str:
    """Return the page as a single self-contained HTML file."""
    test = record["test"] or record["validation"]
    image = draw_curve(test, "svg").decode()
    return render(
        TEMPLATES,
        "defer.html",
        student=name,
        record=record,
        test=test,
        image=image[image.index("<svg") :],
        rows=rows_of(test),
        classes=[
            [label, one["examples"], show_percent(one["deferred"]), show_percent(one["accuracy"]),
             show_percent(one["accuracy_kept"]) or "none kept"]
            for label, one in test["by_class"].items()
        ],
    )  # fmt: skip


def rows_of(figures: dict[str, Any]) -> list[list[str]]:
    """Return the figures as rows of name and value, which may be 'unknown'."""

    def percent(value: float | None) -> str:
        return show_percent(value) or "unknown"

    def dollars(value: float | None) -> str:
        return "unknown" if value is None else f"${value:,.4f}"

    requests = figures["break_even_requests"]
    return [
        ["answers left to the teacher", percent(figures["deferred"])],
        ["accuracy of all of the student's answers", percent(figures["accuracy"])],
        ["accuracy of the answers it keeps", percent(figures["accuracy_kept"])],
        ["  95% lower bound", percent(figures["accuracy_kept_lower_95"])],
        ["its accuracy on the deferred ones", percent(figures["accuracy_deferred_student"])],
        ["the teacher's accuracy on the deferred ones", percent(figures["accuracy_deferred_teacher"])],
        ["the teacher's accuracy on all", percent(figures["accuracy_teacher"])],
        ["combined accuracy", percent(figures["accuracy_together"])],
        ["AUGRC (random, oracle)",
         f"{figures['augrc']:.4f} ({figures['augrc_random']:.4f}, {figures['augrc_oracle']:.4f})"],
        ["calibration error before, after", f"{figures['ece_before']:.4f}, {figures['ece_after']:.4f}"],
        ["dollars per 1,000 answers, teacher alone", dollars(figures["usd_per_1000_teacher"])],
        ["dollars per 1,000 answers, deferring", dollars(figures["usd_per_1000"])],
        ["extraction pays for itself after", "unknown" if requests is None else f"{requests:,} requests"],
    ]  # fmt: skip
