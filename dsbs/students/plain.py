"""Models as they come from a hub: they know no task prefixes. They teach, or are measured beside their students."""

import copy
from typing import Any

import torch

from dsbs.core.errors import StudentError
from dsbs.students.base import check_place
from dsbs.students.causal import PACKAGED, Causal
from dsbs.students.decoder_only import DecoderOnlyModel, Prompt, align_right
from dsbs.students.loading import open_model, tell
from dsbs.students.model import StudentModel
from dsbs.students.seq2seq import Seq2SeqModel

PLAIN = "none"  # where the task prefixes of such a model stand


class PlainSeq2Seq(Seq2SeqModel):
    """An encoder-decoder without task prefixes."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer, PLAIN)


class PlainDecoderOnly(DecoderOnlyModel):
    """A causal language model without task prefixes: a target follows its prompt, and nothing stands between them.

    Where the first token of decoder inputs stands for the prefix that others have, here it is left out: the end of the
    prompt says what comes first. A target that is ranked has no end token, which such a model seldom writes there.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer, PLAIN)

    def encode_targets(self, texts: list[str]) -> list[list[int]]:
        return [row[:-1] or row for row in super().encode_targets(texts)]

    @property
    def shares_prompt(self) -> bool:
        """Never: what comes first is read off the prompt's end, which the keys and values of a prompt do not hold."""
        return False

    def decode_logits(
        self,
        states: Prompt,
        attention_mask: torch.Tensor,
        decoder_input_ids: torch.Tensor,
        blocks: torch.Tensor | None = None,
    ) -> torch.Tensor:
        written, length = decoder_input_ids[:, 1:], decoder_input_ids.shape[1]
        ids = torch.cat([states.ids, written], dim=1)
        mask = torch.cat([attention_mask.flip(1), torch.ones_like(written)], dim=1)
        return self.model(**self.arguments(ids, mask, keep=length), use_cache=False).logits[:, -length:]

    def generate(self, inputs: dict[str, torch.Tensor], kind: str, max_new_tokens: int) -> list[str]:
        ids, mask = align_right(inputs["input_ids"], inputs["attention_mask"])
        written = self.model.generate(
            input_ids=ids, attention_mask=mask, max_new_tokens=max_new_tokens, do_sample=False, num_beams=1
        )
        return self.decode(written[:, ids.shape[1] :].tolist())


def copy_plain(student: StudentModel) -> StudentModel:
    """Return a copy of a student's network, as it is now, that goes without task prefixes."""
    built = PlainSeq2Seq if student.config.is_encoder_decoder else PlainDecoderOnly
    network = copy.deepcopy(student.model)
    if isinstance(student, Seq2SeqModel):
        network.config.decoder_start_token_id = student.plain_start_id
    return built(network, copy.deepcopy(student.tokenizer))


def load_plain(model: str, revision: str | None = None) -> StudentModel:
    """Return a model as it comes.

    Args:
        model: a hub name, a folder or a GGUF file; an encoder-decoder or a decoder.
        revision: branch, tag or commit on the hub.

    Raises:
        StudentError: where it cannot be had.
    """
    try:
        with open_model(_place(model), revision=revision) as opened:
            network, tokenizer = opened.network(), opened.tokenizer()
        return (PlainSeq2Seq if network.config.is_encoder_decoder else PlainDecoderOnly)(network, tokenizer)
    except Exception as error:  # whatever a broken or hostile file makes the loaders raise
        raise StudentError(f"{model}: no model could be loaded from there ({tell(error)}).") from error


def load_plain_tokenizer(model: str, revision: str | None = None) -> Any:
    """Return the tokenizer of such a model without its weights.

    Raises:
        StudentError: where it cannot be had.
    """
    try:
        with open_model(_place(model), revision=revision) as opened:
            return opened.tokenizer()
    except Exception as error:  # whatever a broken or hostile file makes the loaders raise
        raise StudentError(f"{model}: no tokenizer could be loaded from there ({tell(error)}).") from error


def _place(model: str) -> str:
    check_place(model)
    return Causal(model=PACKAGED).place() if model == PACKAGED else model
