"""The base of built students: the interface that training, ranking and generation use, whatever the architecture."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import nn

from dsbs.core.records import Example, Prediction, Target
from dsbs.core.terminal import log_once
from dsbs.core.units import pluralize
from dsbs.students.answer_cache import AnswerCache
from dsbs.students.answering import DecodingConfig
from dsbs.students.folders import SETTINGS
from dsbs.students.lost import count_lost

# What LoRA trains, in the checkpoints of a training; the trainer takes a checkpoint for whole if it has `model*`.
LORA_WEIGHTS = "model.lora.safetensors"

# A batch, as ``dsbs.students.collator.Collator`` returns it.
Batch = dict[str, Any]


def find_unknown(tokenizer: Any) -> int | None:
    """Return the id of a tokenizer's unknown token, or None where it has none, or shares it with another role."""
    others = (tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.bos_token_id)
    return None if tokenizer.unk_token_id in (None, *others) else int(tokenizer.unk_token_id)


def grow_vocabulary(network: Any, tokenizer: Any, tables: Callable[[], tuple[torch.Tensor, ...]] | None = None) -> None:
    """Give every token of a tokenizer an embedding: tokens may have been added, and the network not resized.

    Args:
        tables: returns the embeddings [V, d] of the network; None: it is an encoder, and has input embeddings alone.
    """
    tables = tables or (lambda: (network.get_input_embeddings().weight,))
    ids = {id: token for token, id in tokenizer.get_vocab().items()}
    known = min(map(len, tables()))
    if new := sorted(id for id in ids if id >= known):
        network.resize_token_embeddings(new[-1] + 1, mean_resizing=False)
        with torch.no_grad():
            for table in tables():
                table[known:] = table[:known].mean(0)
        log_once(
            f"{pluralize(len(new), 'token')} of the tokenizer without an embedding in the weights: "
            f"{', '.join(repr(ids[id]) for id in new[:5])}{', ...' * (len(new) > 5)}. Each starts as the mean of all."
        )


class StudentModel(nn.Module):
    """Base of the built students: a network and its tokenizer.

    Class attributes:
        cuts_itself: whether ``encode_inputs`` truncates by its own rule, so that the length of rows does not tell which
            were truncated.

    Attributes:
        prefix_on: ``target`` or ``input``: where the task prefixes are.
        settings: what is saved in a checkpoint's config beside ``prefix_on``: task, objective and decoding.
        prefix_ids: ids of the tokens added as task prefixes; empty where there are none.
        merge_lora: merges LoRA's updates into the weights and removes it; None without LoRA.
        grows: whether answers can be scored as a tree; None until ``ranking.can_grow`` has tried.
    """

    cuts_itself: ClassVar[bool] = False
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
            # As loaded, T5 v1.1 and FLAN-T5 claim tied embeddings; resizing them would lose the output table.
            self._resized().config.tie_word_embeddings = False
        grow_vocabulary(self._resized(), tokenizer, self.embedding_tables)

    @property
    def config(self) -> Any:
        """The Hugging Face config; the Trainer asks for it."""
        return self.model.config

    @property
    def _no_split_modules(self) -> list[str]:
        """The classes of the network's layers; accelerate gathers a sharded student by them."""
        found = {type(module).__name__ for module in self.model.modules()}
        # Embeddings may share their weights with the output, and are gathered with it.
        return sorted(name for name in self.model._no_split_modules if name in found and "Embeddings" not in name)

    @property
    def pad_id(self) -> int:
        """The id of the padding token of inputs and targets."""
        raise NotImplementedError

    @property
    def end_id(self) -> int:
        """The id of the token that ends a target."""
        return int(self._end_id)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    @property
    def row_identity(self) -> list[Any]:
        """What decides tokenized rows, beside the class of the student and its tokenizer; JSON-like."""
        return []

    def reword(self, example: Example, targets: Sequence[Target]) -> tuple[str, list[Target]]:
        """Return the input and the targets of an example as this student reads them; by default unchanged."""
        return example.input, list(targets)

    def cut(self, ids: list[int], limit: int) -> tuple[list[int], bool]:
        """Return an input's token ids truncated to ``limit``, and whether they were longer; the last token stays."""
        return ([*ids[: limit - 1], ids[-1]], True) if len(ids) > limit else (ids, False)

    def cut_target(self, ids: list[int], limit: int, kept: str = "") -> tuple[list[int], bool]:
        """Return a target's token ids truncated to ``limit``, and whether they were longer.

        A truncated target has no end token: the student would learn to stop there, in the middle of a sentence.

        Args:
            kept: the end of the text, which stays, with the end token.
        """
        if len(ids) <= limit:
            return ids, False
        end = min(len(self.encode_targets([kept])[0]), limit) if kept else 0
        return [*ids[: limit - end], *ids[len(ids) - end :]], True

    @property
    def unknown_id(self) -> int | None:
        """The id of the unknown token; see ``find_unknown``."""
        return find_unknown(self.tokenizer)

    def lost(self, examples: Sequence[Example], max_tokens: int) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        texts = [self.reword(example, [])[0] for example in examples]
        return count_lost(self.encode_inputs(texts, "label", max_tokens + 1), max_tokens, self.unknown_id)

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        """Return the token ids of inputs, truncated.

        Args:
            kind: of target; its task prefix comes first with ``prefix_on=input``.
        """
        raise NotImplementedError

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of targets, the end token last, without the decoder's start token."""
        raise NotImplementedError

    def decode(self, ids: list[list[int]]) -> list[str]:
        """Return the texts of token ids, without special tokens and surrounding whitespace."""
        return [text.strip() for text in self.tokenizer.batch_decode(ids, skip_special_tokens=True)]

    def start_id(self, kind: str) -> int:
        """Return the id of the token that precedes a target of a kind: the decoder's start token, or task prefix."""
        raise NotImplementedError

    def encode(self, inputs: dict[str, torch.Tensor], readers: int) -> Any:
        """Return the states of inputs, which ``decode_logits`` needs.

        Args:
            inputs: ``input_ids`` and ``attention_mask`` [B, S], padded at the end.
            readers: number of targets that share the states of an input.
        """
        raise NotImplementedError

    def select(self, states: Any, rows: torch.Tensor) -> Any:
        """Return the states of some rows [R] of a batch; a row may occur several times."""
        raise NotImplementedError

    @property
    def vocabulary(self) -> int:
        """The number of logits of a position."""
        return len(self.embedding_tables()[1])

    def begin(self, inputs: dict[str, torch.Tensor]) -> AnswerCache:
        """Return inputs to score trees of answers after, with ``extend``.

        Args:
            inputs: ``input_ids`` and ``attention_mask`` [B, S], padded at the end.

        Raises:
            ValueError: where the student cannot score trees.
        """
        raise ValueError

    def extend(
        self, states: AnswerCache, ids: torch.Tensor, depths: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        """Return the logits [R, T, V] of more tokens after inputs, and the cache with them.

        Args:
            states: of R inputs, with P positions in the cache.
            ids: the tokens [R, T].
            depths: number of tokens of its answer before each [R or 1, T].
            seen: the positions that each attends to, itself included [R or 1, T, P + T].

        Raises:
            ValueError: where the student cannot score trees.
        """
        raise ValueError

    def decode_logits(self, states: Any, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor) -> torch.Tensor:
        """Return logits [R, T, V].

        Args:
            states: of R inputs.
            attention_mask: of the inputs [R, S].
            decoder_input_ids: [R, T].
        """
        raise NotImplementedError

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        """Return a greedily generated target for each of B inputs.

        Args:
            inputs: ``input_ids`` and ``attention_mask`` [B, S], padded at the end.
        """
        raise NotImplementedError

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the most probable closed answer of each example. See ``dsbs.students.answering.Writer``."""
        raise NotImplementedError

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return the text generated for each example; see ``dsbs.students.answering.Writer``."""
        raise NotImplementedError

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each target, the end token included."""
        return [len(row) for row in self.encode_targets(list(texts))]

    def forward(self, inputs: dict[str, Any], targets: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return kind -> logits [R, T, V]; inputs that several kinds share are encoded once.

        Args:
            inputs: name -> ``input_ids`` and ``attention_mask`` [B, S].
            targets: kind -> ``source`` (a name in inputs), ``rows`` [R], ``decoder_input_ids`` [R, T], …; see
                ``Collator``.
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
        """Add special tokens and their embeddings; return their ids, and whether any was new to the tokenizer."""
        new = self.tokenizer.add_tokens(tokens, special_tokens=True)
        ids = self.tokenizer.convert_tokens_to_ids(tokens)
        inputs, outputs = self.embedding_tables()
        if max(ids) >= min(len(inputs), len(outputs)):
            self._resized().resize_token_embeddings(len(self.tokenizer), mean_resizing=False)
        return ids, bool(new)

    def embedding_tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the decoder's input and output embeddings [V, d]: the same tensor where they are tied."""
        return self.model.get_decoder().get_input_embeddings().weight, self.model.get_output_embeddings().weight

    def _resized(self) -> Any:
        """Return the network whose vocabulary grows."""
        return self.model

    def save(self, folder: Path) -> None:
        """Write weights (safetensors), config and tokenizer; ``from_pretrained`` reads them without dsbs.

        LoRA's updates are merged into the weights first, so the student cannot be trained further.
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
        """Write a checkpoint during training: with LoRA, only the weights that are trained."""
        if self.merge_lora is None:
            self.save(folder)
            return
        folder.mkdir(parents=True, exist_ok=True)
        trained = {name: weight for name, weight in self.model.named_parameters() if weight.requires_grad}
        save_file({name: weight.detach().contiguous() for name, weight in trained.items()}, folder / LORA_WEIGHTS)
