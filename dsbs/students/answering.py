"""Answers of a student: closed answers are ranked, free answers are generated. No tensors here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dsbs.core.errors import DataError
from dsbs.core.records import Example, Prediction
from dsbs.tasks.base import Answers

# Values of `DecodingConfig.negligible`. Where only the best answer matters, answers that cannot win are left unscored:
# ranking then costs about as much as generating (docs/training.md). Where its confidence matters, hardly any.
BEST_ONLY = 1.0
CONFIDENT = 1e-4


@dataclass(frozen=True)
class DecodingConfig:
    """How a student answers.

    Attributes:
        decoding: ``rank``, ``generate``, or ``auto``: rank where the examples have closed answers.
        suffix: text after the label in a target, for objectives whose targets continue.
        negligible: with many closed answers, those that cannot win and are together less probable than this share of
            the scored ones are not scored to their end: their scores are upper bounds, and the confidence is a lower
            bound. 0: all are scored.
    """

    decoding: str = "auto"
    batch_size: int = 64
    max_input_tokens: int = 512
    max_new_tokens: int = 128
    suffix: str = ""
    bf16: bool = False
    negligible: float = 0.0

    def ranks(self, examples: Sequence[Example]) -> bool:
        """Return whether the answers of these examples are ranked; else they are generated."""
        return self.decoding != "generate" and all(example.choices for example in examples)


class Writer(Protocol):
    """A student that answers: a torch student, or one that was exported to another engine."""

    def rank(self, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
        """Return the most probable closed answer of each example, with the log-probabilities of all, in nats."""

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return the text generated for each example, greedily, in their order."""

    def lengths(self, texts: Sequence[str]) -> list[int]:
        """Return the number of tokens of each label, the end token included."""


def read_labels(
    student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
) -> list[Prediction]:
    """Return the predicted label of each example, in their order: ranked or generated, as ``reading.ranks`` says."""
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
    """Return the predictions with the rationale that the student generates for each example."""
    texts = student.write(examples, reading, kind="rationale")
    return [replace(prediction, rationale=text) for prediction, text in zip(predictions, texts, strict=True)]


def choose(example: Example, scores: Mapping[str, float]) -> Prediction:
    """Return the prediction of a student that knows the answers of its training alone.

    Choices that it does not know have the log-probability minus infinity.

    Args:
        scores: answer -> log-probability in nats, for the answers that the student knows.

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
