"""Pretrained students by hub name or local folder: T5, T5 v1.1, FLAN-T5, BART and other encoder-decoders."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsbs.errors import StudentError
from dsbs.students.base import Student

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel


@dataclass
class Pretrained(Student):
    """Any ``AutoModelForSeq2SeqLM``.

    Attributes:
        model: a hub name such as ``google-t5/t5-base``, or a local folder.
        revision: branch, tag or commit on the hub.
    """

    kind: str = "pretrained"
    model: str = "???"
    revision: str | None = None

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Load weights and tokenizer."""
        import torch
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        from dsbs.students.seq2seq import Seq2SeqModel

        torch.manual_seed(seed)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.model, revision=self.revision)
            model = AutoModelForSeq2SeqLM.from_pretrained(self.model, revision=self.revision, dtype=torch.float32)
        except (OSError, ValueError) as error:
            raise StudentError(
                f"student.model={self.model}: no encoder-decoder could be loaded from there "
                f"({str(error).splitlines()[0]}). Give a hub name such as google-t5/t5-base, or a folder with "
                "config.json, model.safetensors and the tokenizer: student.model=FOLDER."
            ) from error
        return Seq2SeqModel(model, tokenizer, prefix_on)
