"""Whether a training is lost: its loss is NaN or infinite, or goes up for good."""

import math
from collections.abc import Sequence

import torch

from dsbs.core.errors import RunError

NEVER = 2**62  # no step is that late
WINDOW = 50  # steps whose mean loss tells whether a training diverges; single ones say little


class LossWatch:
    """Looks at every loss of a training without waiting for the device.

    Args:
        device: where losses are.
        learning_rate: what is named first among the likely causes.
        logging_steps: steps between two losses that are logged.
    """

    def __init__(self, device: torch.device, learning_rate: float, logging_steps: float) -> None:
        self.learning_rate = learning_rate
        self.window = math.ceil(WINDOW / logging_steps)
        self.spoilt = torch.tensor(NEVER, device=device)  # the first step whose loss was NaN or infinite

    def see(self, loss: torch.Tensor, step: int) -> None:
        """Remember the step if it is the first whose loss is no finite number."""
        here = torch.full_like(self.spoilt, step)
        self.spoilt = torch.where(loss.detach().isfinite(), self.spoilt, torch.minimum(self.spoilt, here))

    def check(self, losses: Sequence[float], spoilt: int, step: int) -> None:
        """Check the losses that were logged so far.

        Args:
            losses: of the whole training, the last one at ``step``.
            spoilt: the first of the spoilt steps of all processes.
            step: which one it is.

        Raises:
            RunError: where the training is lost.
        """
        if spoilt != NEVER or not math.isfinite(losses[-1]):
            raise self.diverged("The loss is NaN or infinite", min(spoilt, step))
        means = mean_losses(losses, self.window)
        if is_diverging(means):
            course = f"it began with {means[0]:.3g}, has been {min(means):.3g}, and is {means[-1]:.3g}"
            raise self.diverged(f"The loss diverges: {course}", step)

    def diverged(self, sign: str, step: int) -> RunError:
        """Return the error of a training that is lost, by a sign that was seen at a step."""
        return RunError(
            f"{sign} at step {step}. Likely causes: a learning rate that is too high "
            f"(training.learning_rate={self.learning_rate}; try a third of it), too few warm-up steps, or "
            "corrupt inputs. The best checkpoint so far is kept."
        )


def mean_losses(losses: Sequence[float], size: int) -> list[float]:
    """Return the means of so many losses each; those behind the last whole group do not count yet.

    >>> mean_losses([1.0, 3.0, 5.0, 7.0, 9.0], size=2)
    [2.0, 6.0]
    """
    return [sum(losses[end - size : end]) / size for end in range(size, len(losses) + 1, size)]


def is_diverging(losses: Sequence[float]) -> bool:
    """Return whether the last two of some mean losses, in nats, say that a training is lost.

    Both are above the first one, twice the lowest one, and a nat: a student that knows less than it began with.

    >>> is_diverging([6.0, 2.5, 1.8, 6.9, 7.2])
    True
    >>> is_diverging([6.0, 2.5, 1.8, 6.9])  # a single one may be chance
    False
    >>> is_diverging([0.02, 0.01, 0.05, 0.06])  # little of little
    False
    """
    return len(losses) > 2 and min(losses[-2:]) > max(losses[0], 2 * min(losses), 1.0)
