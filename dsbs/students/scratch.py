"""A small T5 trained from scratch, with a SentencePiece tokenizer trained on the task's texts."""

import io
import re
import string
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dsbs.core.checks import AT_LEAST_1, SHARE_BELOW_1, Range, range_faults
from dsbs.core.errors import StudentError
from dsbs.students.base import GenerativeStudent

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel

AT_LEAST_256 = Range("at least 256", lambda value: value >= 256)


@dataclass
class T5Scratch(GenerativeStudent):
    """A T5 with randomly initialized weights and a tokenizer of its own, the same for all objectives of a task.

    Attributes:
        vocab_size: maximum size of the tokenizer's vocabulary.
        d_model, d_kv, d_ff, num_layers, num_heads, dropout_rate: as in ``T5Config``; ``num_layers`` for encoder and
            decoder each.
    """

    reads_texts: ClassVar[bool] = True

    kind: str = "t5_scratch"
    vocab_size: int = 2000
    d_model: int = 128
    d_kv: int = 32
    d_ff: int = 256
    num_layers: int = 1
    num_heads: int = 4
    dropout_rate: float = 0.1

    def faults(self) -> list[str]:
        sizes = ("d_model", "d_kv", "d_ff", "num_layers", "num_heads")
        return [
            *super().faults(),
            *range_faults(self, AT_LEAST_1, *sizes, prefix="student."),
            *range_faults(self, AT_LEAST_256, "vocab_size", prefix="student."),
            *range_faults(self, SHARE_BELOW_1, "dropout_rate", prefix="student."),
        ]

    def build(self, texts: Iterable[str], prefix_on: str, seed: int) -> "StudentModel":
        """Train the tokenizer and initialize the weights; arguments are those of ``TorchStudent.prepare``.

        Raises:
            StudentError: where the texts have more characters than ``vocab_size``.
        """
        import torch
        from transformers import T5Config, T5ForConditionalGeneration

        from dsbs.students.seq2seq import Seq2SeqModel

        tokenizer = train_tokenizer(texts, self.vocab_size)
        config = T5Config(
            vocab_size=len(tokenizer),
            d_model=self.d_model,
            d_kv=self.d_kv,
            d_ff=self.d_ff,
            num_layers=self.num_layers,
            num_decoder_layers=self.num_layers,
            num_heads=self.num_heads,
            dropout_rate=self.dropout_rate,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
        config.decoder_start_token_id = tokenizer.pad_token_id
        torch.manual_seed(seed)
        return Seq2SeqModel(T5ForConditionalGeneration(config), tokenizer, prefix_on)


@contextmanager
def _naming_vocab_size(vocab_size: int) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        needed = re.search(r"smaller than required_chars\. \d+ vs (\d+)", str(error))
        if needed is None:
            raise
        raise StudentError(
            f"student.vocab_size={vocab_size}: the task's texts have so many distinct characters that they alone need "
            f"{needed[1]} entries. Try student.vocab_size={4 * int(needed[1])}, or a pretrained multilingual student."
        ) from error


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Return a T5 tokenizer with a unigram SentencePiece vocabulary over the texts and printable ASCII.

    Ids: pad 0, eos 1, unk 2.
    """
    import sentencepiece
    from transformers import T5Tokenizer

    lines = [line for text in texts for line in text.splitlines() if line.strip()]
    # The trainer takes its candidates from the distinct words, each as often as it has forms: a word of one form alone
    # would be cut into letters however often it occurs. So every word appears with punctuation behind it, too.
    words = dict.fromkeys(word for line in lines for word in re.findall(r"[^\W_][\w'-]*", line))
    lines += [f"{word} {word}, {word}. {word}:" for word in words]
    # Every printable character on its own, so that no answer is unknown to the tokenizer.
    lines += [" ".join(string.digits + string.ascii_letters + string.punctuation)] * 2
    model = io.BytesIO()
    with _naming_vocab_size(vocab_size):
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(lines),
            model_writer=model,  # its own writing ignores a full disk
            vocab_size=vocab_size,
            model_type="unigram",
            pad_id=0,
            eos_id=1,
            unk_id=2,
            bos_id=-1,
            hard_vocab_limit=False,
            character_coverage=1.0,
            normalization_rule_name="nmt_nfkc",
            max_sentence_length=16384,
            num_threads=1,
            minloglevel=2,
        )
    with tempfile.TemporaryDirectory(prefix="dsbs-") as folder:
        (Path(folder) / "spiece.model").write_bytes(model.getvalue())
        # `T5Tokenizer(vocab_file=...)` would silently give an empty vocabulary.
        return T5Tokenizer.from_pretrained(folder, extra_ids=0)
