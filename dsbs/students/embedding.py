"""Frozen sentence embeddings and logistic regression."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.checks import option_faults
from dsbs.students.encoder import PretrainedEncoder
from dsbs.students.linear import LinearStudent

POOLINGS = ("mean", "cls")


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

    def build_features(self, cache: Path) -> Any:
        """Return the encoder as a transformer of scikit-learn; embeddings are kept in the folder ``cache``.

        Raises:
            StudentError: where its weights are not available.
        """
        from transformers import AutoModel

        from dsbs.students.sentence_encoder import SentenceEncoder

        network, tokenizer = self.load_encoder(AutoModel)
        return SentenceEncoder(network, tokenizer, self.pooling, self.max_input_tokens, cache)
