"""Texts of conditions, comparisons and figures, shared by figure, page and terminal."""

import shlex
from collections.abc import Sequence

from dsbs.core.units import pluralize, show_fraction
from dsbs.extraction.prompts import WHOLE
from dsbs.inference.metrics import show_score
from dsbs.reporting.claims import (
    BETTER,
    NOT_SHOWN,
    ONE_STUDENT,
    POWER,
    SHOWN,
    SHOWN_WORSE,
    UNDECIDED,
    WORSE,
    Remedy,
)
from dsbs.reporting.commands import can_learn, complete_command
from dsbs.reporting.comparisons import HEADLINE, Comparison
from dsbs.reporting.conditions import Condition
from dsbs.reporting.effort import count_labels
from dsbs.reporting.savings import Saving
from dsbs.reporting.settings import ReportSettings
from dsbs.tasks.base import ACCURACY


def show_share(fraction: float) -> str:
    """Return an interpolated share of the data as a percentage, 1 as ``all``."""
    return "all" if fraction == 1 else f"{100 * fraction:.3g}%"


def show_interval(metric: str, low: float, high: float) -> str:
    """Return the interval of a score as text: ``79.5 to 84.3``, of an accuracy in percent."""
    return f"{100 * low:.1f} to {100 * high:.1f}" if metric == ACCURACY else f"{low:.3f} to {high:.3f}"


def show_points(margin: float) -> str:
    """Return a margin in points.

    >>> show_points(0.02), show_points(0.01)
    ('2 points', '1 point')
    """
    points = f"{100 * margin:g}"
    return f"{points} point" if points == "1" else f"{points} points"


def show_p(p_value: float) -> str:
    """Return a p-value with ``=`` or ``<``.

    >>> show_p(0.0304), show_p(1e-9)
    ('= 0.03', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def describe_condition(condition: Condition, among: Sequence[Condition], *, student: bool = True) -> str:
    """Return the shortest name that tells a condition from others.

    Args:
        student: whether to name the student where it varies.
    """
    extra = [condition.variant_text] if condition.variant_text else []
    if condition.control:
        extra.insert(0, show_control(condition.control))
    if student and len({other.student for other in among}) > 1:
        extra.insert(0, condition.student)
    if len({other.labels for other in among}) > 1:
        extra.append(f"{condition.labels} labels")
    if condition.teacher and len({other.teacher for other in among if other.teacher}) > 1:
        extra.append(f"teacher {condition.teacher}")
    return condition.objective + (f" ({', '.join(extra)})" if extra else "")


def show_control(title: str) -> str:
    """Return a control's title without parentheses.

    >>> show_control("teacher_noise(rate=0.4)"), show_control("shuffled")
    ('teacher_noise rate=0.4', 'shuffled')
    """
    return title.replace("(", " ").removesuffix(")")


def describe_comparison(comparison: Comparison, among: Sequence[Condition]) -> str:
    """Return a comparison in words, with its figures."""
    sides = [
        f"{describe_condition(condition, among)} on {_share(condition)} reaches "
        f"{show_score(condition.metric, condition.estimate.mean)} ({count_seeds(condition)})"
        for condition in (comparison.candidate, comparison.baseline)
    ]
    text = f"{sides[0]}; {sides[1]}."
    if comparison.result is None:
        return f"{text} They cannot be compared: {comparison.refusal}."
    low, high = comparison.interval
    p_value = show_p(comparison.p_adjusted)
    unit = "" if comparison.candidate.metric == ACCURACY else f"hundredths of {comparison.candidate.metric}; "
    text += f" Difference {100 * comparison.result.difference:+.1f} points"
    text += f" ({unit}95% interval {100 * low:+.1f} to {100 * high:+.1f}"
    text += "). " if comparison.one_seed else f", p {p_value}). "
    return text + describe_claim(comparison)


def describe_claim(comparison: Comparison) -> str:
    """Return what a comparison shows, and what would settle it, in a sentence or two."""
    points = show_points(comparison.margin)
    if comparison.claim == ONE_STUDENT:
        both = len(comparison.candidate.runs) == len(comparison.baseline.runs)
        sides, whom = ("Both sides have", "these two students") if both else ("One side has", "this student")
        return (
            f"{sides} a single seed, so this is about {whom} only: the interval does not cover other seeds. Run three "
            "seeds or more on both sides."
        )
    claim = {
        SHOWN: f"Non-inferiority (at most {points} worse) is shown",
        NOT_SHOWN: f"Non-inferiority (at most {points} worse) is not shown",
        SHOWN_WORSE: f"It is shown to be worse by more than {points}",
    }[comparison.claim]
    p_value = comparison.p_beyond if comparison.claim == SHOWN_WORSE else comparison.p_noninferior
    beside = {
        BETTER: "; it is better, too",
        WORSE: "; it is worse, though" if comparison.claim == SHOWN else "; it is worse",
        UNDECIDED: "; neither is shown to be better",
    }[comparison.verdict]
    if comparison.claim == SHOWN_WORSE:
        beside = ""
    text = f"{claim} (one-sided p {show_p(p_value)}){beside}."
    if comparison.claim == NOT_SHOWN and comparison.remedy:
        text += f" {describe_remedy(comparison.remedy, comparison)}"
    return text


def describe_remedy(remedy: Remedy, comparison: Comparison) -> str:
    """Return what would settle a claim, in a sentence."""
    chance = f"{100 * POWER:.0f}%"
    if remedy.seeds:
        worse = comparison.result is not None and comparison.result.difference < -comparison.margin
        what = f"show that it is worse by more than {show_points(comparison.margin)}" if worse else "show it"
        return (
            f"If the true difference is the one seen, about {remedy.seeds} seeds on either side would {what} "
            f"({chance} power)."
        )
    if remedy.test_examples:
        assert comparison.result is not None
        return (
            "More seeds alone would not settle it: if the true difference is the one seen, about "
            f"{float(f'{remedy.test_examples:.2g}'):,.0f} test examples are needed, and there are "
            f"{comparison.result.spread.test_examples:,}."
        )
    return "The difference is so close to the margin that even 100 seeds would not settle it."


def describe_saving(saving: Saving, among: Sequence[Condition]) -> str:
    """Return in words on how much of the data, and how many labels, a candidate reaches the baseline's score."""
    candidate, metric = describe_condition(saving.candidate[0], among), saving.baseline.metric
    baseline, score = describe_condition(saving.baseline, among), show_score(metric, saving.target)
    target = f"what {baseline} reaches on all data ({score})"
    first, last = (show_fraction(saving.candidate[position].data_fraction) for position in (0, -1))
    if saving.fraction is None:
        run = (
            f"{first}, the only share that was run" if first == last else f"any share that was run ({first} to {last})"
        )
        return f"{candidate} does not reach {target} on {run}."
    at_most = "at most " if saving.bound else ""
    text = f"{candidate} reaches {target} on {at_most}{show_share(saving.fraction)} of the data"
    text += f" (95% bootstrap interval: {show_ends(saving.low, saving.high, saving.candidate[0].data_fraction)})."
    training, all_labels = saving.training_labels(saving.fraction), saving.all_labels(saving.fraction)
    full = count_labels(saving.baseline)
    if training is not None and all_labels is not None and full:
        text += (
            f" That is {at_most}{training:,.0f} of {full.training:,.0f} training labels, and {at_most}"
            f"{all_labels:,.0f} of {full.total:,.0f} with those for selection."
        )
    if saving.one_seed:
        return f"{text} A condition has a single seed, so the interval is too narrow, and nothing is shown."
    if saving.shown:
        return text
    if saving.high is not None and saving.high < 1:
        return f"{text} Where it ends, at most the margin worse is not shown, so no saving is shown."
    return f"{text} The interval includes all of the data, so no saving is shown."


def show_ends(low: float | None, high: float | None, first: float) -> str:
    """Return the interval of a share of the data as text.

    Args:
        low: its lower end; None: at most ``first``.
        high: its upper end; None: not reached.
        first: the smallest share that was run.

    >>> show_ends(0.1, 0.4, 0.0625), show_ends(None, None, 0.0625), show_ends(None, 0.0625, 0.0625)
    ('10% to 40%', '6.25% or less to not reached', '6.25% or less')
    """
    start = f"{show_share(first)} or less" if low is None else show_share(low)
    if low is None and high == first:
        return start
    return f"{start} to {'not reached' if high is None else show_share(high)}"


def explain_no_headline(conditions: Sequence[Condition], settings: ReportSettings) -> str:
    """Return which runs are missing to check the main claim, with their commands."""
    share = settings.share
    candidates = " or ".join(settings.candidates)
    sides = (settings.candidates[0], settings.baseline)
    # Runs of a student that learns one side alone, as logreg does, leave the claim about the others open.
    of_both = [one for one in conditions if all(can_learn(one, objective) for objective in sides)] or conditions
    wanted = [
        (settings.candidates[0], share or 0.125, _has(of_both, settings.candidates, share, below=1.0)),
        (settings.baseline, 1.0, _has(of_both, [settings.baseline], 1.0)),
    ]
    if share == 1:
        return "With fraction=1 there is no claim about less data; on all of it methods are compared at equal labels."
    claim = f"The main claim ({candidates} on less data against {settings.baseline} on all of it) cannot be checked"
    lacks = []
    for objective, fraction, found in wanted:
        if found:
            continue
        able = [condition for condition in of_both if can_learn(condition, objective)]
        if not able:
            students = ", ".join(sorted({condition.student for condition in conditions}))
            whole = any(condition.runs[0].config.get("prompt.answer_format") == WHOLE for condition in conditions)
            why = " on answers without rationales (prompt=whole)" if whole else ""
            return f"{claim}: {students} cannot be trained with {objective}{why}. candidates=[...] names others."
        shown = show_fraction(fraction)
        lacks.append(shlex.join(complete_command(able, objective, shown if "/" in shown else f"{fraction:g}")))
    if not lacks:
        return f"{claim} yet. Their students, data or settings differ."
    return f"{claim} yet. Missing: {' and '.join(f'`{line}`' for line in lacks)}."


def describe_headlines(
    conditions: Sequence[Condition], comparisons: Sequence[Comparison], settings: ReportSettings
) -> list[str]:
    """Return a text for each headline comparison, or one that says what is missing for it."""
    if not conditions:
        return ["No run has read its test split yet."]
    headlines = [describe_comparison(item, conditions) for item in comparisons if item.kind == HEADLINE]
    return headlines or [explain_no_headline(conditions, settings)]


def count_seeds(condition: Condition) -> str:
    """Return the number of seeds as text: ``3 seeds``."""
    return pluralize(len(condition.runs), "seed")


def _has(
    conditions: Sequence[Condition], objectives: Sequence[str], fraction: float | None, below: float | None = None
) -> bool:
    return any(
        condition.objective in objectives
        and not condition.control
        and (condition.data_fraction == fraction if fraction else below is None or condition.data_fraction < below)
        for condition in conditions
    )


def _share(condition: Condition) -> str:
    examples = condition.mean("train_examples")
    count = "" if examples is None else f" ({examples:,.0f} examples)"
    return f"{show_fraction(condition.data_fraction)} of the data{count}"
