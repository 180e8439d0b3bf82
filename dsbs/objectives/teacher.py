"""A teacher model beside the student: a causal model or encoder-decoder with the student's tokens, not trained."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from dsbs.core.errors import DataError, StudentError
from dsbs.core.untrusted import Fields, read_object
from dsbs.objectives.joint import LabelThenRationale, RationaleThenLabel
from dsbs.students.base import find_model_folder
from dsbs.students.collator import Reader
from dsbs.students.decoding import slow_bf16
from dsbs.students.folders import SETTINGS
from dsbs.students.loading import load_student
from dsbs.students.model import Batch, StudentModel
from dsbs.students.plain import PlainDecoderOnly, copy_plain, load_plain, load_plain_tokenizer
from dsbs.students.prefixes import KINDS, PREFIXES
from dsbs.students.tensors import rename_end

if TYPE_CHECKING:
    from collections.abc import Mapping


def teacher_kind(kind: str) -> str:
    """Return the kind of target for the teacher, where it reads another input than the student: ``teacher label``."""
    return f"teacher {kind}"


@dataclass(frozen=True)
class LiveTeacher:
    """A teacher that gives its logits.

    Attributes:
        student: the model: a trained student of a finished run, or a model without task prefixes.
        vocabulary: number of tokens that teacher and student have in common: those of the tokenizer, without task
            prefixes, and without rows that only pad the embeddings.
        end_id: the end token of the student that it teaches; in its logits, the probability of its own end.
        reads_as_student: whether it reads the same token ids as the student.
        readers: kind of target -> how its inputs are encoded, where it reads other inputs.
        chats: whether its prompt is in its chat template, after which it ends its answers.
    """

    student: StudentModel
    vocabulary: int
    end_id: int
    reads_as_student: bool
    readers: "Mapping[str, Reader]"
    chats: bool = False

    @classmethod
    def load(
        cls,
        place: str | None,
        revision: str | None,
        student: StudentModel,
        device: torch.device,
        *,
        bf16: bool,
        max_input_tokens: int,
        as_given: bool,
        chats: bool = False,
    ) -> "LiveTeacher":
        """Load a teacher for a student.

        Args:
            place: a hub name, a folder, a GGUF file, or the folder of a finished run; None: the student as it is now.
            bf16: whether it computes in bfloat16; ignored on a CPU that only emulates it.
            as_given: whether it reads the examples' inputs unchanged.
            chats: whether it reads them in its chat template.

        Raises:
            StudentError: where it is not available, or has other tokens than the student.
        """
        if place is None:
            teacher = copy_plain(student)
        else:
            check_tokenizers(student.tokenizer, load_teacher_tokenizer(place, revision), place)
            teacher = load_teacher(place, revision)
        if chats and isinstance(teacher, PlainDecoderOnly):
            teacher.end_turns()
        if bf16 and not slow_bf16():
            teacher.to(torch.bfloat16)
        teacher.to(device).eval().requires_grad_(False)
        vocabulary = max(base_vocabulary(student.tokenizer).values()) + 1
        alike = [(model.prefix_on, bool(model.config.is_encoder_decoder)) for model in (teacher, student)]
        same = as_given and alike[0] == alike[1]
        readers = {} if same else {teacher_kind(kind): Reader(teacher, kind, max_input_tokens) for kind in KINDS}
        return cls(teacher, vocabulary, student.end_id, same, readers, chats)

    @property
    def continues(self) -> bool:
        """Whether it is a causal model without task prefixes: an answer is what continues its prompt."""
        return isinstance(self.student, PlainDecoderOnly)

    @property
    def hard_end(self) -> int | None:
        """The end token, where its probability after a given answer says nothing; None: it is a token as others are.

        After a given answer a causal model without task prefixes writes whatever follows in its texts, so a student
        that learned this would not end its answers.
        """
        return self.end_id if self.continues else None

    @property
    def hidden_end(self) -> int | None:
        """The same in samples of the student, where a chat model knows whether they are complete."""
        return self.end_id if self.continues and not self.chats else None

    def logits(self, batch: Batch, kinds: "tuple[str, ...]") -> dict[str, torch.Tensor]:
        """Return kind -> the teacher's logits over the common tokens [R, T, V], at the positions of the student's."""
        named = {kind: kind if self.reads_as_student else teacher_kind(kind) for kind in kinds}
        targets = {}
        for kind, own in named.items():
            if own in batch["targets"]:
                target = batch["targets"][own]
                given = target["decoder_input_ids"].clone()
                given[:, 0] = self.student.start_id(kind)
                targets[kind] = {**target, "decoder_input_ids": given}
        inputs = {target["source"]: batch["inputs"][target["source"]] for target in targets.values()}
        with torch.no_grad():
            found = self.student(inputs, targets)
        return {
            kind: rename_end(logits[..., : self.vocabulary], self.student.end_id, self.end_id)
            for kind, logits in found.items()
        }


def load_teacher(place: str, revision: str | None = None) -> StudentModel:
    """Return a trained student, for a finished run or its checkpoint, or else a model without task prefixes.

    Raises:
        StudentError: where it is not available.
    """
    return load_student(find_model_folder(place)) if is_ours(place) else load_plain(place, revision)


def is_ours(place: str) -> bool:
    """Return whether a place is a finished run, or its checkpoint."""
    try:
        return SETTINGS in read_object(find_model_folder(place) / "config.json")
    except (DataError, OSError):
        return False


def check_form(place: str, reasons: bool) -> None:
    """Check that a finished run writes its answers as the student is to: behind a rationale, or at once.

    Args:
        reasons: whether the student's targets begin with the rationale.

    Raises:
        StudentError: it writes them otherwise, so its distributions at the student's tokens say nothing.
    """
    if not is_ours(place):
        return
    settings = Fields(read_object(find_model_folder(place) / "config.json")).inside(SETTINGS).inside("objective")
    kind = settings.text("kind")
    joined = kind in (RationaleThenLabel.kind, LabelThenRationale.kind) or settings.raw("reasoning") is True
    if kind is None or (joined == reasons and kind != LabelThenRationale.kind):
        return
    wanted, other = "the rationale, then the label", RationaleThenLabel.kind
    if not reasons:
        wanted, other = "the label alone", "finetune or step_by_step"
    raise StudentError(
        f"objective.teacher_model={place}: what this run writes ({kind}) is not what the student learns, {wanted}, so "
        f"their tokens cannot be compared. Choose a run of objective={other}; objective=gkd and minillm learn "
        f"rationale and label with objective.reasoning=true."
    )


def load_teacher_tokenizer(place: str, revision: str | None = None) -> Any:
    """Return the tokenizer of a teacher without loading its weights; arguments are those of ``load_teacher``.

    Raises:
        StudentError: where it is not available.
    """
    return load_plain_tokenizer(str(find_model_folder(place)) if is_ours(place) else place, revision)


def base_vocabulary(tokenizer: Any) -> dict[str, int]:
    """Return token -> id of a tokenizer, without the task prefixes that students add."""
    return {token: id for token, id in tokenizer.get_vocab().items() if token not in PREFIXES}


def check_tokenizers(ours: Any, theirs: Any, place: str) -> None:
    """Check that student and teacher have the same tokens, without which token probabilities cannot be compared.

    Raises:
        StudentError: naming both tokenizers, and objectives that work across tokenizers.
    """
    one, two = base_vocabulary(ours), base_vocabulary(theirs)
    if one == two:
        return
    shared = sum(two.get(token) == id for token, id in one.items())
    raise StudentError(
        f"objective.teacher_model={place}: the teacher's tokenizer ({name_tokenizer(theirs)}, {len(two)} tokens) is "
        f"not the student's ({name_tokenizer(ours)}, {len(one)} tokens); {shared} tokens are shared. Token-level "
        "distillation needs the same tokenizer. Across tokenizers, for closed answers: "
        "objective=soft_targets objective.source=ranking. For text: objective=respond."
    )


def name_tokenizer(tokenizer: Any) -> str:
    """Return class and origin of a tokenizer, for messages."""
    return f"{type(tokenizer).__name__} of {getattr(tokenizer, 'name_or_path', '') or 'this task'}"
