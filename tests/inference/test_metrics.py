import pytest
from quiz import Overlap, Quiz

from dsbs.core.records import Prediction
from dsbs.inference.metrics import score
from dsbs.tasks.answers import NumberAnswers


def test_no_answer_is_wrong_and_counted():
    result = score(Quiz(), [Prediction("1", "yes", "yes"), Prediction("2", "no", None), Prediction("3", "no", "yes")])
    assert (result.examples, result.correct, result.unanswered) == (3, 1, 1)
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.accuracy_by_class() == {"no": 0.0, "yes": 1.0}
    assert result.confusion == {("yes", "yes"): 1, ("no", None): 1, ("no", "yes"): 1}


def test_examples_without_gold_are_left_out_and_counted():
    result = score(Quiz(), [Prediction("1", None, "yes"), Prediction("2", "no", "no")])
    assert (result.examples, result.without_gold, result.accuracy) == (1, 1, 1.0)
    assert score(Quiz(), []).accuracy is None
    assert not Quiz().answers.equivalent(None, None)


def test_equations_are_right_by_value():
    assert score(Quiz(kind_of_answers=NumberAnswers()), [Prediction("1", "( 84.0 / 2.0 )", "42")]).accuracy == 1.0


def test_a_task_brings_a_metric_of_its_own() -> None:
    result = score(Overlap(), [Prediction("1", "the red kettle", "a red kettle"), Prediction("2", "blue", None)])
    assert result.figures() == {"overlap": pytest.approx(1 / 3), "examples": 2}
    assert (result.accuracy, result.unanswered) == (0.0, 1)
