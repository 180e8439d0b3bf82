"""Distilling step by step: label and rationale as two tasks of one student (paper, section 3.2, equation 4)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from dsbs.core.checks import SHARE, range_faults
from dsbs.core.records import Annotation, Example, Target
from dsbs.objectives.base import Objective

OF_LABELS = SHARE._replace(words="from 0 (rationales alone) to 1 (labels alone)")


@dataclass
class StepByStep(Objective):
    """L = alpha * L_label + (1 - alpha) * L_rationale.

    Attributes:
        alpha: weight of the label's loss; the paper's lambda is (1 - alpha) / alpha.
    """

    rationale_apart = True  # the second task (section 3.2)

    kind: str = "step_by_step"
    alpha: float = 0.5

    output: ClassVar[str] = "It writes the label alone; asked for a rationale, it writes that alone."

    def faults(self) -> list[str]:
        return super().faults() + range_faults(self, OF_LABELS, "alpha", prefix="objective.")

    @property
    def shares(self) -> Mapping[str, float]:
        """``alpha`` for labels, ``1 - alpha`` for rationales."""
        return {"label": self.alpha, "rationale": 1 - self.alpha}

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return the label, and the rationale where there is one.

        >>> targets = StepByStep().targets(Example("1", "Is fire cold?", "no"), Annotation("1", "no", "Fire is hot."))
        >>> [(target.kind, target.text) for target in targets]
        [('label', 'no'), ('rationale', 'Fire is hot.')]
        """
        assert example.label is not None
        targets = [Target("label", example.label)]
        if annotation is not None and annotation.rationale:
            targets.append(Target("rationale", annotation.rationale))
        return targets
