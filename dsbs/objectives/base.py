"""What an objective is: what the student learns to write, how it is scored, and how an answer is read from it."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsbs.core.names import name_faults
from dsbs.core.records import Annotation, Example, Prediction, Target
from dsbs.students.answering import DecodingConfig, Writer, add_rationales, read_labels
from dsbs.tasks.base import Answers

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dsbs.students.base import GenerativeStudent
    from dsbs.students.collator import Reader, Row
    from dsbs.students.model import Batch, StudentModel

# Of each term of a loss: the sum over a batch, and what it is a mean over; scalars without gradients.
Terms = dict[str, "tuple[torch.Tensor, torch.Tensor]"]


@dataclass
class Objective:
    """Base of all objectives; a dataclass whose fields are its configuration.

    Class attributes:
        on_policy: whether the student writes targets itself while it learns (``rollout``).

    Attributes:
        kind: which class this is; a key of ``dsbs.objectives.OBJECTIVES``.
        name: name in folders and reports; the option's name in ``conf/objective/``.
        prefix_on: position of the task prefix. ``target``: the decoder starts with it, and both tasks share one encoder
            pass. ``input``: before the input, as in the paper.
    """

    on_policy: ClassVar[bool] = False
    # Whether the answers that it teaches are texts of any length, which only a student with a decoder can write.
    learns_texts: ClassVar[bool] = False

    kind: str = "???"
    name: str = "???"
    prefix_on: str = "target"

    # For the model card: what a trained student writes, and whether a rationale is a target of its own, which it writes
    # when asked for it.
    output: ClassVar[str] = "It writes the label."
    rationale_apart: ClassVar[bool] = False

    @property
    def needs_teacher_labels(self) -> bool:
        """Whether ``labels=gold`` makes no sense."""
        return False

    @property
    def needs_rationales(self) -> bool:
        """Whether annotations with rationales are needed."""
        return True

    @property
    def reads(self) -> frozenset[str]:
        """Which fields of annotations it reads beside label and rationale: ``votes``, ``probabilities``, ``system``."""
        return frozenset()

    @property
    def reads_stored_tokens(self) -> bool:
        """Whether it reads the log-probabilities of tokens that the store of completions holds."""
        return False

    @property
    def needs_choices(self) -> bool:
        """Whether every example has to have closed answers."""
        return False

    @property
    def shares(self) -> Mapping[str, float]:
        """The factor of each kind's mean in the loss; 1 for a kind that is not named."""
        return {}

    @property
    def compares_with_base(self) -> bool:
        """Whether ``dsbs.compare`` measures the student before its training, too, with and without a prompt."""
        return False

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = name_faults("objective.name", self.name)
        if self.prefix_on in ("target", "input"):
            return faults
        return [*faults, f"objective.prefix_on={self.prefix_on}: expected target or input."]

    def identity(self) -> dict[str, object]:
        """Return what decides the training."""
        return asdict(self)

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return what the student learns to write for an example.

        Args:
            example: its ``label`` is the one to learn, gold or the teacher's; never None.
            annotation: a usable annotation, or None.
        """
        raise NotImplementedError

    def check(self, student: "GenerativeStudent") -> None:
        """Check what can be checked before any weights are loaded.

        Raises:
            StudentError: where the student does not go with the objective's settings.
        """

    @property
    def readers(self) -> "Mapping[str, Reader]":
        """Who reads the inputs of targets whose kind is not the student's own; by kind."""
        return {}

    def prepare(self, student: "StudentModel", device: "torch.device") -> None:
        """Load what stands beside the student while it trains, such as a teacher. By default there is nothing."""

    def rollout(
        self, student: "StudentModel", rows: "Sequence[Row]", draws: "Sequence[np.random.Generator]", bf16: bool
    ) -> "list[Row]":
        """Return the rows of an optimizer step with targets that the student writes; only where ``on_policy``.

        Args:
            student: as it stands before the step.
            rows: of all microbatches of this process.
            draws: the random numbers of each row: the same for a row, a step and a seed, whatever the machine.
            bf16: whether the student computes in bfloat16.
        """
        raise NotImplementedError

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return what each term of the loss is a mean over, for some rows of an optimizer step.

        By default these are the target tokens of each kind, times the weights of their targets.
        """
        counts: Counter[str] = Counter()
        for row in rows:
            for kind, _, ids, weight in row.targets:
                counts[kind] += weight * len(ids)  # type: ignore[assignment]  # typeshed counts in whole numbers
        return dict(counts)

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        """Return the loss of a batch, and its terms for the log.

        A step's loss is the sum over its batches, however it is cut; so each term is divided by its count over the
        whole step. By default the loss is a cross-entropy over every kind of target (``dsbs.objectives.losses``).

        Args:
            model: the student: called with ``batch["inputs"]`` and ``batch["targets"]`` it returns logits by kind
                [R, T, V]. It may be called as often as the objective needs, or on other batches of the same form.
            batch: as the collator made it.
            counts: what ``count`` gave, added up over all batches and processes of the optimizer step; scalars.

        Returns:
            A scalar with gradients, and term -> (sum, count).
        """
        import torch

        from dsbs.objectives.losses import mean_of_step, summed_cross_entropy

        logits = model(batch["inputs"], batch["targets"])
        losses, terms = [], {}
        for kind, target in batch["targets"].items():
            total, count = summed_cross_entropy(logits[kind], target["labels"], target["weights"])
            losses.append(self.shares.get(kind, 1.0) * mean_of_step(total, counts[kind]))
            terms[kind] = (total.detach(), count)
        return torch.stack(losses).sum(), terms

    def read(
        self, student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
    ) -> list[Prediction]:
        """Return what the trained student answers: by default the label alone, ranked or generated."""
        return read_labels(student, examples, answers, reading)

    def explain(
        self,
        student: Writer,
        examples: Sequence[Example],
        predictions: list[Prediction],
        answers: Answers,
        reading: DecodingConfig,
    ) -> list[Prediction]:
        """Return the predictions with the student's rationales, for those who want to read them.

        By default they are written as a task of their own, beside the label, as in the paper.
        """
        return add_rationales(student, examples, predictions, reading)
