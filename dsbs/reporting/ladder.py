"""The ladder of students for one task: what each scores, weighs and costs, and which one to take."""

import io
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsbs.extraction.annotations import total_of
from dsbs.reporting.conditions import Condition
from dsbs.reporting.teachers import TeacherFacts

REQUIREMENTS = (0.99, 0.95, 0.9)  # shares of the teacher's score


@dataclass(frozen=True)
class Rung:
    """One student.

    Attributes:
        student, objective, data_fraction: what was trained on how much.
        seeds: how many.
        score, low, high: the mean test score and its 95% interval.
        parameters: of the network, or None.
        size_bytes: of the checkpoint, or None.
        train_seconds: mean over seeds.
        milliseconds: of an answer, in batches as in the evaluation, or None.
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
        """What people call it."""
        return f"{self.student}, {self.objective}, {self.data_fraction:g} of the data"


@dataclass(frozen=True)
class TeacherCosts:
    """The teacher beside its students; None: not known.

    Attributes:
        name: the teacher's.
        score: its accuracy on the split of ``split``.
        split: ``test``, or ``train``.
        usd_per_1000: dollars for 1,000 answers.
        milliseconds: of an answer, as the extraction waited for it: many at once.
    """

    name: str
    score: float | None
    split: str | None
    usd_per_1000: float | None
    milliseconds: float | None


def build_rungs(conditions: Sequence[Condition]) -> list[Rung]:
    """Return a rung for each condition, the best score first, the Pareto frontier marked."""
    rungs = []
    for condition in conditions:
        estimate = condition.estimate
        rungs.append(
            Rung(
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
    return mark_frontier(sorted(rungs, key=lambda rung: -rung.score))


def mark_frontier(rungs: Sequence[Rung]) -> list[Rung]:
    """Mark those that no other beats in both score and time; one whose time is not known is never marked."""
    marked = []
    for rung in rungs:
        mine = rung.milliseconds
        beaten = mine is None or any(
            other.milliseconds is not None
            and other.score >= rung.score
            and other.milliseconds <= mine
            and (other.score, -other.milliseconds) != (rung.score, -mine)
            for other in rungs
        )
        marked.append(Rung(**{**asdict(rung), "on_frontier": not beaten}))
    return marked


def advise(rungs: Sequence[Rung], teacher: TeacherCosts | None) -> list[str]:
    """Return which student to take at which requirement, a sentence each.

    A student meets a requirement where its mean does; where the lower end of its interval does not, the sentence says
    so.
    """
    timed = [rung for rung in rungs if rung.milliseconds is not None]
    if not timed:
        return []
    reference = teacher.score if teacher and teacher.score else None
    said = "the teacher's accuracy"
    if reference is None:
        reference, said = max(rung.score for rung in timed), "the best student's score"
    told: dict[str, list[float]] = {}
    for share in REQUIREMENTS:
        able = [rung for rung in timed if rung.score >= share * reference]
        if not able:
            told.setdefault("no student", []).append(share)
            continue
        best = min(able, key=lambda rung: (rung.milliseconds or math.inf, -rung.score))
        sure = "" if best.low >= share * reference else ", though its interval extends below"
        told.setdefault(f"{best.name}, {best.milliseconds:.2g} ms{sure}", []).append(share)
    return [
        f"At least {' or '.join(f'{100 * share:.0f}%' for share in shares)} of {said}: {name}."
        for name, shares in told.items()
    ]


def price_teacher(teachers: Sequence[TeacherFacts], summary: dict[str, Any] | None) -> TeacherCosts | None:
    """Return what is known of the teacher's price and speed, from its extraction."""
    if not teachers:
        return None
    facts = teachers[0]
    requests, usd = total_of(summary, "requests"), total_of(summary, "cost_usd")
    seconds = (summary or {}).get("seconds")
    return TeacherCosts(
        facts.name,
        facts.accuracy,
        facts.split,
        1000 * usd / requests if usd is not None and requests else None,
        1000 * seconds / requests if seconds and requests else None,
    )


def draw_frontier(rungs: Sequence[Rung], teacher: TeacherCosts | None, format: str) -> bytes:
    """Return score against time of an answer as an image; the frontier is joined."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    timed = [(rung, rung.milliseconds) for rung in rungs if rung.milliseconds]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "ladder", "font.size": 11}):
        figure = Figure(figsize=(8, 5), dpi=150, layout="constrained", facecolor="white")
        axes = figure.subplots()
        for rung, milliseconds in timed:
            colour = "#0072B2" if rung.on_frontier else "#8a8a8a"
            low, high = max(rung.score - rung.low, 0.0), max(rung.high - rung.score, 0.0)
            axes.errorbar(milliseconds, rung.score, [[low], [high]], fmt="o", color=colour, capsize=3)
            axes.annotate(
                f"{rung.student}, {rung.objective}, {rung.data_fraction:g}".replace("$", r"\$"),
                (milliseconds, rung.score),
                xytext=(6, 4),
                textcoords="offset points",
                fontsize=8,
            )
        frontier = sorted((milliseconds, rung.score) for rung, milliseconds in timed if rung.on_frontier)
        axes.plot([one for one, _ in frontier], [score for _, score in frontier], color="#0072B2", alpha=0.5)
        if teacher and teacher.score is not None:
            axes.axhline(teacher.score, color="#D55E00", linestyle="--", linewidth=1)
            axes.annotate(
                f"teacher ({teacher.name.replace('$', '')})", (0.01, teacher.score), xycoords=("axes fraction", "data")
            )
        if timed:
            axes.set_xscale("log")
        axes.set_xlabel("milliseconds per answer")
        axes.set_ylabel("test score")
        axes.spines[["top", "right"]].set_visible(False)
        buffer = io.BytesIO()
        figure.savefig(buffer, format=format)
    return buffer.getvalue()
