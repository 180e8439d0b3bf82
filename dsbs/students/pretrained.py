"""Pretrained students by hub name or local folder: T5, T5 v1.1, FLAN-T5, BART and other encoder-decoders."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbs.core.errors import StudentError
from dsbs.students.base import GenerativeStudent, check_place, fingerprint_weights
from dsbs.students.lora import Lora

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel


@dataclass
class Pretrained(GenerativeStudent):
    """Any ``AutoModelForSeq2SeqLM``.

    Attributes:
        model: a hub name such as ``google-t5/t5-base``, or a local folder.
        revision: branch, tag or commit on the hub.
        lora: train a few small matrices beside the weights instead of the weights.
    """

    kind: str = "pretrained"
    model: str = "???"
    revision: str | None = None
    lora: Lora = field(default_factory=Lora)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        return super().faults() + self.lora.faults()

    def identity(self) -> dict[str, object]:
        """Return what decides the student before training: of what lies here, its content rather than its place."""
        identity = asdict(self)
        if self.lora.r == 0:
            del identity["lora"]
        content = fingerprint_weights(Path(self.place()))
        if content is not None:
            identity["model"] = content
        return identity

    def tokens_needed(self) -> int:
        """Return the longest sequence that the network reads: encoder and decoder each have their own."""
        return max(self.max_input_tokens, self.max_target_tokens, self.max_new_tokens)

    def place(self) -> str:
        """Return the hub name, or the path of what lies here."""
        return self.model

    def check_room(self, model: Any) -> None:
        """Check that the network has a position for every token.

        Raises:
            StudentError: where an input or target as long as allowed does not fit.
        """
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and room < self.tokens_needed():
            raise StudentError(
                f"student.model={self.model} reads at most {room} tokens, but with student.max_input_tokens="
                f"{self.max_input_tokens}, student.max_target_tokens={self.max_target_tokens} and "
                f"student.max_new_tokens={self.max_new_tokens} there may be {self.tokens_needed()}. Make them smaller."
            )

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Load weights and tokenizer.

        Raises:
            StudentError: where they cannot be had.
        """
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        from dsbs.students.seq2seq import Seq2SeqModel

        check_place(self.model)
        torch.manual_seed(seed)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, revision=self.revision)
            model = AutoModelForSeq2SeqLM.from_pretrained(self.model, revision=self.revision, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise StudentError(
                f"student.model={self.model}: no encoder-decoder could be loaded from there "
                f"({str(error).splitlines()[0]}). Give a hub name such as google-t5/t5-base, or a folder with "
                "config.json, model.safetensors and the tokenizer: student.model=FOLDER. A decoder-only model such as "
                "SmolLM2 is student=causal."
            ) from error
        self.check_room(model)
        return self.lora.apply(Seq2SeqModel(model, tokenizer, prefix_on))
