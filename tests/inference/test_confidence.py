"""How sure a student is of what it writes: samples that agree, and the log-probability of its words."""

import math
from dataclasses import replace

import pytest
import torch
from quiz import Quiz
from tiny import examples, tiny_t5

from dsbs.core.errors import ConfigError, StudentError
from dsbs.core.records import Example, Prediction
from dsbs.inference.confidence import add_confidence
from dsbs.inference.predictor import Predictor
from dsbs.inference.torch_predictor import TorchPredictor
from dsbs.objectives import Finetune, Objective, RationaleThenLabel
from dsbs.students.answering import DecodingConfig
from dsbs.students.sampling import sample_labels
from dsbs.tasks.answers import FreeAnswers

FREE = [replace(example, choices=None) for example in examples(4)]


def predictor(objective: Objective | None = None, **reading: object) -> TorchPredictor:
    config = DecodingConfig(batch_size=4, max_input_tokens=24, max_new_tokens=6, **reading)  # type: ignore[arg-type]
    task = Quiz(kind_of_answers=FreeAnswers())
    return TorchPredictor(tiny_t5().eval(), task, objective or Finetune(name="finetune"), config)


def labelled(text: str | None) -> list[Prediction]:
    return [Prediction(example.id, example.label, text) for example in FREE]


def test_the_log_probability_of_a_written_label_over_its_length() -> None:
    one = predictor()
    found = add_confidence(one, "logprob", FREE, labelled("repair"), 0)
    [length] = one.student.lengths(["repair"])
    single = [replace(example, choices=("repair",)) for example in FREE]
    for prediction, ranked in zip(found, one.student.rank(single, one.reading), strict=True):
        assert ranked.score is not None
        assert prediction.confidence == pytest.approx(math.exp(ranked.score / length), rel=1e-4)


def test_closed_answers_have_their_log_probability_already() -> None:
    one = predictor()
    predictions = one.predict(examples(3))
    found = add_confidence(one, "logprob", examples(3), predictions, 0)
    for prediction, before in zip(found, predictions, strict=True):
        [length] = one.student.lengths([str(before.label)])
        assert prediction.confidence == pytest.approx(math.exp(float(before.score or 0) / length))


@pytest.mark.parametrize("objective", [Finetune(name="finetune"), RationaleThenLabel(name="rationale_then_label")])
def test_agreement_is_the_share_of_samples_with_the_label(
    objective: Objective, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = predictor(objective)
    words = ["refund", "repair", "refund", "replace"]
    if objective.name == "rationale_then_label":
        words = [f"It leaks. So the answer is {word}." for word in words]
    monkeypatch.setattr("dsbs.students.sampling.sample_labels", lambda *parts: [words] * len(FREE))
    found = add_confidence(one, "agreement", FREE, labelled("refund"), 4)
    assert [prediction.confidence for prediction in found] == [0.5] * 4


def test_samples_are_drawn_by_input_and_seed() -> None:
    one = predictor()
    drawn = sample_labels(one.student, FREE, one.reading, 3, seed=1)
    assert [len(texts) for texts in drawn] == [3] * 4
    assert sample_labels(one.student, FREE[2:3], one.reading, 3, seed=1) == drawn[2:3]
    assert sample_labels(one.student, FREE, one.reading, 3, seed=2) != drawn


def test_no_answer_has_no_confidence_and_other_students_say_what_to_use() -> None:
    assert [one.confidence for one in add_confidence(predictor(), "logprob", FREE, labelled(None), 0)] == [None] * 4
    with pytest.raises(ConfigError, match="confidence=agreement"):
        add_confidence(predictor(RationaleThenLabel(name="x")), "logprob", FREE, labelled("refund"), 0)

    encoder = replace(predictor(), student=torch.nn.Identity())  # type: ignore[arg-type]
    with pytest.raises(StudentError, match="no decoder"):
        add_confidence(encoder, "agreement", FREE, labelled("refund"), 4)

    class Classical:
        def predict(self, examples: list[Example]) -> list[Prediction]:
            return []

    classical: Predictor = Classical()  # type: ignore[assignment]
    with pytest.raises(ConfigError, match="probability or margin"):
        add_confidence(classical, "agreement", FREE, labelled("refund"), 4)
