"""Perplexity of a student on reference texts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsbs.core.distributed import count_processes, gather, rank
from dsbs.core.records import Example, Target

if TYPE_CHECKING:
    from dsbs.students.answering import DecodingConfig
    from dsbs.students.model import StudentModel

TOKENS_PER_PASS = 2048  # with their logits a few hundred megabytes
NO_BOUND = 2**31


@dataclass(frozen=True)
class Perplexity:
    """A perplexity over references.

    Attributes:
        nll: sum of their tokens' negative log-probabilities, in nats.
        tokens: number of their tokens, end tokens included.
    """

    nll: float
    tokens: int

    @property
    def value(self) -> float:
        """e to the mean over all tokens of all references; infinite where that exceeds floats.

        >>> Perplexity(math.log(2) * 10, 10).value
        2.0
        """
        mean = self.nll / self.tokens if self.tokens else math.inf
        return math.exp(mean) if mean < 700 else math.inf

    def figures(self) -> dict[str, float | int | None]:
        """Return perplexity and tokens, as ``metrics.json`` has them; an infinite perplexity is None."""
        return {"perplexity": self.value if math.isfinite(self.value) else None, "perplexity_tokens": self.tokens}


def measure_perplexity(
    student: "StudentModel", examples: Sequence[Example], reading: "DecodingConfig"
) -> Perplexity | None:
    """Return the perplexity of gold answers given their inputs; None where there are none.

    It is over the student's own tokens, so only students with the same tokenizer can be compared. Of an answer that is
    longer than a student with a fixed number of positions reads, only the beginning counts.

    Args:
        examples: those without a gold answer are left out.
        reading: for the length of inputs, and bfloat16.
    """
    from accelerate.utils import send_to_device

    from dsbs.objectives.losses import count_tokens, target_log_likelihoods
    from dsbs.students.collator import Collator, cut_passes, tokenize
    from dsbs.students.decoding import inference

    known = [(example.input, [Target("label", example.label)]) for example in examples if example.label is not None]
    if not known:
        return None
    inputs, targets = zip(*known, strict=True)
    before = 0 if student.config.is_encoder_decoder else reading.max_input_tokens
    most = max(1, (getattr(student.config, "max_position_embeddings", None) or NO_BOUND) - before)
    rows, _ = tokenize(student, inputs, targets, reading.max_input_tokens, most)
    nll, tokens = 0.0, 0
    for part in cut_passes(rows, TOKENS_PER_PASS):
        batch = send_to_device(Collator(student)(part), student.device)
        labels = batch["targets"]["label"]["labels"]
        with inference(student, reading.bf16):
            logits = student(batch["inputs"], batch["targets"])["label"]
            nll -= float(target_log_likelihoods(logits, labels).double().sum())
        tokens += int(count_tokens(labels).sum())
    return Perplexity(nll, tokens)


def mean_token_log_probability(
    student: "StudentModel", examples: Sequence[Example], reading: "DecodingConfig"
) -> float | None:
    """Return the mean log-probability of the tokens of gold answers, in nats; None where there are none.

    Each process measures a share of the examples; all return the same number. Arguments are those of
    ``measure_perplexity``.
    """
    found = gather([measure_perplexity(student, examples[rank() :: count_processes()], reading)])
    parts = [part for part in found if part is not None]
    return -sum(part.nll for part in parts) / sum(part.tokens for part in parts) if parts else None
