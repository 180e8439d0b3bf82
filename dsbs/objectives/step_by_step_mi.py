"""Step by step, with the two tasks drawn together: mutual information of label and rationale (arXiv 2403.03348)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsbs.objectives.base import Terms
from dsbs.objectives.step_by_step import StepByStep

if TYPE_CHECKING:
    import torch

    from dsbs.students.collator import Row
    from dsbs.students.model import Batch

LEAST = 1e-30  # a probability; its logarithm is still a number


@dataclass
class StepByStepMI(StepByStep):
    """L = alpha * L_label + (1 - alpha) * L_rationale + mi_weight * L_mi (Chen et al., 2024, section 3.3).

    L_mi is the cross-entropy between what both tasks say at most of each token of the vocabulary: the maxima over a
    target's positions, made a distribution again. It draws the rationale's towards the label's, which stays as it is.
    It is a mean over the examples that have both. (In the authors' code the maxima run over padding, too, and pass
    through a second softmax, so that every distribution is nearly uniform; here neither is so.)

    Attributes:
        mi_weight: weight of L_mi.
    """

    kind: str = "step_by_step_mi"
    mi_weight: float = 0.1

    @property
    def shares(self) -> Mapping[str, float]:
        """Those of step by step, and the factor of the third term."""
        return {**super().shares, "mi": self.mi_weight}

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = super().faults()
        if not self.mi_weight >= 0:
            faults.append(f"objective.mi_weight={self.mi_weight}: expected 0 (step by step) or more.")
        return faults

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return the tokens of labels and rationales, and the examples that have both."""
        both = sum({"label", "rationale"} <= {kind for kind, *_ in row.targets} for row in rows)
        return {**super().count(rows), "mi": float(both)}

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        """Return the loss of a batch and its terms ``label``, ``rationale`` and ``mi``."""
        from dsbs.objectives.losses import mean_of_step

        logits = model(batch["inputs"], batch["targets"])
        loss, terms = super().loss(lambda *_: logits, batch, counts)
        if not {"label", "rationale"} <= logits.keys():
            return loss, terms
        total, count = summed_mutual_information(logits, batch["targets"])
        share = self.shares["mi"] * mean_of_step(total, counts["mi"])
        return loss + share, {**terms, "mi": (total.detach(), count)}


def summed_mutual_information(
    logits: "dict[str, torch.Tensor]", targets: "dict[str, Any]"
) -> "tuple[torch.Tensor, torch.Tensor]":
    """Return the sum of L_mi over the examples that have a label and a rationale, and how many these are.

    Args:
        logits: ``label`` and ``rationale``: [R, T, V].
        targets: the same kinds, as the collator made them: one of each an example at most.
    """
    import torch

    label, rationale = targets["label"], targets["rationale"]
    # Both are in the order of the examples, and every example with a rationale has a label.
    rows = torch.searchsorted(label["examples"], rationale["examples"]).clamp(max=len(label["examples"]) - 1)
    paired = label["examples"][rows].eq(rationale["examples"]) & rationale["weights"].ne(0)
    with torch.no_grad():
        wanted = pool(logits["label"], label["labels"])[rows]
    found = pool(logits["rationale"], rationale["labels"])
    each = -(wanted * found.clamp(min=LEAST).log()).sum(1)
    return (each * paired).sum(), paired.sum()


def pool(logits: "torch.Tensor", labels: "torch.Tensor") -> "torch.Tensor":
    """Return the largest probability of each token over a target's positions, as a distribution [R, V] in float32.

    Args:
        logits: [R, T, V].
        labels: [R, T], ``IGNORED`` where there is no token of the target.
    """
    from dsbs.students.tensors import IGNORED

    known = labels.ne(IGNORED).unsqueeze(2)
    largest = (logits.float().softmax(-1) * known).amax(1)
    return largest / largest.sum(1, keepdim=True).clamp(min=LEAST)
