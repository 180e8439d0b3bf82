"""Step by step with a term for the mutual information of label and rationale (Chen et al., 2024, arXiv 2403.03348)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsbs.core.checks import NOT_NEGATIVE, range_faults
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

    L_mi is the cross-entropy between two distributions over the vocabulary: of each token's maximum probability over
    the positions of the label, and over those of the rationale, normalized. It moves the rationale's towards the
    label's, which has no gradient. It is a mean over the examples that have both. (In the authors' code the maxima run
    over padding, too, and pass through a second softmax, so that every distribution is nearly uniform; here not.)

    Attributes:
        mi_weight: weight of L_mi.
    """

    kind: str = "step_by_step_mi"
    mi_weight: float = 0.1

    @property
    def shares(self) -> Mapping[str, float]:
        """Those of ``step_by_step``, and ``mi_weight`` for ``mi``."""
        return {**super().shares, "mi": self.mi_weight}

    def faults(self) -> list[str]:
        return super().faults() + range_faults(self, NOT_NEGATIVE, "mi_weight", prefix="objective.")

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return the numbers of tokens of labels and rationales, and of the examples that have both (``mi``)."""
        both = sum({"label", "rationale"} <= {kind for kind, *_ in row.targets} for row in rows)
        return {**super().count(rows), "mi": float(both)}

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
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
    """Return the sum of L_mi over the examples that have a label and a rationale, and their number.

    Args:
        logits: ``label`` and ``rationale``: [R, T, V].
        targets: the same kinds, as the collator returns them; at most one of each per example.
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
    """Return the maximum probability of each token over a target's positions, normalized [R, V], in float32.

    Args:
        logits: [R, T, V].
        labels: [R, T], ``IGNORED`` at padding.
    """
    from dsbs.students.tensors import IGNORED

    known = labels.ne(IGNORED).unsqueeze(2)
    largest = (logits.float().softmax(-1) * known).amax(1)
    return largest / largest.sum(1, keepdim=True).clamp(min=LEAST)
