"""Agreement of an export with its checkpoint."""

from collections.abc import Sequence
from dataclasses import dataclass

from dsbs.core.records import Prediction
from dsbs.inference.metrics import score
from dsbs.tasks.base import Task


@dataclass(frozen=True)
class Parity:
    """A checkpoint and its export compared on the same examples.

    Attributes:
        agreement: share of examples with the same answer from both.
        metric: the metric of the next two.
        before, after: the score of the checkpoint and of the export; None without gold answers.
        largest_difference: maximum difference of the log-probability of an answer that both gave, in nats; or None.
    """

    examples: int
    agreement: float
    metric: str
    before: float | None
    after: float | None
    largest_difference: float | None


def compare(task: Task, checkpoint: Sequence[Prediction], export: Sequence[Prediction]) -> Parity:
    """Return how the answers of a checkpoint and of its export agree.

    Args:
        checkpoint, export: their predictions for the same examples, in the same order.
    """
    pairs = list(zip(checkpoint, export, strict=True))
    same = [(one, two) for one, two in pairs if agree(task, one, two)]
    differences = [abs(one.score - two.score) for one, two in same if one.score is not None and two.score is not None]
    return Parity(
        len(pairs),
        len(same) / len(pairs),
        task.metric,
        score(task, checkpoint).value,
        score(task, export).value,
        max(differences, default=None),
    )


def agree(task: Task, one: Prediction, two: Prediction) -> bool:
    """Return whether two predictions give equivalent answers; no answer agrees with no answer."""
    if one.label is None or two.label is None:
        return one.label is two.label
    return one.label == two.label or task.answers.equivalent(two.label, one.label)
