"""The base of objectives with a teacher model on this machine during training. No tensors here."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, cast

from dsbs.core.checks import range_faults
from dsbs.core.errors import StudentError
from dsbs.core.records import Example, Target
from dsbs.objectives.base import Objective
from dsbs.students.base import AT_LEAST_8, GenerativeStudent, find_model_folder, fingerprint_weights
from dsbs.tasks.tables.templates import unescape_newlines

if TYPE_CHECKING:
    import torch

    from dsbs.objectives.teacher import LiveTeacher
    from dsbs.students.collator import Reader
    from dsbs.students.model import StudentModel

logger = logging.getLogger(__name__)
PLACE = "{input}"
STUDENT = "student"  # names the student before training as its teacher


@dataclass
class Taught(Objective):
    """Base of the objectives with a teacher model beside the student.

    Attributes:
        teacher_model: a hub name, a folder, a GGUF file, the folder of a finished run, or ``student``: the student
            before training.
        teacher_revision: branch, tag or commit on the hub.
        teacher_input: the teacher's prompt, with ``{input}`` for the example's input. A decoder-only teacher continues
            it, so end it with, say, a line break.
        teacher_chat: whether to send it as a user message, in the chat template of the teacher's tokenizer.
        teacher_max_input_tokens: longer prompts of the teacher are truncated.
        teacher_bf16: whether the teacher runs in bfloat16; divergences are computed in float32 either way.
    """

    teacher_model: str | None = None
    teacher_revision: str | None = None
    teacher_input: str = PLACE
    teacher_chat: bool = False
    teacher_max_input_tokens: int = 2048
    teacher_bf16: bool = True

    _teacher = cast("LiveTeacher | None", None)  # no field, so no setting: `prepare` loads it

    @property
    def has_teacher(self) -> bool:
        """Whether the teacher is loaded beside the student during training."""
        return True

    @property
    def compares_tokens(self) -> bool:
        """Whether the teacher's tokens have to be the student's."""
        return self.has_teacher

    @property
    def asks_ranking(self) -> bool:
        """Whether the teacher ranks the closed answers of all examples before training."""
        return False

    def take_ranking(self, ranked: Mapping[str, Mapping[str, float]]) -> None:
        """Set the teacher's ranking: example's id -> closed answer -> log-probability, in nats; by default unused."""

    @property
    def teacher(self) -> "LiveTeacher":
        """The teacher that ``prepare`` loaded."""
        assert self._teacher is not None, "the backend prepares an objective before it trains"
        return self._teacher

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.has_teacher and not self.teacher_model:
            faults.append(
                f"objective={self.name} needs a teacher: add objective.teacher_model=... (a hub name, a folder, a GGUF "
                "file, or the folder of a finished run)."
            )
        if PLACE not in self.teacher_input:
            faults.append(f"objective.teacher_input: expected {PLACE} in it, where the example's input goes.")
        return faults + range_faults(self, AT_LEAST_8, "teacher_max_input_tokens", prefix="objective.")

    def identity(self) -> dict[str, object]:
        """Return what decides the training; for a local teacher, a hash of its content, not its path."""
        identity = asdict(self) | {"teacher_input": unescape_newlines(self.teacher_input)}
        if self.teacher_model in (None, STUDENT):
            return identity
        if (content := fingerprint_weights(find_model_folder(self.teacher_model))) is not None:
            identity["teacher_model"] = content
        return identity

    def check(self, student: GenerativeStudent) -> None:
        """Check that teacher and student have the same tokens, where both tokenizers can be loaded without weights.

        Raises:
            StudentError: where they do not, or the teacher is not available, or has no chat template for
                ``teacher_chat``.
        """
        if self.teacher_model == STUDENT and self.teacher_chat and (own := student.load_tokenizer()) is not None:
            self.word("", own)
        if self.teacher_model is None or self.teacher_model == STUDENT:
            return
        if self.has_teacher:
            from dsbs.objectives.teacher import check_form

            check_form(self.teacher_model, self.answers_last)
        if self.compares_tokens and (tokenizer := student.load_tokenizer()) is not None:
            from dsbs.objectives.teacher import check_tokenizers, load_teacher_tokenizer

            theirs = load_teacher_tokenizer(self.teacher_model, self.teacher_revision)
            check_tokenizers(tokenizer, theirs, self.teacher_model)
            self.word("", theirs)

    def prepare(self, student: "StudentModel", device: "torch.device") -> None:
        """Load the teacher, if there is one beside the student.

        Raises:
            StudentError: where it is not available, or has other tokens than the student.
        """
        if self.has_teacher:
            from dsbs.objectives.teacher import LiveTeacher

            assert self.teacher_model is not None
            self._teacher = LiveTeacher.load(
                None if self.teacher_model == STUDENT else self.teacher_model,
                self.teacher_revision,
                student,
                device,
                bf16=self.teacher_bf16,
                max_input_tokens=self.teacher_max_input_tokens,
                as_given=self.teacher_input == PLACE and not self.teacher_chat,
                chats=self.teacher_chat,
            )
            if self._teacher.continues and not self.teacher_chat and not self.word("", None)[-1:].isspace():
                logger.warning(
                    "objective.teacher_input=%s: this teacher continues its prompt, so it reads the answer directly "
                    "behind it, without a space. End it with a line break (\\n), or type objective.teacher_chat=true "
                    "for a model that was trained to chat.",
                    self.teacher_input,
                )

    @property
    def readers(self) -> "Mapping[str, Reader]":
        """Kind of target -> how its inputs are encoded for the teacher, where it reads other inputs."""
        return self._teacher.readers if self._teacher is not None else {}

    def for_teacher(self, example: Example, targets: Sequence[Target]) -> list[Target]:
        """Return targets, followed by copies with the teacher's input where it reads another one than the student."""
        if self._teacher is None or self._teacher.reads_as_student:
            return list(targets)
        text = self.word(example.input, self._teacher.student.tokenizer)
        from dsbs.objectives.teacher import teacher_kind

        return [*targets, *(replace(one, kind=teacher_kind(one.kind), input=text) for one in targets)]

    def word(self, text: str, tokenizer: Any) -> str:
        """Return the teacher's prompt for an example's input.

        Args:
            tokenizer: the teacher's, for its chat template.

        Raises:
            StudentError: it has none.
        """
        worded = unescape_newlines(self.teacher_input).replace(PLACE, text)
        if not self.teacher_chat:
            return worded
        if not getattr(tokenizer, "chat_template", None):
            raise StudentError(
                f"objective.teacher_chat=true: {self.teacher_model} has no chat template. Choose a model that was "
                "trained to chat, or drop it and end objective.teacher_input with a line break (\\n)."
            )
        messages = [{"role": "user", "content": worded}]
        worded = str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))
        first = tokenizer.bos_token  # that of the template would be a second one where the tokenizer adds it
        twice = first and tokenizer(first)["input_ids"].count(tokenizer.bos_token_id) > 1
        return worded.removeprefix(first) if twice else worded
