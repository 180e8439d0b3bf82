"""Sampling of targets from a student's distribution, token by token, with a key-value cache.

A row's sample depends on its own random numbers alone, not on its batch or the number of processes.
"""

import logging
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers.modeling_outputs import BaseModelOutput

from dsbs.core.errors import RunError, StudentError
from dsbs.core.records import Example
from dsbs.students.answering import DecodingConfig
from dsbs.students.decoder_only import DecoderOnlyModel, align_right
from dsbs.students.decoding import evaluating
from dsbs.students.memory import is_out_of_memory
from dsbs.students.model import StudentModel
from dsbs.students.plain import PlainDecoderOnly
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.students.tensors import hide_end, pad, rename_end

logger = logging.getLogger(__name__)
LARGEST = 64  # rows that are sampled together


@dataclass(frozen=True)
class Voice:
    """One of the models that a mixture draws from.

    Attributes:
        share: its weight in the mixture; all weights add up to 1.
        inputs: the token ids of its input for each row.
        ends: whether its probability of an end counts; else that of the first voice does.
    """

    model: StudentModel
    share: float
    inputs: Sequence[list[int]]
    ends: bool = True


def sample(
    voices: Sequence[Voice],
    kind: str,
    draws: Sequence[np.random.Generator],
    *,
    vocabulary: int,
    end_id: int,
    max_new_tokens: int,
    temperature: float = 1.0,
    bf16: bool = False,
) -> list[list[int]]:
    """Return the token ids of a sampled target for each row, the end token last where it ended.

    Out of memory, fewer rows are sampled together; the samples stay the same.

    Args:
        voices: the student, and a teacher where both are mixed. Probabilities are mixed, not logits.
        draws: the random generator of each row.
        vocabulary: number of tokens to sample from: the ids below it.
        temperature: of each model's distribution; 0: the most probable token.

    Raises:
        RunError: where memory does not suffice for a single row.
        StudentError: as ``open_decoder``.
    """
    uniform = np.stack([draw.random(max_new_tokens) for draw in draws]) if draws else np.zeros((0, max_new_tokens))
    order = sorted(range(len(draws)), key=lambda row: -sum(len(voice.inputs[row]) for voice in voices))

    def draw_rows(rows: list[int]) -> list[list[int]]:
        part = [replace(voice, inputs=[voice.inputs[row] for row in rows]) for voice in voices]
        with evaluating([voice.model for voice in voices], bf16):
            return _draw(part, kind, torch.from_numpy(uniform[rows]), vocabulary, end_id, temperature)

    found = _in_parts(order, draw_rows)
    return [found[row] for row in range(len(draws))]


def _in_parts(order: list[int], draw_rows: Callable[[list[int]], list[list[int]]]) -> dict[int, list[int]]:
    """Return the samples by row, at most ``LARGEST`` rows sampled together, and half as many when out of memory.

    Raises:
        RunError: where memory does not suffice for a single row.
    """
    found: dict[int, list[int]] = {}
    size = LARGEST
    while order:
        rows = order[:size]
        try:
            drawn = draw_rows(rows)
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            if len(rows) == 1:
                raise RunError(
                    "Out of memory while sampling a single target. Lower objective.max_new_tokens or "
                    "student.max_input_tokens."
                ) from error
            size = len(rows) // 2
            logger.warning("Out of memory while sampling; continuing with %d rows at a time.", size)
            continue
        found.update(zip(rows, drawn, strict=True))
        order = order[size:]
    return found


def sample_labels(
    student: StudentModel, examples: Sequence[Example], reading: DecodingConfig, count: int, seed: int = 0
) -> list[list[str]]:
    """Return ``count`` labels for each example, sampled at temperature 1.

    An example's samples depend on its input and the seed alone.
    """
    rows = student.encode_inputs([example.input for example in examples], "label", reading.max_input_tokens)
    draws = [
        np.random.default_rng([seed, number, zlib.crc32(example.input.encode("utf-8", "surrogatepass"))])
        for example in examples
        for number in range(count)
    ]
    written = sample(
        [Voice(student, 1.0, [row for row in rows for _ in range(count)])],
        "label",
        draws,
        vocabulary=len(student.embedding_tables()[1]),
        end_id=student.end_id,
        max_new_tokens=reading.max_new_tokens,
        bf16=reading.bf16,
    )
    texts = student.decode(written)
    return [texts[start : start + count] for start in range(0, len(texts), count)]


def _draw(
    voices: Sequence[Voice], kind: str, uniform: torch.Tensor, vocabulary: int, end_id: int, temperature: float
) -> list[list[int]]:
    readers = [open_decoder(voice.model, voice.inputs, kind) for voice in voices]
    device = voices[0].model.device
    uniform = uniform.to(device)
    tokens: torch.Tensor | None = None
    ended = torch.zeros(len(uniform), dtype=torch.bool, device=device)
    written = []
    for step in range(uniform.shape[1]):
        mixed: Any = 0.0
        first: Any = None
        for voice, reader in zip(voices, readers, strict=True):
            logits = rename_end(reader.next_logits(tokens)[:, :vocabulary].float(), voice.model.end_id, end_id)
            found = _probabilities(logits if voice.ends else hide_end(logits, end_id), temperature).to(device)
            first = found if first is None else first
            if not voice.ends:
                found = found * (1 - first[:, end_id]).unsqueeze(1)
                found[:, end_id] = first[:, end_id]
            mixed = mixed + voice.share * found
        tokens = pick(mixed, uniform[:, step])
        written.append(tokens.masked_fill(ended, end_id))
        ended = ended | tokens.eq(end_id)
        if bool(ended.all()):
            break
    return [_cut_off(row, end_id) for row in torch.stack(written, dim=1).tolist()]


def _probabilities(logits: torch.Tensor, temperature: float) -> torch.Tensor:
    if temperature == 0:
        return torch.zeros_like(logits).scatter(1, logits.argmax(1, keepdim=True), 1.0)
    return (logits / temperature).softmax(-1)


def pick(probabilities: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """Return the token [R] at which the cumulative sum of probabilities [R, V] exceeds uniform numbers [R].

    >>> pick(torch.tensor([[0.2, 0.0, 0.8]] * 3), torch.tensor([0.1, 0.2, 0.999])).tolist()
    [0, 2, 2]
    """
    sums = probabilities.double().cumsum(1)
    wanted = uniform.double().unsqueeze(1) * sums[:, -1:]
    return torch.searchsorted(sums, wanted, right=True).squeeze(1).clamp(max=probabilities.shape[1] - 1)


def _cut_off(row: list[int], end_id: int) -> list[int]:
    return row[: row.index(end_id) + 1] if end_id in row else row


def open_decoder(model: StudentModel, inputs: Sequence[list[int]], kind: str) -> "_Seq2SeqDecoder | _CausalDecoder":
    """Return a decoder whose ``next_logits`` continues some inputs token by token.

    Raises:
        StudentError: where the network has no key-value cache.
    """
    ids = pad(inputs, model.pad_id).to(model.device)
    mask = pad([[1] * len(row) for row in inputs], 0).to(model.device)
    if isinstance(model, Seq2SeqModel):
        return _Seq2SeqDecoder(model, ids, mask, kind)
    assert isinstance(model, DecoderOnlyModel)
    if not model.keeps_cache:
        raise StudentError(
            f"{type(model.model).__name__} has no key-value cache, which sampling needs. Choose an "
            "objective without sampling (respond, soft_targets), or another model."
        )
    return _CausalDecoder(model, ids, mask, kind)


class _Seq2SeqDecoder:
    def __init__(self, model: Seq2SeqModel, ids: torch.Tensor, mask: torch.Tensor, kind: str) -> None:
        self.model, self.mask = model, mask
        self.states = BaseModelOutput(last_hidden_state=model.encode({"input_ids": ids, "attention_mask": mask}, 1))
        self.start = ids.new_full((len(ids),), model.start_id(kind))
        self.cache: Any = None

    def next_logits(self, tokens: torch.Tensor | None) -> torch.Tensor:
        """Return the logits [R, V] after the tokens [R] that were written last; None: of the first token."""
        given = self.start if tokens is None else tokens
        output = self.model.model(
            encoder_outputs=self.states,
            attention_mask=self.mask,
            decoder_input_ids=given.unsqueeze(1),
            past_key_values=self.cache,
            use_cache=True,
        )
        self.cache = output.past_key_values
        return output.logits[:, -1]


class _CausalDecoder:
    def __init__(self, model: DecoderOnlyModel, ids: torch.Tensor, mask: torch.Tensor, kind: str) -> None:
        self.model = model
        self.ids, self.mask = align_right(ids, mask)
        if not isinstance(model, PlainDecoderOnly):
            self._append(self.ids.new_full((len(ids),), model.start_id(kind)), self.ids)
        self.cache: Any = None

    def _append(self, tokens: torch.Tensor, before: torch.Tensor) -> None:
        self.ids = torch.cat([before, tokens.unsqueeze(1)], dim=1)
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.mask), 1)], dim=1)

    def next_logits(self, tokens: torch.Tensor | None) -> torch.Tensor:
        """Return the logits [R, V] after the tokens [R] that were written last; None: of the first token."""
        if tokens is not None:
            self._append(tokens, self.ids[:, :0])
        output = self.model.model(
            **self.model.arguments(self.ids, self.mask, keep=1), past_key_values=self.cache, use_cache=True
        )
        self.cache = output.past_key_values
        return output.logits[:, -1]
