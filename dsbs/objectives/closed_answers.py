"""Distributions over the closed answers of examples: the student's scores and the teacher's probabilities."""

from dataclasses import dataclass

import torch

from dsbs.objectives.divergences import FLOOR, soften


@dataclass(frozen=True)
class AnswerTable:
    """The answers of E examples, up to K each; missing ones have the log-probability ``FLOOR``.

    Attributes:
        scores: the student's log-probabilities of the answers as texts [E, K], with gradients.
        log_probabilities: the teacher's log-probabilities [E, K].
        given: [E], 1.0 where the teacher gives a distribution over several answers, else 0.0.
        first: [R], 1.0 for the first answer of each example, else 0.0.
    """

    scores: torch.Tensor
    log_probabilities: torch.Tensor
    given: torch.Tensor
    first: torch.Tensor

    def teacher(self, temperature: float) -> torch.Tensor:
        """Return the teacher's log-probabilities [E, K] at a temperature."""
        return soften(self.log_probabilities, temperature)

    def student(self, temperature: float) -> torch.Tensor:
        """Return the student's log-probabilities among the answers [E, K] at a temperature."""
        return soften(self.scores, temperature)


def group_answers(scores: torch.Tensor, probabilities: torch.Tensor, examples: torch.Tensor) -> AnswerTable:
    """Return R answers as a table by example.

    Args:
        scores: the student's log-probabilities of the answers as texts [R].
        probabilities: the teacher's probabilities [R].
        examples: the number of the example of each answer [R]; equal numbers are adjacent.
    """
    _, groups, sizes = examples.unique_consecutive(return_inverse=True, return_counts=True)
    places = torch.arange(len(examples), device=examples.device) - (sizes.cumsum(0) - sizes)[groups]
    shape = (len(sizes), int(sizes.max()))
    table = scores.new_full(shape, FLOOR).index_put((groups, places), scores)
    teacher = scores.new_zeros(shape).index_put((groups, places), probabilities.to(scores.dtype))
    given = (sizes > 1) & (teacher.sum(1) > 0)
    return AnswerTable(table, teacher.log().clamp(min=FLOOR), given.to(scores.dtype), places.eq(0).to(scores.dtype))
