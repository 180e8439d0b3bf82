"""Caveats of conditions and comparisons."""

from dataclasses import dataclass

from dsbs.reporting.comparisons import Comparison, unequal_settings
from dsbs.reporting.conditions import Condition
from dsbs.reporting.variants import is_within
from dsbs.tasks.base import ACCURACY

# An accuracy at most this far above the majority class is noted, or half of the way from there to 100% if that is less.
GUESSING = 0.02


@dataclass(frozen=True)
class Note:
    """A caveat.

    Attributes:
        text: the same for all conditions to which it applies.
        detail: of this case, or empty.
    """

    text: str
    detail: str = ""

    def __str__(self) -> str:
        return f"{self.text} ({self.detail})" if self.detail else self.text


ONE_SEED = Note("one seed: the result is about that student, not the method")
ONE_EXAMPLE = Note("one test example: the interval covers no others")
NOT_COMPARED = "in no comparison, as its answers are not known or not to the same examples"
UNCONVERGED = "perhaps not converged: the best checkpoint of a seed is its last"
NOTED = "noted by the training"  # lost data, labels without examples, answers that could not be read
GUESSES = "not clearly better than the majority class"
CHOSEN = Note("one of several settings measured on test: choose between them on validation (test=false)")
TUNED = ("objective", "student", "training")  # settings that are chosen


def note_condition(condition: Condition) -> list[Note]:
    """Return the caveats of a condition."""
    notes = [ONE_SEED] if len(condition.runs) == 1 else []
    if condition.fault:
        notes.append(Note(NOT_COMPARED, condition.fault))
    elif condition.scores().shape[1] == 1:
        notes.append(ONE_EXAMPLE)
    if any(is_within(key, TUNED) for key in condition.settings):
        notes.append(CHOSEN)
    if condition.unconverged:
        plural = "s" if len(condition.unconverged) > 1 else ""
        notes.append(Note(UNCONVERGED, f"seed{plural} {', '.join(map(str, condition.unconverged))}"))
    noted = dict.fromkeys(str(note) for run in condition.runs for note in run.metrics.get("notes") or ())
    notes += [Note(NOTED, note) for note in noted]
    guess = condition.majority if condition.metric == ACCURACY else None
    if guess is not None and condition.estimate.mean <= guess + min(GUESSING, (1 - guess) / 2):
        notes.append(Note(GUESSES, f"{100 * guess:.1f}%"))
    return notes


def note_comparison(comparison: Comparison) -> list[Note]:
    """Return the caveats of a comparison, without those of its two sides."""
    candidate, baseline = comparison.candidate, comparison.baseline
    notes = []
    if candidate.labels != baseline.labels:
        notes.append(Note("labels differ", f"{candidate.labels} against {baseline.labels}"))
    if unequal := unequal_settings(comparison):
        notes.append(Note("settings differ", "; ".join(unequal)))
    return notes


def all_notes(comparison: Comparison) -> list[str]:
    """Return all caveats of a comparison; those of a side are prefixed by it."""
    sides = (("candidate", comparison.candidate), ("baseline", comparison.baseline))
    return [
        *(f"{role}: {note}" for role, condition in sides for note in note_condition(condition)),
        *map(str, note_comparison(comparison)),
    ]
