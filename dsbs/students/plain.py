"""Models without task prefixes, as they come from a hub: teachers, and students before training."""

import copy
from typing import Any

import torch

from dsbs.students.base import check_place
from dsbs.students.causal import PACKAGED, Causal
from dsbs.students.decoder_only import DecoderOnlyModel, Prompt, align_right
from dsbs.students.loading import explaining, open_model
from dsbs.students.model import StudentModel
from dsbs.students.seq2seq import Seq2SeqModel

PLAIN = "none"  # the `prefix_on` of such a model


class PlainDecoderOnly(DecoderOnlyModel):
    """A causal language model without task prefixes: a target directly follows its prompt.

    The first token of decoder inputs, the prefix of other students, is left out: the last token of the prompt predicts
    the first of the target. Targets have no end token, which such a model seldom writes there.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer, PLAIN)

    def end_turns(self) -> None:
        """Take what ends a turn in the chat template for the end token, which some tokenizers do not name (Gemma)."""
        if not self.tokenizer.chat_template:
            return
        answer = "An answer."
        messages = [{"role": "user", "content": "A question."}, {"role": "assistant", "content": answer}]
        _, found, after = str(self.tokenizer.apply_chat_template(messages, tokenize=False)).rpartition(answer)
        ids = self.tokenizer(after.strip(), add_special_tokens=False)["input_ids"]
        if found and ids and ids[0] in self.tokenizer.added_tokens_decoder:
            self._end_id = ids[0]

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        """Return the token ids of targets, without an end token."""
        return [row[:-1] or row for row in super().encode_targets(texts)]

    @property
    def shares_prompt(self) -> bool:
        """False: the logits at the prompt's end, which predict the first token, are not among keys and values."""
        return False

    def decode_logits(
        self, states: Prompt, attention_mask: torch.Tensor, decoder_input_ids: torch.Tensor
    ) -> torch.Tensor:
        """Return logits [R, T, V]; the first token of ``decoder_input_ids`` [R, T] is ignored."""
        written, length = decoder_input_ids[:, 1:], decoder_input_ids.shape[1]
        ids = torch.cat([states.ids, written], dim=1)
        mask = torch.cat([attention_mask.flip(1), torch.ones_like(written)], dim=1)
        return self.model(**self.arguments(ids, mask, keep=length), use_cache=False).logits[:, -length:]

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        """Return one text for each input, decoded greedily after the prompt."""
        ids, mask = align_right(inputs["input_ids"], inputs["attention_mask"])
        written = self.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
        )
        return self.decode(written[:, ids.shape[1] :].tolist())


def copy_plain(student: StudentModel) -> StudentModel:
    """Return a copy of a student, with its current weights, that uses no task prefixes."""
    network = copy.deepcopy(student.model)
    if isinstance(student, Seq2SeqModel):
        network.config.decoder_start_token_id = student.plain_start_id
    return build_plain(network, copy.deepcopy(student.tokenizer))


def build_plain(network: Any, tokenizer: Any) -> StudentModel:
    """Return a network as a model that uses no task prefixes."""
    if network.config.is_encoder_decoder:
        return Seq2SeqModel(network, tokenizer, PLAIN)
    return PlainDecoderOnly(network, tokenizer)


def load_plain(model: str, revision: str | None = None) -> StudentModel:
    """Return a pretrained model without task prefixes.

    Raises:
        StudentError: where it is not available.
    """
    with (
        explaining(f"{model}: no model could be loaded from there"),
        open_model(_place(model), revision=revision) as opened,
    ):
        return build_plain(opened.network(), opened.tokenizer())


def load_plain_tokenizer(model: str, revision: str | None = None) -> Any:
    """Return the tokenizer of a pretrained model without loading its weights.

    Raises:
        StudentError: where it is not available.
    """
    with (
        explaining(f"{model}: no tokenizer could be loaded from there"),
        open_model(_place(model), revision=revision) as opened,
    ):
        return opened.tokenizer()


def _place(model: str) -> str:
    check_place(model)
    return Causal(model=PACKAGED).place() if model == PACKAGED else model
