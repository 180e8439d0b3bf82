"""Which cells are compared, with what result, and what speaks against trusting it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsbs.reporting.cells import Cell, show_fraction
from dsbs.reporting.stats import BETTER, WORSE, Difference, adjust_holm, choose_verdict, compare_accuracies
from dsbs.training.settings import NO_MATTER

HEADLINE, SAME_FRACTION = "headline", "same fraction"
CANDIDATE, BASELINE = "step_by_step", "finetune"
GUESSING = 0.02  # so close to the share of the most frequent answer, an accuracy says nothing


@dataclass(frozen=True)
class Comparison:
    """A candidate against a baseline.

    Attributes:
        kind: ``headline`` (least data, step by step, against fine-tuning on everything) or ``same fraction``.
        candidate: the method whose gain is asked for.
        baseline: standard fine-tuning.
        result: candidate minus baseline, or None where they cannot be compared.
        p_adjusted: Holm's p-value among the comparisons of the same kind; that of ``result`` where it is alone.
        refusal: why they cannot be compared, or None.
    """

    kind: str
    candidate: Cell
    baseline: Cell
    result: Difference | None = None
    p_adjusted: float | None = None
    refusal: str | None = None

    @property
    def holds(self) -> bool:
        """Whether the candidate's mean accuracy over seeds is at least the baseline's: the paper's claim as worded."""
        return self.result is not None and self.result.difference > -1e-9

    @property
    def verdict(self) -> str:
        """How sure that is: ``better``, ``no difference shown`` or ``worse``, at the 5% level after Holm."""
        assert self.result is not None
        assert self.p_adjusted is not None
        return choose_verdict(self.result.difference, self.p_adjusted)

    @property
    def notes(self) -> list[str]:
        """What a reader has to know before trusting the result."""
        notes = []
        for role, cell in (("candidate", self.candidate), ("baseline", self.baseline)):
            if len(cell.runs) == 1:
                notes.append(f"the {role} has one seed, so this is about that student and not about the method")
            if cell.unconverged:
                seeds = ", ".join(map(str, cell.unconverged))
                notes.append(f"the {role} is perhaps not converged (seed {seeds})")
            if cell.majority is not None and cell.estimate.mean <= cell.majority + GUESSING:
                notes.append(
                    f"the {role} is hardly better than always giving the most frequent answer "
                    f"({100 * cell.majority:.1f}%)"
                )
        if self.candidate.labels != self.baseline.labels:
            notes.append(f"labels differ: {self.candidate.labels} against {self.baseline.labels}")
        unequal = find_unequal_training(self.candidate, self.baseline)
        if unequal:
            notes.append(f"training differs: {'; '.join(unequal)}")
        return notes


def compare_cells(cells: Sequence[Cell]) -> list[Comparison]:
    """Return the headline comparisons first, then each method against fine-tuning on the same share of the data."""
    headlines = [Comparison(HEADLINE, *pair) for pair in pair_headlines(cells)]
    others = [Comparison(SAME_FRACTION, *pair) for pair in pair_same_fraction(cells)]
    return [*_finish(headlines), *_finish(others)]


def pair_headlines(cells: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """Return step-by-step at its smallest fraction with fine-tuning on everything, student by student."""
    pairs = []
    for student in dict.fromkeys(cell.student for cell in cells):
        candidates = [cell for cell in cells if (cell.student, cell.objective) == (student, CANDIDATE)]
        smallest = min((cell.data_fraction for cell in candidates), default=1.0)
        if smallest < 1:
            for candidate in candidates:
                if candidate.data_fraction == smallest:
                    pairs += [(candidate, baseline) for baseline in find_baselines(candidate, cells, 1.0)]
    return pairs


def pair_same_fraction(cells: Sequence[Cell]) -> list[tuple[Cell, Cell]]:
    """Return each cell that is not fine-tuning with fine-tuning on the same share of the data."""
    return [
        (candidate, baseline)
        for candidate in cells
        if candidate.objective != BASELINE
        for baseline in find_baselines(candidate, cells, candidate.data_fraction)
    ]


def find_baselines(candidate: Cell, cells: Iterable[Cell], fraction: float) -> list[Cell]:
    """Return the fine-tuning cells of the candidate's student that a candidate is to be held against.

    Where some have the candidate's kind of labels, those; and where both vary the same setting, those with its value.
    On a teacher's labels, fine-tuning goes by the name of ``distill``.
    """
    baselines = {BASELINE, "distill"} if candidate.labels == "teacher" else {BASELINE}
    baselines.discard(candidate.objective)
    found = [
        cell
        for cell in cells
        if (cell.student, cell.data_fraction) == (candidate.student, fraction)
        and cell.objective in baselines
        and all(candidate.variant[key] == cell.variant[key] for key in candidate.variant.keys() & cell.variant.keys())
    ]
    alike = [cell for cell in found if cell.labels == candidate.labels]
    return alike or found


def find_unequal_training(one: Cell, other: Cell) -> list[str]:
    """Return the settings of training in which two cells differ, with both values."""
    keys = sorted(
        {key for cell in (one, other) for run in cell.runs for key in run.config if key.startswith("training.")}
    )
    unequal = []
    for key in keys:
        name = key.removeprefix("training.")
        values = [sorted({str(run.config.get(key)) for run in cell.runs}) for cell in (one, other)]
        if name not in NO_MATTER and values[0] != values[1]:
            unequal.append(f"{name} {', '.join(values[0])} against {', '.join(values[1])}")
    return unequal


def describe_cell(cell: Cell, among: Sequence[Cell]) -> str:
    """Return a cell's name with no more in it than tells it from the others."""
    extra = [cell.variant_text] if cell.variant_text else []
    if len({other.student for other in among}) > 1:
        extra.insert(0, cell.student)
    if len({other.labels for other in among}) > 1:
        extra.append(f"{cell.labels} labels")
    if cell.teacher and len({other.teacher for other in among if other.teacher}) > 1:
        extra.append(f"teacher {cell.teacher}")
    return cell.objective + (f" ({', '.join(extra)})" if extra else "")


def tell_headline(comparison: Comparison, among: Sequence[Cell]) -> str:
    """Return a headline comparison in plain words, with its numbers."""
    candidate, baseline = comparison.candidate, comparison.baseline
    sides = [
        f"{describe_cell(cell, among)} on {_share(cell)} reaches {100 * cell.estimate.mean:.1f}% ({_count_seeds(cell)})"
        for cell in (candidate, baseline)
    ]
    text = f"{sides[0]}; {sides[1]}."
    if comparison.result is None or comparison.p_adjusted is None:
        return f"{text} They cannot be compared: {comparison.refusal}."
    result = comparison.result
    interval = f"95% interval {100 * result.low:+.1f} to {100 * result.high:+.1f}, p {show_p(comparison.p_adjusted)}"
    claim = "holds" if comparison.holds else "does not hold"
    sure = {
        BETTER: "the gain is beyond what chance explains",
        WORSE: "the loss is beyond what chance explains",
    }.get(comparison.verdict, "these runs cannot tell the two apart")
    return (
        f"{text} Difference {100 * result.difference:+.1f} points ({interval}). "
        f"The claim that the first is at least as accurate on the mean over seeds {claim} here; {sure}."
    )


def show_p(p_value: float) -> str:
    """Return a p-value with its sign.

    >>> show_p(0.0304), show_p(1e-9)
    ('= 0.03', '< 0.001')
    """
    return "< 0.001" if p_value < 0.001 else f"= {p_value:.2g}"


def explain_no_headline(cells: Sequence[Cell]) -> str:
    """Return what is missing for the main claim to be checked, and the commands that make it."""
    task = cells[0].runs[0].metrics["task"]
    lacks = []
    if not any(cell.objective == CANDIDATE and cell.data_fraction < 1 for cell in cells):
        lacks.append(f"python -m dsbs.train task={task} objective={CANDIDATE} data_fraction=1/8")
    if not any(cell.objective == BASELINE and cell.data_fraction == 1 for cell in cells):
        lacks.append(f"python -m dsbs.train task={task} objective={BASELINE} data_fraction=1")
    missing = f" Missing: {' and '.join(f'`{line}`' for line in lacks)}." if lacks else " The students differ."
    return (
        f"The main claim (step by step on less data against fine-tuning on all of it) cannot be checked yet.{missing}"
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Return what ``report.json`` says about a comparison that was made."""
    result = comparison.result
    assert result is not None
    return {
        "baseline": comparison.baseline.id,
        "candidate": comparison.candidate.id,
        "difference": result.difference,
        "ci_low": result.low,
        "ci_high": result.high,
        "p_value": result.p_value,
        "holds": comparison.holds,
        "kind": comparison.kind,
        "p_adjusted": comparison.p_adjusted,
        "verdict": comparison.verdict,
        "notes": comparison.notes,
    }


def _finish(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """Compute a family of comparisons, and adjust its p-values for their number."""
    computed = [_compute(comparison) for comparison in comparisons]
    p_values = [comparison.result.p_value for comparison in computed if comparison.result]
    adjusted = iter(adjust_holm(p_values))
    return [replace(item, p_adjusted=next(adjusted)) if item.result else item for item in computed]


def _compute(comparison: Comparison) -> Comparison:
    candidate, baseline = comparison.candidate, comparison.baseline
    for role, cell in (("candidate", candidate), ("baseline", baseline)):
        if cell.fault:
            return replace(comparison, refusal=f"{role}: {cell.fault}")
    if candidate.test_set != baseline.test_set:
        return replace(comparison, refusal="they were tested on different examples")
    try:
        return replace(comparison, result=compare_accuracies(candidate.correct(), baseline.correct()))
    except ValueError as error:
        return replace(comparison, refusal=str(error))


def _share(cell: Cell) -> str:
    examples = cell.mean("train_examples")
    count = "" if examples is None else f" ({examples:,.0f} examples)"
    return f"{show_fraction(cell.data_fraction)} of the data{count}"


def _count_seeds(cell: Cell) -> str:
    return f"{len(cell.runs)} seed{'s' if len(cell.runs) > 1 else ''}"
