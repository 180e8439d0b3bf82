"""What a run's figures cannot say is said beside them."""

import pytest

from dsbs.core.records import Example
from dsbs.data.join import RunData
from dsbs.training.notes import describe_missing_labels

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
        (("a", "b"), "a", "", []),
    ],
)
def test_labels_without_an_example_are_told(
    choices: tuple[str, ...] | None, taught: str, tested: str, told: list[str]
) -> None:
    assert describe_missing_labels(run_data(choices, taught, "".join(tested))) == told
