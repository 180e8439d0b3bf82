"""What a built student can do, whatever its architecture. Everything that trains, ranks or writes goes through this."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from dsbs.students.base import SETTINGS

KINDS = ("label", "rationale")

# A batch as the collator makes it. ``inputs`` holds the encoder's inputs under one or more names, ``targets`` what is
# to be written, by kind; ``rows`` says which row of which input a target belongs to.
Batch = dict[str, Any]


def task_prefix(kind: str) -> str:
    """Return the task prefix of a kind of target: ``[label]`` or ``[rationale]`` (paper, section 3.2)."""
    return f"[{kind}]"


class StudentModel(nn.Module):
    """Base of the built students: a network and its tokenizer.

    Attributes:
        model: the Hugging Face model.
        tokenizer: its tokenizer.
        prefix_on: ``target`` or ``input``: where the task prefixes stand.
        settings: what a checkpoint has to remember besides weights: the objective and its settings.
    """

    def __init__(self, model: Any, tokenizer: Any, prefix_on: str) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.prefix_on = prefix_on
        self.settings: dict[str, Any] = {}

    @property
    def config(self) -> Any:
        """The Hugging Face config; the Trainer asks for it."""
        return self.model.config

    @property
    def pad_id(self) -> int:
        """The padding token of inputs and targets."""
        raise NotImplementedError

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        """Return token ids of inputs, with the task prefix where it stands on the input."""
        raise NotImplementedError

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        """Return token ids of targets, the end token last, without the token that the decoder starts with."""
        raise NotImplementedError

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return texts without special tokens."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def start_id(self, kind: str) -> int:
        """Return the token with which the decoder starts to write a kind of target."""
        raise NotImplementedError

    def encode(self, inputs: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return encoder states [B, S, d] of ``input_ids`` and ``attention_mask`` [B, S]."""
        raise NotImplementedError

    def decode_logits(
        self, states: torch.Tensor, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return logits [R, T, V] for states [R, S, d], mask [R, S] and decoder inputs [R, T]."""
        raise NotImplementedError

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        """Write one target of a kind for each of B inputs, greedily."""
        raise NotImplementedError

    def forward(self, inputs: dict[str, Any], targets: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return logits [R, T, V] by kind. Inputs that several kinds share are encoded once.

        Args:
            inputs: name -> ``input_ids`` and ``attention_mask`` [B, S].
            targets: kind -> ``source`` (a name in inputs), ``rows`` [R], ``decoder_input_ids`` [R, T], ...
        """
        states = {name: self.encode(part) for name, part in inputs.items()}
        logits = {}
        for kind, target in targets.items():
            source, rows = target["source"], target["rows"]
            logits[kind] = self.decode_logits(
                states[source].index_select(0, rows),
                inputs[source]["attention_mask"].index_select(0, rows),
                target["decoder_input_ids"],
            )
        return logits

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), config and tokenizer; ``from_pretrained`` reads them without dsbs."""
        setattr(self.model.config, SETTINGS, {"prefix_on": self.prefix_on, **self.settings})
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
