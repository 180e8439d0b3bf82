"""Soft targets: the student matches the teacher's distribution, not only its most probable answer."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from dsbs.core.checks import ABOVE_0, AT_LEAST_1, NOT_NEGATIVE, SHARE, option_faults, range_faults
from dsbs.core.records import Annotation, Example, Target
from dsbs.objectives.divergences import Divergence
from dsbs.objectives.stored_targets import summed_stored_divergence
from dsbs.objectives.taught import STUDENT, Taught
from dsbs.students.prefixes import KINDS

if TYPE_CHECKING:
    import torch

    from dsbs.objectives.base import Terms
    from dsbs.students.collator import Row
    from dsbs.students.model import Batch, StudentModel

# Sources of the distribution. Those over closed answers work for any pair of tokenizers.
ANSWERS = ("votes", "logprobs", "ranking")
TOKENS = ("teacher", "stored")
SOURCES = (*ANSWERS, *TOKENS)
LEAST_RANKED = -80.0  # nats of an answer behind the best: above 0 in float32, so that reverse KL stays bounded


@dataclass
class SoftTargets(Taught):
    """The teacher's distribution over the closed answers, or over every next token (Hinton et al., 2015, 1503.02531).

    Over closed answers the student scores all answers of an example, as in ranking; D is the divergence of the two
    distributions at temperature T, a mean over examples::

        L = soft_weight * T^2 * D + (1 - soft_weight) * L_label

    and with rationales ``alpha * L + (1 - alpha) * L_rationale``. Over tokens D is a mean over the target's tokens, and
    rationales are learned from the teacher's distribution as well as labels are.

    Attributes:
        source: over closed answers: ``votes`` of the teacher's samples, the ``logprobs`` that its endpoint returned
            where the answer begins (``teacher.top_logprobs``), or the ``ranking`` by ``teacher_model``. Over the next
            tokens: those of ``teacher_model`` beside the student (``teacher``), or the most probable ones that an
            endpoint returned (``stored``). The latter two need the same tokenizer for both.
        most_tokens: for ``stored``: how many of the most probable tokens are learned from; the rest is one bucket.
        divergence: ``forward_kl``, ``reverse_kl``, ``jsd``, ``skewed_kl`` or ``skewed_reverse_kl``.
        beta: for ``jsd``: 0 is forward KL, 1 reverse KL.
        skew: for the skewed divergences: the share of the first distribution in the second.
        temperature: temperature of both distributions; above 1 they become softer.
        soft_weight: weight of the divergence in the loss; the rest is the label's.
        smoothing: for ``votes`` and ``logprobs``: votes, or probability, added to every answer; needed above 0 where
            the divergence is infinite without it.
        rationales: whether to learn rationales as well, as in ``step_by_step``.
        alpha: with rationales, the weight of the label's terms.
    """

    kind: str = "soft_targets"
    source: str = "votes"
    most_tokens: int = 20
    divergence: str = "forward_kl"
    beta: float = 0.5
    skew: float = 0.1
    temperature: float = 1.0
    soft_weight: float = 0.5
    smoothing: float = 0.0
    rationales: bool = False
    alpha: float = 0.5

    _vocabulary = 0  # no field: `prepare` sets it
    _ranked = cast(Mapping[str, Mapping[str, float]], {})  # no field: `take_ranking` sets it

    def identity(self) -> dict[str, object]:
        """Return what decides the training; ``most_tokens`` counts with ``source=stored`` alone."""
        return {key: one for key, one in super().identity().items() if key != "most_tokens" or self.reads_stored_tokens}

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher is beside the student (``source=teacher``)."""
        return self.source == "teacher"

    @property
    def reads_stored_tokens(self) -> bool:
        """Whether it learns from the tokens in the store (``source=stored``)."""
        return self.source == "stored"

    @property
    def needs_teacher_labels(self) -> bool:
        """With ``source=stored``: the stored tokens are those of the teacher's answers."""
        return self.reads_stored_tokens

    @property
    def compares_tokens(self) -> bool:
        """Whether it compares distributions over tokens, and not over closed answers."""
        return self.has_teacher or self.reads_stored_tokens

    @property
    def asks_ranking(self) -> bool:
        """Whether ``teacher_model`` ranks the closed answers of all examples before training (``source=ranking``)."""
        return self.source == "ranking"

    @property
    def needs_rationales(self) -> bool:
        """Whether rationales are learned, too (``rationales``)."""
        return self.rationales

    @property
    def rationale_apart(self) -> bool:
        """Whether the rationale is a target of its own (``rationales``)."""
        return self.rationales

    @property
    def reads(self) -> frozenset[str]:
        """``votes`` or ``probabilities``, where the distribution comes from them."""
        return frozenset({"votes": {"votes"}, "logprobs": {"probabilities"}}.get(self.source, ()))

    @property
    def needs_choices(self) -> bool:
        """Whether the distribution is over closed answers."""
        return self.source in ANSWERS

    @property
    def _divergence(self) -> Divergence:
        return Divergence(self.divergence, self.beta, self.skew)

    @property
    def shares(self) -> Mapping[str, float]:
        """Term -> its weight in the loss; see the class."""
        label, rationale = (self.alpha, 1 - self.alpha) if self.rationales else (1.0, 0.0)
        soft, hard = self.soft_weight * self.temperature**2, 1 - self.soft_weight
        answers = self.needs_choices
        return {
            "soft": label * soft,
            "label": label * hard,
            "soft_rationale": 0.0 if answers else rationale * soft,
            "rationale": rationale if answers else rationale * hard,
        }

    def faults(self) -> list[str]:
        faults = super().faults() + self._divergence.faults("objective")
        if unknown := option_faults(self, "objective.", source=SOURCES):
            return faults + unknown
        if self.asks_ranking and self.teacher_model in (None, "", STUDENT):
            faults.append(
                "objective.source=ranking needs another model to rank with than the student: add "
                "objective.teacher_model=... (a hub name, a folder, a GGUF file, or the folder of a finished run)."
            )
        faults += range_faults(self, SHARE, "soft_weight", "alpha", prefix="objective.")
        faults += range_faults(self, ABOVE_0, "temperature", prefix="objective.")
        faults += range_faults(self, NOT_NEGATIVE, "smoothing", prefix="objective.")
        if self.reads and self._divergence.needs_support and self.smoothing == 0:
            faults.append(
                f"objective.divergence={self.divergence} is infinite for an answer that the teacher did not give: add "
                "objective.smoothing=0.1, or choose forward_kl, jsd or a skewed one."
            )
        return faults + (self._stored_faults() if self.reads_stored_tokens else [])

    def unused(self) -> list[str]:
        """Return that ``smoothing`` does nothing, where the teacher gives whole distributions."""
        if self.smoothing <= 0 or self.reads:
            return []
        return [f"objective.smoothing={self.smoothing:g}: only used with objective.source=votes or logprobs: drop it."]

    def _stored_faults(self) -> list[str]:
        faults = range_faults(self, AT_LEAST_1, "most_tokens", prefix="objective.")
        if self.temperature != 1:
            faults.append(
                f"objective.temperature={self.temperature}: with objective.source=stored only the most probable "
                "tokens are known, so the distribution cannot be softened: drop it."
            )
        if self.rationales:
            faults.append("objective.rationales=true: objective.source=stored learns labels only: drop it.")
        return faults

    def prepare(self, student: "StudentModel", device: "torch.device") -> None:
        """Load the teacher, where there is one beside the student; see ``Taught.prepare``."""
        super().prepare(student, device)
        if self.reads_stored_tokens:
            from dsbs.objectives.teacher import base_vocabulary

            self._vocabulary = max(base_vocabulary(student.tokenizer).values()) + 1

    def take_ranking(self, ranked: Mapping[str, Mapping[str, float]]) -> None:
        self._ranked = ranked

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return the targets that the student scores.

        Over closed answers: each of them with its probability as its weight, the label first; the label alone where
        the teacher gives no distribution. Over tokens: the label. With ``rationales`` the rationale follows.

        >>> votes = Annotation("1", "no", votes={"no": 3, "yes": 1})
        >>> targets = SoftTargets().targets(Example("1", "Is fire cold?", "no", ("yes", "no")), votes)
        >>> [(target.text, target.weight) for target in targets]
        [('no', 0.75), ('yes', 0.25)]
        """
        assert example.label is not None
        rationale = annotation.rationale if self.rationales and annotation else None
        rationales = [Target("rationale", rationale)] if rationale else []
        if not self.needs_choices:
            return self.for_teacher(example, [Target("label", example.label), *rationales])
        shares = self._shares_of_answers(example, annotation)
        return [*(Target("label", answer, share) for answer, share in shares.items()), *rationales]

    def _shares_of_answers(self, example: Example, annotation: Annotation | None) -> dict[str, float]:
        """Return the teacher's probabilities of the closed answers, the label first."""
        assert example.label is not None
        assert example.choices
        if self.asks_ranking:
            scores = self._ranked[example.id]
            top = max(scores.values())
            behind = {answer: scores.get(answer, -math.inf) - top for answer in (example.label, *scores)}
            found = {answer: math.exp(max(nats, LEAST_RANKED)) for answer, nats in behind.items()}
        elif annotation is None:
            return {example.label: 1.0}
        elif self.source == "logprobs":
            probabilities = annotation.probabilities
            if not probabilities or not sum(probabilities.values()):
                return {example.label: 1.0}
            found = {one: probabilities.get(one, 0.0) + self.smoothing for one in (example.label, *example.choices)}
        else:
            votes = annotation.votes or {}
            found = {answer: votes.get(answer, 0) + self.smoothing for answer in (example.label, *example.choices)}
        total = sum(found.values())
        return {answer: share / total for answer, share in found.items()}

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return the counts of the terms.

        Cross-entropies are means over the tokens of labels and rationales. Divergences are means over examples with a
        distribution over closed answers, or else over weighted tokens.
        """
        if not self.needs_choices:
            tokens = super().count(rows)
            label, rationale = (tokens.get(kind, 0.0) for kind in KINDS)
            return {"soft": label, "label": label, "soft_rationale": rationale, "rationale": rationale}
        counts = dict.fromkeys(("soft", "label", "soft_rationale", "rationale"), 0.0)
        for row in rows:
            written = {kind: [ids for one, _, ids, _ in row.targets if one == kind] for kind in KINDS}
            counts["label"] += len(written["label"][0])
            counts["rationale"] += sum(map(len, written["rationale"]))
            counts["soft"] += len(written["label"]) > 1
        return counts

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        from dsbs.objectives.losses import weigh_terms

        own = {kind: batch["targets"][kind] for kind in KINDS if kind in batch["targets"]}
        inputs = {target["source"]: batch["inputs"][target["source"]] for target in own.values()}
        logits = model(inputs, own)
        terms = self._answer_terms(logits, own) if self.needs_choices else self._token_terms(logits, own, batch)
        return weigh_terms(terms, self.shares, counts)

    def _answer_terms(self, logits: "dict[str, torch.Tensor]", own: "Batch") -> "Terms":
        from dsbs.objectives.closed_answers import group_answers
        from dsbs.objectives.losses import count_tokens, summed_cross_entropy, target_log_likelihoods

        label = own["label"]
        scores = target_log_likelihoods(logits["label"], label["labels"])
        answers = group_answers(scores, label["weights"], label["examples"])
        divergences = self._divergence(answers.teacher(self.temperature), answers.student(self.temperature))
        terms = {
            "soft": ((divergences * answers.given).sum(), answers.given.sum()),
            "label": (-(scores * answers.first).sum(), (count_tokens(label["labels"]) * answers.first).sum()),
        }
        if "rationale" in own:
            rationale = own["rationale"]
            terms["rationale"] = summed_cross_entropy(logits["rationale"], rationale["labels"], rationale["weights"])
        return terms

    def _token_terms(self, logits: "dict[str, torch.Tensor]", own: "Batch", batch: "Batch") -> "Terms":
        from dsbs.objectives.losses import summed_cross_entropy, summed_divergence

        taught = {} if self.reads_stored_tokens else self.teacher.logits(batch, tuple(own))
        terms = {}
        for kind, target in own.items():
            name = {"label": "soft", "rationale": "soft_rationale"}[kind]
            terms[kind] = summed_cross_entropy(logits[kind], target["labels"], target["weights"])
            if self.reads_stored_tokens:
                terms[name] = summed_stored_divergence(self._divergence, logits[kind], target, self._vocabulary)
            else:
                terms[name] = summed_divergence(
                    self._divergence, taught[kind], logits[kind], target, self.temperature, self.teacher.hard_end
                )
        return terms
