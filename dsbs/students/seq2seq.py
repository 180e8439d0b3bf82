"""Encoder-decoder students: T5, BART, BERT-to-BERT."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import GenerationConfig
from transformers.cache_utils import DynamicCache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutput

from dsbs.core.errors import StudentError
from dsbs.students.answer_cache import AnswerCache, copy_cache
from dsbs.students.generative import GenerativeModel
from dsbs.students.prefixes import KINDS, task_prefix
from dsbs.students.tensors import additive

# Networks with relative positions alone: two targets can be packed into one row.
RELATIVE = ("t5", "mt5")


class Seq2SeqModel(GenerativeModel):
    """An encoder-decoder.

    With ``prefix_on=target`` the decoder starts with ``[label]`` or ``[rationale]``, one added token each, and both
    tasks share one encoder pass; the two tokens are given, so they are never in the loss. With ``prefix_on=input``
    they are text before the input (paper, section 3.2).

    Args:
        prefix_on: ``target`` or ``input``; another value: no task prefixes.

    Raises:
        StudentError: where config and tokenizer lack a start, padding or end token.
    """

    def __init__(self, model: Any, tokenizer: Any, prefix_on: str) -> None:
        super().__init__(model, tokenizer, prefix_on)
        start = self._find_token("decoder_start_token_id", "bos_token_id", "pad_token_id")
        self._start_ids = dict.fromkeys(KINDS, start)
        self.plain_start_id = start  # of a decoder that knows no task prefixes
        self._pad_id = self._find_token("pad_token_id", "eos_token_id")
        self._end_id = self._find_token("eos_token_id")
        if prefix_on == "target":
            self._add_prefix_tokens(start)
            model.config.decoder_start_token_id = start
        # Plain `generate` on the checkpoint writes the label, greedily. What a pretrained student brings (forced first
        # tokens, beams, runs of words that must not repeat) fits its own targets, not ours.
        model.generation_config = GenerationConfig(
            decoder_start_token_id=self._start_ids["label"], pad_token_id=self._pad_id, eos_token_id=self._end_id
        )

    def _find_token(self, *names: str) -> int:
        """Return the first of some special tokens that the network's config or the tokenizer names."""
        for name in names:
            for place in (self.model.config, self.tokenizer):
                if isinstance(token := getattr(place, name, None), int):  # some configs list several
                    return token
        raise StudentError(f"The student's config.json has no {names[0]}; choose another student.")

    def _add_prefix_tokens(self, start: int) -> None:
        ids, new = self.add_tokens([task_prefix(kind) for kind in KINDS])
        self.prefix_ids = ids
        self._start_ids = dict(zip(KINDS, ids, strict=True))
        if new:  # else a checkpoint of ours: they are trained
            with torch.no_grad():
                for table in self.embedding_tables():
                    table[ids] = table[start].clone()

    def _resized(self) -> Any:
        # BERT-to-BERT has a vocabulary on either side, and only the decoder reads the prefixes.
        return self.model.get_decoder() if self.model.config.model_type == "encoder-decoder" else self.model

    def encode_inputs(self, texts: list[str], kind: str, max_tokens: int) -> list[list[int]]:
        texts = self.prefixed(texts, kind)
        return self.tokenizer(texts, truncation=True, max_length=max_tokens)["input_ids"] if texts else []

    @property
    def pad_id(self) -> int:
        """The padding token; the end token where there is none."""
        return self._pad_id

    def encode(self, inputs: dict[str, torch.Tensor], readers: int) -> torch.Tensor:
        """Return the encoder's states [B, S, d]."""
        return self.model.get_encoder()(**inputs).last_hidden_state

    def select(self, states: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return states.index_select(0, rows)

    @property
    def packs(self) -> bool:
        """Whether its positions are relative, so that several targets of an input can be packed into one row."""
        return self.model.config.model_type in RELATIVE

    def decode_logits(
        self,
        states: torch.Tensor,
        attention_mask: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        blocks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return logits [R, T, V]; see ``StudentModel``.

        Args:
            blocks: with packed targets, the number of the target at each position [R, T] or [1, T]; targets do not
                attend to each other. None: each row is one target.
        """
        seen = None
        if blocks is not None:
            same = blocks.unsqueeze(2).eq(blocks.unsqueeze(1)).tril()
            seen = additive(same, states.dtype)
        return self.model(
            encoder_outputs=BaseModelOutput(last_hidden_state=states),
            attention_mask=attention_mask,
            decoder_input_ids=decoder_input_ids,
            decoder_attention_mask=seen,
            use_cache=False,
        ).logits

    def begin(self, inputs: dict[str, torch.Tensor]) -> AnswerCache:
        """Return the encoder's states with an empty cache; see ``StudentModel``."""
        states = self.encode(inputs, readers=1)
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        return AnswerCache(states, inputs["attention_mask"], cache, inputs["input_ids"].new_zeros(1, 0))

    def extend(
        self, states: AnswerCache, ids: torch.Tensor, depths: torch.Tensor, seen: torch.Tensor
    ) -> tuple[torch.Tensor, Any]:
        assert states.inputs is not None
        cache = copy_cache(states.cache)
        with self._at(depths, torch.cat([states.depths.expand(len(depths), -1), depths], dim=1)) as positions:
            logits = self.model(
                encoder_outputs=BaseModelOutput(last_hidden_state=states.inputs),
                attention_mask=states.mask,
                decoder_input_ids=ids,
                decoder_attention_mask=additive(seen, states.inputs.dtype),
                past_key_values=cache,
                use_cache=True,
                **positions,
            ).logits
        return logits, cache

    @contextmanager
    def _at(self, depths: torch.Tensor, known: torch.Tensor) -> Iterator[dict[str, torch.Tensor]]:
        """Make the decoder use the position of tokens in their answer instead of that in the row.

        Args:
            depths: of the tokens that are read [R or 1, T].
            known: of all tokens, those in the cache first [R or 1, P + T].
        """
        decoder = self.model.get_decoder()
        if self.packs:
            attention = decoder.block[0].layer[0].SelfAttention
            buckets = attention._relative_position_bucket(
                known.unsqueeze(1) - depths.unsqueeze(2),
                bidirectional=False,
                num_buckets=attention.relative_attention_num_buckets,
                max_distance=attention.relative_attention_max_distance,
            )
            bias = attention.relative_attention_bias(buckets).permute(0, 3, 1, 2)
            attention.compute_bias = lambda *args, **kwargs: bias  # found before the method of its class
            try:
                yield {}
            finally:
                del attention.compute_bias
        elif self.model.config.model_type == "encoder-decoder":
            yield {"decoder_position_ids": depths}
        else:
            table = decoder.embed_positions.forward(
                depths, 0, position_ids=torch.arange(1 + int(depths.max()), device=depths.device)
            )
            places = table.flatten(0, -2)[depths]
            hook = decoder.embed_positions.register_forward_hook(lambda *call: places)
            try:
                yield {}
            finally:
                hook.remove()

    def forward(self, inputs: dict[str, Any], targets: dict[str, Any]) -> dict[str, torch.Tensor]:
        """Return kind -> logits [R, T, V], as the base does.

        Where label and rationale share their input, a T5 decodes both in one pass, packed into one row and without
        attending to each other, so that it projects the encoder's states once.
        """
        sources = {target["source"] for target in targets.values()}
        once = all(target["once"] for target in targets.values())
        if len(targets) < 2 or len(sources) > 1 or not once or not self.packs:
            return super().forward(inputs, targets)
        part = inputs[sources.pop()]
        states = self.encode(part, len(targets))
        widths = [target["decoder_input_ids"].shape[1] for target in targets.values()]
        ids = part["input_ids"].new_full((len(states), sum(widths)), self._pad_id)
        for target, block in zip(targets.values(), ids.split(widths, dim=1), strict=True):
            block.index_copy_(0, target["rows"], target["decoder_input_ids"])
        blocks = torch.cat([ids.new_full((1, width), number) for number, width in enumerate(widths)], dim=1)
        logits = self.decode_logits(states, part["attention_mask"], ids, blocks)
        return {
            kind: block.index_select(0, targets[kind]["rows"])
            for kind, block in zip(targets, logits.split(widths, dim=1), strict=True)
        }

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        """Return one text for each input, decoded greedily from the kind's start token."""
        ids = self.model.generate(
            **inputs,
            decoder_start_token_id=self.start_id(kind),
            max_new_tokens=max_new_tokens,
            do_sample=False,
            num_beams=1,
        )
        return self.decode(ids.tolist())
