"""Pretrained students by hub name or local folder: T5, T5 v1.1, FLAN-T5, BART and other encoder-decoders."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbs.core.errors import StudentError
from dsbs.students.base import GenerativeStudent, check_place, fingerprint_weights
from dsbs.students.lora import Lora

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from dsbs.students.loading import OpenedModel
    from dsbs.students.model import StudentModel


@dataclass
class Pretrained(GenerativeStudent):
    """Any pretrained encoder-decoder (``AutoModelForSeq2SeqLM``).

    Attributes:
        model: a hub name such as ``google-t5/t5-base``, or a local folder.
        revision: branch, tag or commit on the hub.
        use_safetensors: load only safetensors; false also allows ``pytorch_model.bin``, loaded with ``weights_only``.
        trust_remote_code: run code that comes with the model. Only for a model whose code you have read.
        lora: train a few small matrices beside the weights instead of the weights.
    """

    kind: str = "pretrained"
    model: str = "???"
    revision: str | None = None
    use_safetensors: bool = True
    trust_remote_code: bool = False
    lora: Lora = field(default_factory=Lora)

    def faults(self) -> list[str]:
        return super().faults() + self.lora.faults()

    def identity(self) -> dict[str, object]:
        """Return what decides the student before training; for a local model, a hash of its content, not its path."""
        identity = asdict(self)
        del identity["use_safetensors"]  # the same weights
        if not self.trust_remote_code:
            del identity["trust_remote_code"]
        if self.lora.r == 0:
            del identity["lora"]
        content = fingerprint_weights(Path(self.place()))
        if content is not None:
            identity["model"] = content
        return identity

    def tokens_needed(self) -> int:
        """Return the length of the longest sequence in tokens, of encoder or decoder."""
        return max(self.max_input_tokens, self.max_target_tokens, self.max_new_tokens)

    def place(self) -> str:
        """Return the hub name, or the path of a local model."""
        return self.model

    def check_room(self, model: Any) -> None:
        """Check that the network has enough positions.

        Raises:
            StudentError: where it has fewer than ``tokens_needed``.
        """
        room = getattr(model.config, "max_position_embeddings", None)
        if room is not None and room < self.tokens_needed():
            raise StudentError(
                f"student.model={self.model} reads at most {room} tokens, but with student.max_input_tokens="
                f"{self.max_input_tokens}, student.max_target_tokens={self.max_target_tokens} and "
                f"student.max_new_tokens={self.max_new_tokens} there may be {self.tokens_needed()}. Lower them."
            )

    def open(self) -> "AbstractContextManager[OpenedModel]":
        """Return a context manager that yields the model to load from; see ``dsbs.students.loading.open_model``."""
        from dsbs.students.loading import open_model

        return open_model(
            self.place(),
            revision=self.revision,
            use_safetensors=self.use_safetensors,
            trust_remote_code=self.trust_remote_code,
        )

    def load_tokenizer(self) -> Any:
        """Return the tokenizer without loading weights.

        Raises:
            StudentError: where it is not available.
        """
        from dsbs.students.loading import explaining

        check_place(self.place())
        with explaining(f"student.model={self.model}: no tokenizer could be loaded from there"), self.open() as opened:
            return opened.tokenizer()

    def load(
        self,
        loader: Any,
        build: "Callable[[Any, Any, str], StudentModel]",
        prefix_on: str,
        seed: int,
        *,
        what: str,
        advice: str,
    ) -> "StudentModel":
        """Return the student built of network and tokenizer, with LoRA if set.

        Args:
            loader: class of transformers that loads the network.
            build: (network, tokenizer, ``prefix_on``) -> student.
            seed: of newly initialized weights.
            what: name of such a network, for messages.
            advice: what to type instead, for messages.

        Raises:
            StudentError: where they are not available, or the network has too few positions.
        """
        import torch

        from dsbs.students.loading import explaining

        check_place(self.place())
        torch.manual_seed(seed)
        problem = f"student.model={self.model}: no {what} could be loaded from there"
        with explaining(problem, advice), self.open() as opened:
            tokenizer, network = opened.tokenizer(), opened.network(loader)
        student = build(network, tokenizer, prefix_on)
        self.check_room(network)
        return self.lora.apply(student)

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Load weights and tokenizer, and add LoRA if set; arguments and errors: ``TorchStudent.prepare``."""
        from transformers import AutoModelForSeq2SeqLM

        from dsbs.students.seq2seq import Seq2SeqModel

        advice = (
            "Give a hub name such as google-t5/t5-base, or a folder with config.json, model.safetensors and the "
            "tokenizer: student.model=FOLDER. A decoder-only model such as SmolLM2 is student=causal, an encoder such "
            "as BERT student=encoder."
        )
        return self.load(AutoModelForSeq2SeqLM, Seq2SeqModel, prefix_on, seed, what="encoder-decoder", advice=advice)
