"""How answers are read out of a student: closed answers are ranked, free answers are written. No tensors here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dsbs.core.errors import DataError
from dsbs.core.records import Example, Prediction
from dsbs.tasks.base import Answers

# What may stay unread of answers that cannot win (`DecodingConfig.negligible`). Where the best answer alone matters, as
# much as was read: ranking costs about as much as writing (docs/training.md). Where its confidence does, hardly any.
BEST_ONLY = 1.0
CONFIDENT = 1e-4


@dataclass(frozen=True)
class DecodingConfig:
    """How to read answers.

    Attributes:
        decoding: ``rank``, ``generate``, or ``auto``: rank where the examples have closed answers.
        batch_size: examples per forward pass.
        max_input_tokens: longer inputs are truncated.
        max_new_tokens: maximum generated tokens.
        suffix: what a target has behind the label, for objectives that write on.
        bf16: bfloat16 autocast.
        negligible: where closed answers are many, those that cannot win and are together less probable than this share
            of those that were read are not read to their end: their scores are upper bounds, and the confidence is a
            lower one. 0: all are read.
    """

    decoding: str = "auto"
    batch_size: int = 64
    max_input_tokens: int = 512
    max_new_tokens: int = 128
    suffix: str = ""
    bf16: bool = False
    negligible: float = 0.0

    def ranks(self, examples: Sequence[Example]) -> bool:
        """Return whether closed answers are to be ranked."""
        return self.decoding != "generate" and all(example.choices for example in examples)


class Writer(Protocol):
    """What answers are read from: a torch student, or one that was exported to another engine."""

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the most probable closed answer of each example, with the log-probabilities of all, in nats."""

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return what is written for each example, greedily, in their order."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return how many tokens labels have, their end included."""


def read_labels(
    student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
) -> list[Prediction]:
    """Return a prediction of the label for each example, in their order."""
    if reading.ranks(examples):
        return student.rank(examples, reading)
    texts = student.write(examples, reading)
    return [
        Prediction(example.id, example.label, answers.parse(text, example.choices))
        for example, text in zip(examples, texts, strict=True)
    ]


def add_rationales(
    student: Writer, examples: Sequence[Example], predictions: list[Prediction], reading: DecodingConfig
) -> list[Prediction]:
    """Return the predictions with the rationale that the student writes, for those who want to read it."""
    texts = student.write(examples, reading, kind="rationale")
    return [replace(prediction, rationale=text) for prediction, text in zip(predictions, texts, strict=True)]


def choose(example: Example, scores: Mapping[str, float]) -> Prediction:
    """Return the most probable of an example's closed answers, by the log-probabilities of those that a student knows.

    An answer that it does not know, because it was in no training example, has the log-probability minus infinity.

    >>> prediction = choose(Example("1", "Is fire cold?"), {"no": math.log(0.3), "yes": math.log(0.1)})
    >>> prediction.label, round(prediction.confidence or 0, 6)
    ('no', 0.75)
    >>> choose(Example("1", "", choices=("no", "perhaps")), {"yes": -0.1, "no": -2.5}).scores
    {'no': -2.5, 'perhaps': -inf}

    Raises:
        DataError: where it knows none of them.
    """
    known = {choice: scores.get(choice, -math.inf) for choice in example.choices or scores}
    if not scores.keys() & known.keys():
        raise DataError(
            f"example {example.id}: this student knows none of the choices {', '.join(known)}. It can answer: "
            f"{', '.join(scores)}."
        )
    return Prediction.ranked(example.id, example.label, known)
