"""Detect a diverged training: its loss is NaN or infinite, or rises and stays high."""

import math
from collections.abc import Sequence

import torch

from dsbs.core.errors import RunError

NEVER = 2**62  # later than any step
WINDOW = 50  # steps of a mean loss; single losses are too noisy


class DivergenceMonitor:
    """Watches the losses of a training without synchronizing with the device."""

    def __init__(self, device: torch.device, learning_rate: float, logging_steps: float) -> None:
        self.learning_rate = learning_rate
        self.window = math.ceil(WINDOW / logging_steps)
        self.bad_step = torch.tensor(NEVER, device=device)  # the first step whose loss was NaN or infinite

    def update(self, loss: torch.Tensor, step: int) -> None:
        """Record the step if it is the first with a loss that is not finite."""
        here = torch.full_like(self.bad_step, step)
        self.bad_step = torch.where(loss.detach().isfinite(), self.bad_step, torch.minimum(self.bad_step, here))

    def check(self, losses: Sequence[float], bad_step: int, step: int) -> None:
        """Check the losses logged so far.

        Args:
            losses: of the whole training, the last one at ``step``.
            bad_step: first step of any process with a loss that is not finite, or ``NEVER``.

        Raises:
            RunError: the training has diverged.
        """
        if bad_step != NEVER or not math.isfinite(losses[-1]):
            raise self.diverged("The loss is NaN or infinite", min(bad_step, step))
        means = mean_losses(losses, self.window)
        if is_diverging(means):
            course = f"it began with {means[0]:.3g}, has been {min(means):.3g}, and is {means[-1]:.3g}"
            raise self.diverged(f"The loss diverges: {course}", step)

    def diverged(self, symptom: str, step: int) -> RunError:
        """Return the error of a diverged training, with its symptom, the step and likely causes."""
        return RunError(
            f"{symptom} at step {step}. Likely causes: a learning rate that is too high "
            f"(training.learning_rate={self.learning_rate}; try a third of it), too few warm-up steps, or "
            "corrupt inputs. The best checkpoint so far is kept."
        )


def mean_losses(losses: Sequence[float], size: int) -> list[float]:
    """Return the means of consecutive groups of ``size`` losses; an incomplete last group is left out.

    >>> mean_losses([1.0, 3.0, 5.0, 7.0, 9.0], size=2)
    [2.0, 6.0]
    """
    return [sum(losses[end - size : end]) / size for end in range(size, len(losses) + 1, size)]


def is_diverging(losses: Sequence[float]) -> bool:
    """Return whether mean losses, in nats, show divergence.

    That is when the last two exceed the first, twice the lowest, and 1 nat.

    >>> is_diverging([6.0, 2.5, 1.8, 6.9, 7.2])
    True
    >>> is_diverging([6.0, 2.5, 1.8, 6.9])  # a single high one may be noise
    False
    >>> is_diverging([0.02, 0.01, 0.05, 0.06])  # small losses may double
    False
    """
    return len(losses) > 2 and min(losses[-2:]) > max(losses[0], 2 * min(losses), 1.0)
