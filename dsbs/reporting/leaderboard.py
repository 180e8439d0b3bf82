"""The leaderboard of students for a task: score, size and speed of each, and which one to choose."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Console

from dsbs.core.terminal import make_table, print_table
from dsbs.core.units import show_count, show_duration, show_fraction, show_size
from dsbs.extraction.annotations import price_of, total_of
from dsbs.inference.metrics import show_score
from dsbs.reporting.conditions import Condition
from dsbs.reporting.figure import save_figure
from dsbs.reporting.teachers import TeacherFacts
from dsbs.reporting.wording import show_interval
from dsbs.tasks.base import ACCURACY

REQUIREMENTS = (0.99, 0.95, 0.9)  # shares of the teacher's score


@dataclass(frozen=True)
class Entry:
    """One condition of the leaderboard; figures are means over seeds, None where unknown.

    Attributes:
        seeds: their number.
        score, low, high: mean test score and its 95% interval.
        milliseconds: per answer, in the batches of the evaluation.
        on_frontier: whether no other student is both faster and better.
    """

    student: str
    objective: str
    data_fraction: float
    seeds: int
    score: float
    low: float
    high: float
    parameters: float | None
    size_bytes: float | None
    train_seconds: float | None
    milliseconds: float | None
    on_frontier: bool = False

    @property
    def name(self) -> str:
        """The entry's name for messages."""
        return f"{self.student}, {self.objective}, {show_fraction(self.data_fraction)} of the data"


@dataclass(frozen=True)
class TeacherCosts:
    """Accuracy, price and speed of the teacher; None where unknown.

    Attributes:
        score: its accuracy on ``split``, if the students are scored by it, too.
        split: ``test``, or ``train``.
        usd_per_1000: dollars for 1,000 answers.
        milliseconds: of the last extraction per answer, with many requests at once, unless most answers were stored.
    """

    name: str
    score: float | None
    split: str | None
    usd_per_1000: float | None
    milliseconds: float | None


def build_entries(conditions: Sequence[Condition]) -> list[Entry]:
    """Return an entry for each condition, the best score first, the Pareto frontier marked."""
    entries = []
    for condition in conditions:
        estimate = condition.estimate
        entries.append(
            Entry(
                condition.student,
                condition.objective,
                condition.data_fraction,
                len(condition.seeds),
                estimate.mean,
                estimate.low,
                estimate.high,
                condition.mean("parameters"),
                condition.mean("size_bytes"),
                condition.mean("seconds"),
                condition.mean("milliseconds_per_example"),
            )
        )
    return mark_frontier(sorted(entries, key=lambda entry: -entry.score))


def mark_frontier(entries: Sequence[Entry]) -> list[Entry]:
    """Mark the Pareto frontier of score and time; an entry of unknown time is never on it."""
    marked = []
    for entry in entries:
        mine = entry.milliseconds
        beaten = mine is None or any(
            other.milliseconds is not None
            and other.score >= entry.score
            and other.milliseconds <= mine
            and (other.score, -other.milliseconds) != (entry.score, -mine)
            for other in entries
        )
        marked.append(replace(entry, on_frontier=not beaten))
    return marked


def advise(entries: Sequence[Entry], teacher: TeacherCosts | None) -> list[str]:
    """Return a sentence for each recommended student: the fastest that meets a share of the teacher's accuracy.

    A student meets a requirement by its mean; the sentence says so where its interval extends below.
    """
    timed = [entry for entry in entries if entry.milliseconds is not None]
    if not timed:
        return []
    reference = teacher.score if teacher and teacher.score else None
    reference_name = "the teacher's accuracy"
    if reference is None:
        reference, reference_name = max(entry.score for entry in timed), "the best student's score"
    if reference <= 0:  # of a metric below zero no share is a requirement
        return []
    shares_of: dict[str, list[float]] = {}
    for share in REQUIREMENTS:
        able = [entry for entry in timed if entry.score >= share * reference]
        if not able:
            shares_of.setdefault("no student", []).append(share)
            continue
        best = min(able, key=lambda entry: (entry.milliseconds or math.inf, -entry.score))
        sure = "" if best.low >= share * reference else ", though its interval extends below"
        shares_of.setdefault(f"{best.name}, {best.milliseconds:.2g} ms{sure}", []).append(share)
    return [
        f"At least {' or '.join(f'{100 * share:.0f}%' for share in shares)} of {reference_name}: {name}."
        for name, shares in shares_of.items()
    ]


def price_teacher(
    teachers: Sequence[TeacherFacts], summary: dict[str, Any] | None, metric: str = ACCURACY
) -> TeacherCosts | None:
    """Return the teacher's price and speed from the summary of its extraction; None without a teacher.

    Args:
        metric: of the students.
    """
    if not teachers:
        return None
    facts, price = teachers[0], price_of(summary)
    requests, cached = total_of(summary, "requests"), total_of(summary, "cached") or 0
    seconds = None if facts.replayed else (summary or {}).get("seconds")
    return TeacherCosts(
        facts.name,
        facts.accuracy if metric == ACCURACY else None,
        facts.split if metric == ACCURACY else None,
        1000 * price[0] / price[1] if price else None,
        1000 * seconds / requests if seconds and requests and requests >= cached else None,
    )


def draw_frontier(entries: Sequence[Entry], teacher: TeacherCosts | None, format: str, metric: str = ACCURACY) -> bytes:
    """Return an image of scores over milliseconds per answer, with the frontier as a line."""
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    timed = [(entry, entry.milliseconds) for entry in entries if entry.milliseconds]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ladder", "font.size": 11}):
        figure = Figure(figsize=(8, 5), dpi=150, layout="constrained", facecolor="white")
        axes = figure.subplots()
        for entry, milliseconds in timed:
            colour = "#0072B2" if entry.on_frontier else "#8a8a8a"
            low, high = max(entry.score - entry.low, 0.0), max(entry.high - entry.score, 0.0)
            axes.errorbar(milliseconds, entry.score, [[low], [high]], fmt="o", color=colour, capsize=3)
            axes.annotate(
                f"{entry.student}, {entry.objective}, {show_fraction(entry.data_fraction)}".replace("$", r"\$"),
                (milliseconds, entry.score),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8,
            )
        frontier = sorted((milliseconds, entry.score) for entry, milliseconds in timed if entry.on_frontier)
        axes.plot([one for one, _ in frontier], [score for _, score in frontier], color="#0072B2", alpha=0.5)
        if teacher and teacher.score is not None:
            axes.axhline(teacher.score, color="#D55E00", linestyle="--", linewidth=1)
            axes.annotate(
                f"teacher ({teacher.name.replace('$', '')})", (0.01, teacher.score), xycoords=("axes fraction", "data")
            )
        if timed:
            axes.set_xscale("log")
        axes.set_xlabel("milliseconds per answer")
        axes.set_ylabel(f"test {metric}")
        if metric == ACCURACY:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=None))
        axes.spines[["top", "right"]].set_visible(False)
        return save_figure(figure, format)


def show_leaderboard(record: dict[str, Any], console: Console) -> None:
    """Print the content of ``compare.json`` as a table, with a star for students on the frontier."""
    names = ("student", "objective", "data", "seeds", "score", "95%", "parameters", "size", "train", "ms", "")
    table = make_table(f"{record['task']}: {record['metric']} on test", *names, left=2)
    metric = record["metric"]
    for one in record["students"]:
        table.add_row(
            one["student"],
            one["objective"],
            show_fraction(one["data_fraction"]),
            str(one["seeds"]),
            show_score(metric, one["score"]),
            show_interval(metric, one["low"], one["high"]),
            show_count(one["parameters"]),
            show_size(one["size_bytes"]),
            show_duration(one["train_seconds"]),
            "" if one["milliseconds"] is None else f"{one['milliseconds']:.3g}",
            "*" if one["on_frontier"] else "",
        )
    print_table(console, table)
    if teacher := record["teacher"]:
        score, usd, milliseconds = (teacher[key] for key in ("score", "usd_per_1000", "milliseconds"))
        facts = [
            "score unknown" if score is None else f"{show_score(metric, score)} on {teacher['split']}",
            "price unknown" if usd is None else f"${usd:.4f} per 1,000 answers",
            "speed unknown" if milliseconds is None else f"{milliseconds:.3g} ms per answer, many at once",
        ]
        console.print(f"  teacher {teacher['name']}: {'; '.join(facts)}", highlight=False)
