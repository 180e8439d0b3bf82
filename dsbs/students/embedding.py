"""Frozen sentence embeddings and logistic regression."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.checks import option_faults
from dsbs.core.errors import StudentError
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import Fields, read_json_file
from dsbs.students.encoder import PretrainedEncoder
from dsbs.students.folders import POOLING
from dsbs.students.linear import LinearStudent

POOLINGS = ("mean", "cls")
# What sentence-transformers calls the ways of pooling.
_MODES = {
    "mean_tokens": "mean",
    "cls_token": "cls",
    "max_tokens": "max",
    "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean_tokens": "weightedmean",
    "lasttoken": "lasttoken",
}


@dataclass
class Embedding(LinearStudent, PretrainedEncoder):
    """Embeddings of a frozen pretrained encoder, then multinomial logistic regression.

    Attributes:
        pooling: ``mean`` over all token states, or the first one's (``cls``).
    """

    format: ClassVar[str] = "embedding"

    kind: str = "embedding"
    C: list[float] = field(default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0])
    pooling: str = "mean"

    def faults(self) -> list[str]:
        return super().faults() + self.encoder_faults() + option_faults(self, "student.", pooling=POOLINGS)

    def identity(self) -> dict[str, object]:
        return self.encoder_identity()

    def check_source(self, source: Path | None) -> None:
        """Tell where the encoder was trained with another pooling."""
        if source is None or not (source / POOLING).is_file():
            return
        values = Fields(read_json_file(source / POOLING))
        own = values.text("pooling_mode")
        trained = (
            [own] if own else [mode for name, mode in _MODES.items() if values.raw(f"pooling_mode_{name}") is True]
        )
        if trained and trained != [self.pooling]:
            known = len(trained) == 1 and trained[0] in POOLINGS
            advice = f"Type student.pooling={trained[0]}" if known else "There is no such student.pooling"
            log_once(
                f"student.model={self.model} was trained with {' and '.join(trained)} pooling ({POOLING}), and is used "
                f"with {self.pooling}. {advice}."
            )

    def build_features(self, cache: Path) -> Any:
        """Return the encoder as a transformer of scikit-learn; embeddings are kept in the folder ``cache``.

        Raises:
            StudentError: where its weights are not available.
        """
        from transformers import AutoModel

        from dsbs.students.sentence_encoder import SentenceEncoder

        network, tokenizer = self.load_encoder(AutoModel)
        if network.config.is_encoder_decoder:
            raise StudentError(f"student.model={self.model} is an encoder-decoder; student=embedding needs an encoder.")
        return SentenceEncoder(network, tokenizer, self.pooling, self.max_input_tokens, cache)
