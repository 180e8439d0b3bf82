"""MiniLLM: reverse KL by policy gradient on the student's samples (Gu et al., 2024, arXiv 2306.08543)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from dsbs.core.checks import ABOVE_0, NOT_NEGATIVE, SHARE_BELOW_1, range_faults
from dsbs.objectives.base import Terms
from dsbs.objectives.divergences import Divergence, soften
from dsbs.objectives.on_policy import OnPolicy, write_over

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dsbs.students.collator import Row
    from dsbs.students.model import Batch, StudentModel

GIVEN = "given label"  # the target that was given, beside the sample that took its place


@dataclass
class MiniLLM(OnPolicy):
    """Reverse KL(student || teacher) on samples: the student learns the major modes of its teacher (section 2.2).

    With p the teacher, q the student, r_t = log p(y_t) - log q(y_t), samples y of the mixture of both, and
    w_t = q(y_t) / (teacher_share p(y_t) + (1 - teacher_share) q(y_t)), the loss is a mean over the tokens of samples::

        L = w_t KL(q_t || p_t) - w_t R_{t+1} q(y_t) / q_old(y_t) + lm_weight * L_given

    The first term is the single step, summed over the whole vocabulary (equation 3), the second one the steps after it:
    R_{t+1} is the mean reward of the tokens after y_t (length-normalized, equation 5), a number without gradients. Its
    factor w_t q / q_old is clipped as in PPO. Each sample is learned from once, so that q is q_old except for dropout.
    Where the teacher's end says nothing, p and q are the distributions over the other tokens, and only the student
    decides where a sample ends (``LiveTeacher.hidden_end``).

    Attributes:
        teacher_share: the paper's alpha: weight of the teacher in the sampling mixture.
        clip: PPO clipping: importance ratios are clipped to 1 - clip … 1 + clip.
        reward_clip: rewards are clipped to plus or minus this.
        lm_weight: weight of the cross-entropy of the given targets (the paper's L_PT, there on a separate corpus).
    """

    kind: str = "minillm"
    teacher_share: float = 0.2
    clip: float = 0.2
    reward_clip: float = 10.0
    lm_weight: float = 0.0

    def faults(self) -> list[str]:
        return [
            *super().faults(),
            *range_faults(self, SHARE_BELOW_1, "teacher_share", prefix="objective."),
            *range_faults(self, ABOVE_0, "clip", "reward_clip", prefix="objective."),
            *range_faults(self, NOT_NEGATIVE, "lm_weight", prefix="objective."),
        ]

    def rollout(
        self, student: "StudentModel", rows: "Sequence[Row]", draws: "Sequence[np.random.Generator]", bf16: bool
    ) -> "list[Row]":
        """Return the rows with samples as labels, and the signals of ``rewards.judge`` for each of their tokens."""
        from dsbs.objectives.rewards import judge

        voices = [self.voice_of_student(student, rows, 1 - self.teacher_share)]
        if self.teacher_share:
            voices.append(self.voice_of_teacher(rows, self.teacher_share))
        samples = self.draw(voices, draws, bf16)
        written = [write_over(row, ids) for row, ids in zip(rows, samples, strict=True)]
        judged = judge(student, self.teacher, written, bf16, self.teacher_share, self.reward_clip)
        found = []
        for old, new, signals in zip(rows, written, judged, strict=True):
            given = [(GIVEN, name, ids, weight) for kind, name, ids, weight in old.targets if kind == "label"]
            targets = [*new.targets, *given] if self.lm_weight else new.targets
            found.append(replace(new, targets=targets, signals={"label": signals}))
        return found

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return the numbers of tokens of samples (for ``single`` and ``long``) and of given targets (``given``)."""
        counts = super().count(rows)
        tokens = counts.get("label", 0.0)
        return {"single": tokens, "long": tokens, "given": counts.get(GIVEN, 0.0)}

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        from dsbs.objectives.losses import summed_cross_entropy, weigh_terms

        own = {kind: batch["targets"][kind] for kind in ("label", GIVEN) if kind in batch["targets"]}
        logits = model({part["source"]: batch["inputs"][part["source"]] for part in own.values()}, own)
        taught = self.teacher.logits(batch, ("label",))["label"]
        terms = self._sample_terms(taught, logits["label"], own["label"])
        if GIVEN in own:
            terms["given"] = summed_cross_entropy(logits[GIVEN], own[GIVEN]["labels"], own[GIVEN]["weights"])
        return weigh_terms(terms, {"given": self.lm_weight}, counts)

    def _sample_terms(self, taught: "torch.Tensor", logits: "torch.Tensor", target: "Batch") -> "Terms":
        """Return the sums of the two terms over the tokens of samples, and how many there are."""
        import torch

        from dsbs.objectives.losses import token_weights
        from dsbs.students.tensors import hide_end

        known, weights = token_weights(target)
        signals = {name: values[known] for name, values in target["signals"].items()}
        if not signals:  # nothing to learn from: a row that only fills a process's batch
            signals = {name: torch.zeros_like(weights) for name in ("importance", "returns", "log_q")}
        taught, logits = taught[known], logits[known][:, : taught.shape[-1]]
        if (end := self.teacher.hidden_end) is not None:
            taught, logits = (hide_end(one, end) for one in (taught, logits))
        teacher, student = soften(taught, 1.0), soften(logits, 1.0)
        single = signals["importance"] * Divergence("reverse_kl")(teacher, student)
        log_q = student.gather(1, target["labels"][known].unsqueeze(1)).squeeze(1)
        ratio = signals["importance"] * (log_q - signals["log_q"]).exp()
        clipped = ratio.clamp(1 - self.clip, 1 + self.clip)
        long = -torch.minimum(signals["returns"] * ratio, signals["returns"] * clipped)
        return {"single": ((weights * single).sum(), weights.sum()), "long": ((weights * long).sum(), weights.sum())}
