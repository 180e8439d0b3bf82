"""Confidence measures beyond the scores of closed answers: agreement of samples, and mean log-probability.

Both work for free answers. They cost more than the answer itself: the samples, or one more pass.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dsbs.core.errors import ConfigError
from dsbs.core.records import Example, Prediction
from dsbs.inference.predictor import Predictor
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.students.answering import DecodingConfig

# Measures that follow from the scores of closed answers, and those computed here.
SCORED = ("probability", "margin")
MEASURED = ("agreement", "logprob")
SAMPLES, MAX_SAMPLES = 10, 1000
GENERATE, RANK = "generate", "rank"


@dataclass(frozen=True)
class SampledTexts:
    """A ``Writer`` that returns texts sampled before, for objectives to parse labels from.

    Attributes:
        texts: id of an example -> sampled text.
    """

    texts: dict[str, str]

    def write(self, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label") -> list[str]:
        """Return the sampled text of each example."""
        return [self.texts[example.id] for example in examples]


def add_confidence(
    predictor: Predictor, kind: str, examples: Sequence[Example], predictions: Sequence[Prediction], samples: int
) -> list[Prediction]:
    """Return the predictions with a confidence from 0 to 1; None where there is no answer.

    Args:
        kind: of ``MEASURED``. ``agreement``: the share of ``samples`` sampled answers that are the label
            (self-consistency, Wang et al., 2023). ``logprob``: e to the mean log-probability of the label's tokens
            (Malinin and Gales, 2021).
        examples, predictions: with unique ids, in the same order.

    Raises:
        ConfigError: for a student that does not generate.
    """
    if not isinstance(predictor, TorchPredictor):
        raise ConfigError(f"confidence={kind}: this student does not generate text; use probability or margin.")
    answered = [position for position, one in enumerate(predictions) if one.label is not None]
    part, given = [examples[position] for position in answered], [predictions[position] for position in answered]
    measure = _agreement if kind == "agreement" else _logprob
    found = dict(zip(answered, measure(predictor, part, given, samples), strict=True)) if part else {}
    return [replace(one, confidence=found.get(position)) for position, one in enumerate(predictions)]


def _agreement(
    predictor: TorchPredictor, examples: Sequence[Example], predictions: Sequence[Prediction], samples: int
) -> list[float]:
    reading = replace(predictor.reading, decoding=GENERATE)
    drawn = predictor.sample(examples, reading, samples)
    answers = predictor.task.answers
    agreeing = [0] * len(examples)
    for number in range(samples):
        texts = {example.id: texts[number] for example, texts in zip(examples, drawn, strict=True)}
        read = predictor.objective.read(SampledTexts(texts), examples, answers, reading)  # type: ignore[arg-type]
        for position, (one, prediction) in enumerate(zip(read, predictions, strict=True)):
            agreeing[position] += one.label is not None and answers.equivalent(one.label, prediction.label)
    return [count / samples for count in agreeing]


def _logprob(
    predictor: TorchPredictor, examples: Sequence[Example], predictions: Sequence[Prediction], samples: int
) -> list[float]:
    scores = [one.score for one in predictions]
    if any(score is None for score in scores):
        labels = [str(one.label) for one in predictions]
        single = [replace(example, choices=(label,)) for example, label in zip(examples, labels, strict=True)]
        ranking = replace(predictor, reading=replace(predictor.reading, decoding=RANK))
        scores = [one.score for one in ranking.predict(single)]
    if any(score is None for score in scores):
        raise ConfigError(
            "confidence=logprob: this student's label follows a rationale, so it has no log-probability of its "
            "own; use confidence=agreement."
        )
    lengths = predictor.student.lengths([str(one.label) for one in predictions])
    return [math.exp((score or 0.0) / length) for score, length in zip(scores, lengths, strict=True)]
