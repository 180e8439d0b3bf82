import pytest

from dsbs.core.records import Prediction
from dsbs.inference.metrics import is_correct, score
from dsbs.tasks.answers import ClosedAnswers, NumberAnswers

NLI = ClosedAnswers(("yes", "no"))


def test_no_answer_is_wrong_and_counted():
    result = score(NLI, [Prediction("1", "yes", "yes"), Prediction("2", "no", None), Prediction("3", "no", "yes")])
    assert (result.examples, result.correct, result.unanswered) == (3, 1, 1)
    assert result.accuracy == pytest.approx(1 / 3)
    assert result.accuracy_by_class() == {"no": 0.0, "yes": 1.0}
    assert result.confusion == {("yes", "yes"): 1, ("no", None): 1, ("no", "yes"): 1}


def test_examples_without_gold_are_left_out_and_counted():
    result = score(NLI, [Prediction("1", None, "yes"), Prediction("2", "no", "no")])
    assert (result.examples, result.without_gold, result.accuracy) == (1, 1, 1.0)
    assert score(NLI, []).accuracy is None
    assert not is_correct(NLI, None, None)


def test_equations_are_right_by_value():
    assert score(NumberAnswers(), [Prediction("1", "( 84.0 / 2.0 )", "42")]).accuracy == 1.0
