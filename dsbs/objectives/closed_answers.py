"""The closed answers of examples as distributions: the student's scores of them, and the teacher's probabilities."""

from dataclasses import dataclass

import torch

from dsbs.objectives.divergences import FLOOR, soften


@dataclass(frozen=True)
class AnswerTable:
    """Answers by example, E examples with up to K answers; what is missing has the log-probability ``FLOOR``.

    Attributes:
        scores: the student's log-probabilities of the answers as texts [E, K], with gradients.
        log_probabilities: the teacher's [E, K].
        given: [E], 1.0 where there is a distribution of the teacher's over several answers, else 0.0.
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
    """Put R answers into a table.

    Args:
        scores: [R], log-probabilities of the answers as texts.
        probabilities: [R], the teacher's.
        examples: [R], the number of the example that an answer belongs to; equal ones stand together.
    """
    _, groups, sizes = examples.unique_consecutive(return_inverse=True, return_counts=True)
    places = torch.arange(len(examples), device=examples.device) - (sizes.cumsum(0) - sizes)[groups]
    shape = (len(sizes), int(sizes.max()))
    table = scores.new_full(shape, FLOOR).index_put((groups, places), scores)
    teacher = scores.new_zeros(shape).index_put((groups, places), probabilities.to(scores.dtype))
    given = (sizes > 1) & (teacher.sum(1) > 0)
    return AnswerTable(table, teacher.log().clamp(min=FLOOR), given.to(scores.dtype), places.eq(0).to(scores.dtype))
