"""What speaks against trusting a result."""

from dsbs.reporting.answers import ACCURACY
from dsbs.reporting.comparisons import Comparison, unequal_settings
from dsbs.reporting.conditions import Condition

GUESSING = 0.02  # so close to the share of the most frequent answer, an accuracy says nothing
ONE_SEED = "has one seed: the result is about that student and not about the method"


def note_condition(condition: Condition) -> list[str]:
    """Return the caveats of a condition, each as what follows its name: ``has one seed: ...``."""
    notes = []
    if len(condition.runs) == 1:
        notes.append(ONE_SEED)
    if condition.unconverged:
        seeds = ", ".join(map(str, condition.unconverged))
        plural = "s" if len(condition.unconverged) > 1 else ""
        notes.append(f"is perhaps not converged: the best checkpoint is the last (seed{plural} {seeds})")
    guess = condition.majority if condition.metric == ACCURACY else None
    if guess is not None and condition.estimate.mean <= guess + GUESSING:
        notes.append(f"is hardly better than always giving the most frequent answer ({100 * guess:.1f}%)")
    return notes


def note_comparison(comparison: Comparison) -> list[str]:
    """Return the caveats of a comparison beyond those of its two sides."""
    candidate, baseline = comparison.candidate, comparison.baseline
    notes = []
    if candidate.labels != baseline.labels:
        notes.append(f"labels differ: {candidate.labels} against {baseline.labels}")
    if unequal := unequal_settings(comparison):
        notes.append(f"settings differ: {'; '.join(unequal)}")
    return notes


def all_notes(comparison: Comparison) -> list[str]:
    """Return all caveats of a comparison as sentences of their own."""
    sides = (("candidate", comparison.candidate), ("baseline", comparison.baseline))
    return [
        *(f"the {role} {note}" for role, condition in sides for note in note_condition(condition)),
        *note_comparison(comparison),
    ]
