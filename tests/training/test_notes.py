"""What a run's figures cannot say is said beside them."""

import pytest

from dsbs.core.records import Example, Prediction
from dsbs.data.join import RunData
from dsbs.inference.metrics import score
from dsbs.tasks.triage import TriageTask
from dsbs.training.notes import describe_answers, describe_missing_labels

MANY = tuple("abcdefgh")


def run_data(choices: tuple[str, ...] | None, taught: str, tested: str) -> RunData:
    test = [Example(str(number), "x", label, choices) for number, label in enumerate(tested)]
    return RunData(None, test[:1], test, taught=frozenset(taught))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("choices", "taught", "tested", "told"),
    [
        (("a", "b"), "ab", "ab", []),
        (("a", "b"), "a", "ab", ["No training example has the label b: the student cannot learn it."]),
        (("a", "b"), "ab", "bb", ["No test example has the label a: the figures on test do not cover it."]),
        (
            MANY,
            "a",
            MANY,
            ["No training example has the labels b, c, d, e, f and 2 more: the student cannot learn them."],
        ),
        (None, "a", "b", []),
        (None, "a", "bb", ["All 2 test examples have the same answer: b."]),
        (("a", "b"), "a", "", []),
    ],
)
def test_labels_without_an_example_are_told(
    choices: tuple[str, ...] | None, taught: str, tested: str, told: list[str]
) -> None:
    assert describe_missing_labels(run_data(choices, taught, "".join(tested))) == told


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        (["a", "b", "a"], []),
        (["b", "b", "b"], ["The student answers all 3 test examples alike: b."]),
        ([None, "b", "b"], ["1 of 3 answers to test could not be read as an answer of the task; they count as wrong."]),
        ([None] * 3, ["3 of 3 answers to test could not be read as an answer of the task; they count as wrong."]),
    ],
)
def test_answers_that_cannot_be_read_or_are_all_the_same_are_told(answers: list[str | None], told: list[str]) -> None:
    golds = ("a", "b", "b")
    predictions = [Prediction(gold, gold, answer) for gold, answer in zip(golds, answers, strict=True)]
    assert describe_answers(score(TriageTask(), predictions)) == told


def test_one_answer_that_is_always_right_is_no_news() -> None:
    assert describe_answers(score(TriageTask(), [Prediction("1", "a", "a"), Prediction("2", "a", "a")])) == []
