"""What a built student can do, whatever its architecture. Everything that trains, ranks or writes goes through this."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from dsbs.core.records import Example, Prediction, Target
from dsbs.students.answering import DecodingConfig
from dsbs.students.growing import Growing
from dsbs.students.lost import count_lost
from dsbs.students.stored import SETTINGS

KINDS = ("label", "rationale")
# What LoRA trains, in the checkpoints of a training; the trainer takes a checkpoint for whole if it has `model*`.
LORA_WEIGHTS = "model.lora.safetensors"

# A batch as the collator makes it. ``inputs`` holds the encoder's inputs under one or more names, ``targets`` what is
# to be written, by kind; ``rows`` says which row of which input a target belongs to.
Batch = dict[str, Any]


def task_prefix(kind: str) -> str:
    """Return the task prefix of a kind of target: ``[label]`` or ``[rationale]`` (paper, section 3.2)."""
    return f"[{kind}]"


def find_unknown(tokenizer: Any) -> int | None:
    """Return the id of the token for what a tokenizer does not know, or None where there is none of its own."""
    others = (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id)
    return None if tokenizer.unk_token_id in (None, *others) else int(tokenizer.unk_token_id)


class StudentModel(nn.Module):
    """Base of the built students: a network and its tokenizer.

    Attributes:
        model: the Hugging Face model.
        tokenizer: its tokenizer.
        prefix_on: ``target`` or ``input``: where the task prefixes stand.
        settings: what a checkpoint has to remember besides weights: the objective and its settings.
        prefix_ids: the tokens that were added as task prefixes; empty where there are none.
        merge_lora: puts what LoRA has learned into the weights and removes it; None without LoRA.
        grows: whether trees of answers can grow behind an input; None until ``ranking.can_grow`` has tried.
    """

    _end_id: int

    def __init__(self, model: Any, tokenizer: Any, prefix_on: str) -> None:
        super().__init__()
        # For the whole process. cuDNN's attention plans anew for every shape, and our batches seldom have the same one
        # twice; on Hopper its gradients are NaN for some lengths under a mask (since PyTorch 2.11,
        # https://github.com/pytorch/pytorch/issues/196678).
        torch.backends.cuda.enable_cudnn_sdp(False)
        self.model = model
        self.tokenizer = tokenizer
        self.prefix_on = prefix_on
        self.settings: dict[str, Any] = {}
        self.prefix_ids: list[int] = []
        self.merge_lora: Callable[[], Any] | None = None
        self.grows: bool | None = None
        inputs, outputs = self.embedding_tables()
        if inputs is not outputs:
            # As loaded, T5 v1.1 and FLAN-T5 say that the two are one; whoever makes them grow would lose the second.
            self._resized().config.tie_word_embeddings = False

    @property
    def config(self) -> Any:
        """The Hugging Face config; the Trainer asks for it."""
        return self.model.config

    @property
    def _no_split_modules(self) -> list[str]:
        """The classes of the network's layers; accelerate gathers a student that is cut up by them."""
        found = {type(module).__name__ for module in self.model.modules()}
        # Embeddings may share their weights with the output, and are gathered with it.
        return sorted(name for name in self.model._no_split_modules if name in found and "Embeddings" not in name)

    @property
    def pad_id(self) -> int:
        """The padding token of inputs and targets."""
        raise NotImplementedError

    @property
    def end_id(self) -> int:
        """The token that ends a target."""
        return int(self._end_id)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.parameters()).device

    @property
    def row_identity(self) -> list[Any]:
        """What decides tokenized rows beside the class of the student and its tokenizer."""
        return []

    def reword(self, example: Example, targets: Sequence[Target]) -> tuple[str, list[Target]]:
        """Return the input and the targets of an example as this student reads them."""
        return example.input, list(targets)

    def cut(self, ids: list[int], limit: int) -> tuple[list[int], bool]:
        """Cut token ids in the middle, so that the end token stays; tell whether it had to be."""
        return ([*ids[: limit - 1], ids[-1]], True) if len(ids) > limit else (ids, False)

    @property
    def unknown_id(self) -> int | None:
        """The token for whatever the tokenizer does not know, or None where there is none of its own."""
        return find_unknown(self.tokenizer)

    @property
    def cuts_itself(self) -> bool:
        """Whether inputs are cut as they are encoded, so that rows do not tell which were."""
        return False

    def lost(self, examples: Sequence[Example], max_tokens: int) -> dict[str, int]:
        """Count what is not read of inputs; see ``dsbs.students.lost.count_lost``."""
        texts = [self.reword(example, [])[0] for example in examples]
        return count_lost(self.encode_inputs(texts, "label", max_tokens + 1), max_tokens, self.unknown_id)

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

    def encode(self, inputs: dict[str, torch.Tensor], readers: int) -> Any:
        """Return the states of inputs: all that is needed of them to write targets.

        Args:
            inputs: ``input_ids`` and ``attention_mask`` [B, S], padded at the end.
            readers: how many targets of an input will be read off its states.
        """
        raise NotImplementedError

    def select(self, states: Any, rows: torch.Tensor) -> Any:
        """Return the states of some rows [R] of a batch; a row may be wanted several times."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> int:
        """How many tokens a logit is computed for."""
        return len(self.embedding_tables()[1])

    def begin(self, inputs: dict[str, torch.Tensor]) -> Growing:
        """Return inputs (``input_ids`` and ``attention_mask`` [B, S], padded at the end) behind which nothing was read.

        Raises:
            ValueError: where trees cannot grow.
        """
        raise ValueError

    def extend(
        self, states: Growing, ids: torch.Tensor, depths: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        """Read more tokens behind inputs; return their logits [R, T, V] and the cache with them.

        Args:
            states: of R inputs, with P positions that were read.
            ids: [R, T].
            depths: how many tokens of its answer stand before each [R or 1, T].
            seen: which positions each one sees, itself included [R or 1, T, P + T].
        """
        raise ValueError

    @property
    def packs(self) -> bool:
        """Whether several targets of an input can lie one behind the other in one row of decoder inputs."""
        return False

    def decode_logits(
        self,
        states: Any,
        attention_mask: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        blocks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits [R, T, V].

        Args:
            states: of R inputs.
            attention_mask: of the inputs [R, S].
            decoder_input_ids: [R, T].
            blocks: where the student packs, the number of the target at each position [R, T] or [1, T]; targets do not
                see each other. None: each row is one target.
        """
        raise NotImplementedError

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        """Write one target of a kind for each of B inputs, greedily."""
        raise NotImplementedError

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the most probable closed answer of each example. See ``dsbs.students.answering.Writer``."""
        raise NotImplementedError

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return what the student writes for each example, greedily, in their order."""
        raise NotImplementedError

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens targets have, their end included."""
        return [len(row) for row in self.encode_targets(list(texts))]

    def forward(self, inputs: dict[str, Any], targets: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return logits [R, T, V] by kind. Inputs that several kinds share are encoded once.

        Args:
            inputs: name -> ``input_ids`` and ``attention_mask`` [B, S].
            targets: kind -> ``source`` (a name in inputs), ``rows`` [R], ``decoder_input_ids`` [R, T], ...
        """
        readers = Counter(target["source"] for target in targets.values())
        states = {name: self.encode(part, readers[name]) for name, part in inputs.items()}
        logits = {}
        for kind, target in targets.items():
            source, rows = target["source"], target["rows"]
            logits[kind] = self.decode_logits(
                self.select(states[source], rows),
                inputs[source]["attention_mask"].index_select(0, rows),
                target["decoder_input_ids"],
            )
        return logits

    def add_tokens(self, tokens: list[str]) -> tuple[list[int], bool]:
        """Add special tokens and room for them; return their ids, and whether they are new to the tokenizer."""
        new = self.tokenizer.add_tokens(tokens, special_tokens=True)
        ids = self.tokenizer.convert_tokens_to_ids(tokens)
        inputs, outputs = self.embedding_tables()
        if max(ids) >= min(len(inputs), len(outputs)):
            self._resized().resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        return ids, bool(new)

    def embedding_tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the weights [V, d] that tokens of a target are read with, and those that they are written with; one
        and the same where they are tied.
        """
        return self.model.get_decoder().get_input_embeddings().weight, self.model.get_output_embeddings().weight

    def _resized(self) -> Any:
        """Return the network whose vocabulary grows."""
        return self.model

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), config and tokenizer; ``from_pretrained`` reads them without dsbs.

        What LoRA has learned is merged into the weights first, so there is no training on afterwards.
        """
        if self.merge_lora is not None:
            self.merge_lora()
            self.merge_lora = None
        setattr(self.model.config, SETTINGS, {"prefix_on": self.prefix_on, **self.settings})
        # Plain `generate` would stop after 20 tokens.
        self.model.generation_config.max_new_tokens = self.settings.get("max_new_tokens", 128)
        self.model.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    def save_training(self, folder: Path) -> None:
        """Write a checkpoint of a training that goes on: with LoRA, the weights that are trained and no others."""
        if self.merge_lora is None:
            self.save(folder)
            return
        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        save_file({name: weight.detach().contiguous() for name, weight in trained.items()}, folder / LORA_WEIGHTS)
