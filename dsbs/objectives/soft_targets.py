"""Soft targets: the student matches the teacher's distribution over the answers, not its first choice alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dsbs.core.records import Annotation, Example, Target
from dsbs.objectives.base import Objective, Terms

if TYPE_CHECKING:
    import torch

    from dsbs.objectives.divergences import Divergence
    from dsbs.students.collator import Row
    from dsbs.students.model import Batch


@dataclass
class SoftTargets(Objective):
    """The teacher's distribution over the closed answers (Hinton et al., 2015, arXiv 1503.02531), from its votes.

    Of each example the student scores all closed answers, as when it is asked to rank them; what it matches is how the
    teacher's samples voted. With D the divergence of both at temperature T, and the label as in fine-tuning::

        L = soft_weight * T^2 * D + (1 - soft_weight) * L_label

    and with rationales ``alpha * L + (1 - alpha) * L_rationale``. D is a mean over examples, the others over tokens.

    Attributes:
        divergence: ``forward_kl``, ``reverse_kl``, ``jsd``, ``skewed_kl`` or ``skewed_reverse_kl``.
        beta: of ``jsd``: 0 is forward KL, 1 reverse KL.
        skew: of the skewed ones: the share of the first distribution in the second.
        temperature: of both distributions; above 1 they become more alike.
        soft_weight: share of the divergence in the loss; the rest is the label's.
        smoothing: votes that every answer gets in advance; above 0 where a divergence is infinite without.
        rationales: whether to learn the teacher's rationales, too, as ``step_by_step`` does.
        alpha: with rationales, the share of all that concerns the label.
    """

    kind: str = "soft_targets"
    divergence: str = "forward_kl"
    beta: float = 0.5
    skew: float = 0.1
    temperature: float = 1.0
    soft_weight: float = 0.5
    smoothing: float = 0.0
    rationales: bool = False
    alpha: float = 0.5

    @property
    def needs_rationales(self) -> bool:
        """Only on request."""
        return self.rationales

    @property
    def needs_votes(self) -> bool:
        """The distribution comes from votes."""
        return True

    @property
    def needs_choices(self) -> bool:
        """The distribution is over closed answers."""
        return True

    @property
    def _divergence(self) -> "Divergence":
        from dsbs.objectives.divergences import Divergence

        return Divergence(self.divergence, self.beta, self.skew)

    @property
    def shares(self) -> Mapping[str, float]:
        """The factor of each term."""
        label, rationale = (self.alpha, 1 - self.alpha) if self.rationales else (1.0, 0.0)
        return {
            "soft": label * self.soft_weight * self.temperature**2,
            "label": label * (1 - self.soft_weight),
            "rationale": rationale,
        }

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = super().faults() + self._divergence.faults("objective")
        for key in ("soft_weight", "alpha"):
            if not 0 <= getattr(self, key) <= 1:
                faults.append(f"objective.{key}={getattr(self, key)}: expected from 0 to 1.")
        if not self.temperature > 0:
            faults.append(f"objective.temperature={self.temperature}: expected above 0.")
        if not self.smoothing >= 0:
            faults.append(f"objective.smoothing={self.smoothing}: expected 0 or more.")
        if self._divergence.needs_support and self.smoothing == 0:
            faults.append(
                f"objective.divergence={self.divergence} is infinite for an answer that no sample gave: add "
                "objective.smoothing=0.1, or choose forward_kl, jsd or a skewed one."
            )
        return faults

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return every closed answer with its probability as its weight, the label first, and the rationale on request.

        Where there is no usable annotation the label stands alone.

        >>> votes = Annotation("1", "no", votes={"no": 3, "yes": 1})
        >>> targets = SoftTargets().targets(Example("1", "Is fire cold?", "no", ("yes", "no")), votes)
        >>> [(target.text, target.weight) for target in targets]
        [('no', 0.75), ('yes', 0.25)]
        """
        assert example.label is not None
        if annotation is None:
            return [Target("label", example.label)]
        assert example.choices
        assert annotation.votes is not None
        votes = {
            choice: annotation.votes.get(choice, 0) + self.smoothing for choice in (example.label, *example.choices)
        }
        total = sum(votes.values())
        targets = [Target("label", choice, number / total) for choice, number in votes.items()]
        if self.rationales and annotation.rationale:
            targets.append(Target("rationale", annotation.rationale))
        return targets

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return the examples with a distribution, and the tokens of labels and rationales."""
        counts = {"soft": 0.0, "label": 0.0, "rationale": 0.0}
        for row in rows:
            labels = [ids for kind, _, ids, _ in row.targets if kind == "label"]
            counts["soft"] += len(labels) > 1
            counts["label"] += len(labels[0])
            counts["rationale"] += sum(len(ids) for kind, _, ids, _ in row.targets if kind == "rationale")
        return counts

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        """Return the loss of a batch and its terms ``soft``, ``label`` and ``rationale``; see the class."""
        import torch

        from dsbs.objectives.closed_answers import group_answers
        from dsbs.objectives.losses import count_tokens, mean_of_step, summed_cross_entropy, target_log_likelihoods

        logits = model(batch["inputs"], batch["targets"])
        label = batch["targets"]["label"]
        scores = target_log_likelihoods(logits["label"], label["labels"])
        answers = group_answers(scores, label["weights"], label["examples"])
        divergences = self._divergence(answers.teacher(self.temperature), answers.student(self.temperature))
        terms = {
            "soft": ((divergences * answers.given).sum(), answers.given.sum()),
            "label": (-(scores * answers.first).sum(), (count_tokens(label["labels"]) * answers.first).sum()),
        }
        if "rationale" in logits:
            target = batch["targets"]["rationale"]
            terms["rationale"] = summed_cross_entropy(logits["rationale"], target["labels"], target["weights"])
        losses = [self.shares[term] * mean_of_step(total, counts[term]) for term, (total, _) in terms.items()]
        return torch.stack(losses).sum(), {term: (total.detach(), count) for term, (total, count) in terms.items()}
