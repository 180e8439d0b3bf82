"""Generalized knowledge distillation on the student's own samples (Agarwal et al., 2024, arXiv 2306.13649)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dsbs.core.checks import ABOVE_0, SHARE, range_faults
from dsbs.objectives.base import Terms
from dsbs.objectives.divergences import Divergence
from dsbs.objectives.on_policy import OnPolicy, write_over

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dsbs.students.collator import Row
    from dsbs.students.model import Batch, StudentModel

OF_SAMPLES = SHARE._replace(words="from 0 (given targets alone) to 1 (samples alone)")


@dataclass
class GKD(OnPolicy):
    """L = generalized Jensen-Shannon divergence of the next token, a mean over the tokens of targets (section 3.1).

    With probability lambda a target is a new sample of the student, else the given one (in algorithm 1 for whole
    batches). There is no gradient through the sampling. Where the teacher's end says nothing, the end of a given target
    is learned by cross-entropy, and samples teach none (``LiveTeacher.hidden_end``).

    Attributes:
        own_share: the paper's lambda: 0 uses only given targets (supervised), 1 only samples.
        beta: 0 is forward KL(teacher || student), 1 is reverse KL, exactly.
        temperature: of both distributions in the divergence.
        sampling_temperature: temperature of the student's samples.
    """

    kind: str = "gkd"
    own_share: float = 0.5
    beta: float = 0.5
    temperature: float = 1.0
    sampling_temperature: float = 1.0

    def faults(self) -> list[str]:
        return [
            *super().faults(),
            *Divergence("jsd", self.beta).faults("objective"),
            *range_faults(self, OF_SAMPLES, "own_share", prefix="objective."),
            *range_faults(self, ABOVE_0, "temperature", "sampling_temperature", prefix="objective."),
        ]

    def rollout(
        self, student: "StudentModel", rows: "Sequence[Row]", draws: "Sequence[np.random.Generator]", bf16: bool
    ) -> "list[Row]":
        """Return the rows, a share of them with the student's samples as labels; see ``Objective.rollout``."""
        chosen = [place for place, draw in enumerate(draws) if draw.random() < self.own_share]
        own = [rows[place] for place in chosen]
        voice = self.voice_of_student(student, own)
        samples = self.draw([voice], [draws[place] for place in chosen], bf16, self.sampling_temperature)
        written = {place: write_over(row, ids) for place, row, ids in zip(chosen, own, samples, strict=True)}
        if self.teacher.continues:  # the end of a sample is another thing than that of a given target
            from dsbs.objectives.losses import SAMPLED

            for place, ids in zip(chosen, samples, strict=True):
                written[place] = replace(written[place], signals={"label": {SAMPLED: [1.0] * len(ids)}})
        return [written.get(place, row) for place, row in enumerate(rows)]

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return the number of tokens of labels as the count of ``divergence``."""
        return {"divergence": super().count(rows).get("label", 0.0)}

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        from dsbs.objectives.losses import mean_of_step, summed_divergence

        label = batch["targets"]["label"]
        logits = model({label["source"]: batch["inputs"][label["source"]]}, {"label": label})["label"]
        taught = self.teacher.logits(batch, ("label",))["label"]
        total, count = summed_divergence(
            Divergence("jsd", self.beta),
            taught,
            logits,
            label,
            self.temperature,
            self.teacher.hard_end,
            self.teacher.hidden_end,
        )
        return mean_of_step(total, counts["divergence"]), {"divergence": (total.detach(), count)}
