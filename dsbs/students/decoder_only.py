"""Decoder-only students: Llama, SmolLM2, GPT-2, Qwen and other causal language models."""

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch.distributed.fsdp import FSDPModule
from transformers import GenerationConfig
from transformers.cache_utils import DynamicCache, DynamicLayer, DynamicSlidingWindowLayer

from dsbs.core.errors import StudentError
from dsbs.students.answer_cache import AnswerCache, copy_cache
from dsbs.students.generative import GenerativeModel
from dsbs.students.prefixes import ANSWER, KINDS, task_prefix
from dsbs.students.tensors import additive


@dataclass(frozen=True, slots=True)
class Prompt:
    """Encoded inputs, which targets continue.

    Attributes:
        ids: [B, S], padded at the start.
        cache: keys and values of every layer, or None: the inputs are read again with every target.
    """

    ids: torch.Tensor
    cache: DynamicCache | None


class DecoderOnlyModel(GenerativeModel):
    """A causal language model: the input is its prompt, a target the continuation.

    With ``prefix_on=target`` a prompt is followed by ``[label]`` or ``[rationale]``, one added token each; with
    ``prefix_on=input`` by ``[answer]``, so that the student sees where its input ends. These tokens are given, so they
    are never in the loss, nor is the prompt. Both tasks share one pass over the prompt: its keys and values are kept,
    with their gradients, and each target attends to them.

    Args:
        prefix_on: ``target`` or ``input``; another value: no task prefixes.

    Raises:
        StudentError: where the tokenizer has no end token, or attention is not causal.
    """

    def __init__(self, model: Any, tokenizer: Any, prefix_on: str) -> None:
        super().__init__(model, tokenizer, prefix_on)
        if tokenizer.eos_token_id is None:
            raise StudentError("The student's tokenizer has no end token (eos_token); choose another student.")
        self._end_id = tokenizer.eos_token_id
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token  # masked wherever it pads
        # For plain `generate` on the checkpoint; what is saved are the arguments that a tokenizer was made with.
        tokenizer.padding_side = tokenizer.init_kwargs["padding_side"] = "left"
        self._takes = set(inspect.signature(model.forward).parameters)
        self._shares, plain = check_causal(model, tokenizer)
        self._branches = plain and "position_ids" in self._takes
        self._start_ids = dict.fromkeys(KINDS, self.pad_id)
        if words := {"target": list(KINDS), "input": [ANSWER]}.get(prefix_on):
            self._add_prefix_tokens(words)
        # What a pretrained student brings (sampling, penalties) fits its own use, not ours.
        model.generation_config = GenerationConfig(
            bos_token_id=tokenizer.bos_token_id, pad_token_id=self.pad_id, eos_token_id=self._end_id
        )

    def _add_prefix_tokens(self, words: list[str]) -> None:
        ids, new = self.add_tokens([task_prefix(word) for word in words])
        self.prefix_ids = ids
        self._start_ids = dict(zip(KINDS, ids if len(words) > 1 else ids * len(KINDS), strict=True))
        if new:  # else a checkpoint of ours: they are trained
            self._name_prefixes(dict(zip(words, ids, strict=True)))

    def _name_prefixes(self, ids: dict[str, int]) -> None:
        """Let a prefix begin as the mean of its word's pieces: a causal model has no start token to copy."""
        with torch.no_grad():
            for table in self.embedding_tables():
                for word, id in ids.items():
                    table[id] = table[self.tokenizer(word, add_special_tokens=False)["input_ids"]].mean(0)

    def embedding_tables(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self.model.get_input_embeddings().weight, self.model.get_output_embeddings().weight

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        """Return the token ids of inputs, without an end token; where one is truncated, its last token stays."""
        if not texts:
            return []
        rows = self.tokenizer(self.prefixed(texts, kind))["input_ids"]
        # The target goes on where the input ends, so there is no end token between them; nothing can follow nothing.
        rows = [(row[:-1] if row[-1:] == [self._end_id] else row) or [self._end_id] for row in rows]
        return [self.cut(row, max_tokens)[0] for row in rows]

    @property
    def pad_id(self) -> int:
        """The padding token; the end token where the tokenizer has none."""
        return int(self.tokenizer.pad_token_id)

    @property
    def keeps_cache(self) -> bool:
        """Whether keys and values are all that the network keeps of what it has read."""
        return self._shares

    @property
    def shares_prompt(self) -> bool:
        """Whether targets share one pass over their prompt.

        Not where layers keep other states than keys and values; nor in training where gradient checkpointing would
        compute them again, or FSDP would not know that their gradients need the layers.
        """
        again = any(getattr(module, "gradient_checkpointing", False) for module in self.model.modules())
        return self._shares and not (self.training and (again or isinstance(self, FSDPModule)))

    def encode(self, inputs: dict[str, torch.Tensor], readers: int) -> Prompt:
        """Return the prompts, with keys and values where several targets share them."""
        ids, mask = align_right(inputs["input_ids"], inputs["attention_mask"])
        if readers == 1 or not self.shares_prompt:  # a single pass over prompt and target is faster than two
            return Prompt(ids, None)
        # The logits of the prompt are not needed; one position is the minimum.
        output = self.model(**self.arguments(ids, mask, keep=1), use_cache=True)
        return Prompt(ids, output.past_key_values)

    def select(self, states: Prompt, rows: torch.Tensor) -> Prompt:
        """Return the prompts of some rows [R]."""
        cache = states.cache and copy_cache(states.cache)
        if cache is not None:
            cache.batch_select_indices(rows)
        return Prompt(states.ids.index_select(0, rows), cache)

    def decode_logits(
        self, states: Prompt, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> torch.Tensor:
        # Nothing attends to the padding after a target's end: attention is causal.
        mask = torch.cat([attention_mask.flip(1), torch.ones_like(decoder_input_ids)], dim=1)
        length = decoder_input_ids.shape[1]
        if states.cache is not None:
            arguments = self.arguments(decoder_input_ids, mask)
            return self.model(**arguments, past_key_values=copy_cache(states.cache), use_cache=True).logits
        ids = torch.cat([states.ids, decoder_input_ids], dim=1)
        return self.model(**self.arguments(ids, mask, keep=length), use_cache=False).logits[:, -length:]

    def begin(self, inputs: dict[str, torch.Tensor]) -> AnswerCache:
        """Return the inputs as keys and values; see ``StudentModel``.

        Raises:
            ValueError: where the network has other states, or takes no positions.
        """
        ids, mask = align_right(inputs["input_ids"], inputs["attention_mask"])
        if not self._branches:
            raise ValueError("no trees")
        output = self.model(**self.arguments(ids, mask, keep=1), use_cache=True)
        return AnswerCache(None, mask, output.past_key_values, ids.new_zeros(1, 0))

    def extend(
        self, states: AnswerCache, ids: torch.Tensor, depths: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        cache = copy_cache(states.cache)
        rows, length = ids.shape
        prompt = states.mask.bool().unsqueeze(1).expand(-1, length, -1)
        mask = additive(torch.cat([prompt, seen.expand(rows, -1, -1)], dim=2), self.model.dtype)
        positions = states.mask.sum(1, keepdim=True) + depths
        arguments = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        return self.model(**arguments, past_key_values=cache, use_cache=True).logits, cache

    def arguments(self, ids: torch.Tensor, mask: torch.Tensor, keep: int = 0) -> dict[str, Any]:
        """Return the network's keyword arguments, without those that its ``forward`` does not take.

        Args:
            mask: attention mask [R, P + T], with the P positions in the cache first.
            keep: number of last positions to compute logits for; 0: all.
        """
        positions = (mask.cumsum(1) - 1).clamp(min=0)[:, -ids.shape[1] :]
        arguments = {"input_ids": ids, "attention_mask": mask, "position_ids": positions, "logits_to_keep": keep}
        return {name: value for name, value in arguments.items() if name in self._takes}

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        """Return one text for each input, decoded greedily after the prompt and the task prefix."""
        ids, mask = align_right(inputs["input_ids"], inputs["attention_mask"])
        ids = torch.cat([ids, ids.new_full((len(ids), 1), self.start_id(kind))], dim=1)
        mask = torch.cat([mask, mask.new_ones(len(ids), 1)], dim=1)
        written = self.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
        )
        return self.decode(written[:, ids.shape[1] :].tolist())


def align_right(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and mask [B, S] with the padding moved from the end to the start, where a prompt has it.

    >>> ids, mask = align_right(torch.tensor([[7, 8, 9], [5, 6, 0]]), torch.tensor([[1, 1, 1], [1, 1, 0]]))
    >>> ids.tolist(), mask.tolist()
    ([[7, 8, 9], [0, 5, 6]], [[1, 1, 1], [0, 1, 1]])
    """
    width = ids.shape[1]
    positions = (torch.arange(width, device=ids.device) + mask.sum(1, keepdim=True)) % width
    return ids.gather(1, positions), mask.flip(1)


def check_causal(model: Any, tokenizer: Any) -> tuple[bool, bool]:
    """Check that attention is causal, and return what the cache consists of.

    Encoders such as BERT load as causal models, too, and would learn to copy. Where layers have a state of another
    kind (Mamba, short convolutions), padding and selecting rows would not be safe.

    Returns:
        whether the cache has nothing but keys and values; and whether those of all positions stay (no sliding window).

    Raises:
        StudentError: where a position attends to a later one.
    """
    training = model.training
    model.eval()
    ids = torch.tensor([tokenizer("The kettle leaks.", add_special_tokens=False)["input_ids"]], device=model.device)
    with torch.no_grad():
        one = model(input_ids=ids, use_cache=False).logits[:, :-1]
        two = model(input_ids=torch.cat([ids[:, :-1], ids[:, :1]], 1), use_cache=False).logits[:, :-1]
        cache = getattr(model(input_ids=ids, use_cache=True), "past_key_values", None)
    model.train(training)
    if (one - two).abs().max() > 1e-3 * one.abs().max():
        raise StudentError(
            f"{type(model).__name__} is not a causal language model: its attention is bidirectional. "
            "Choose a decoder-only model such as HuggingFaceTB/SmolLM2-135M."
        )
    kinds = {type(layer) for layer in cache.layers} if isinstance(cache, DynamicCache) else {object}
    return kinds <= {DynamicLayer, DynamicSlidingWindowLayer}, kinds == {DynamicLayer}
