"""From tokens to closed answers, against numbers worked out by hand."""

import math

import pytest

from dsbs.core.logprobs import TokenLogprobs, read_position
from dsbs.core.records import Completion
from dsbs.extraction.parsing import answer_probabilities
from dsbs.tasks.answers import ClosedAnswers

CUE = "So the answer is"


def tokens(*positions: dict[str, float]) -> tuple[TokenLogprobs, ...]:
    """Return positions of token -> probability; the first of each was written."""
    found = []
    for one in positions:
        [written, *_] = one
        position = read_position(written, math.log(one[written]), [(name, math.log(p)) for name, p in one.items()])
        assert position is not None
        found.append(position)
    return tuple(found)


def weigh(said: tuple[TokenLogprobs, ...], label: str, choices: tuple[str, ...], cue: str | None = CUE) -> object:
    text = b"".join(one.token for one in said).decode()
    return answer_probabilities(Completion(text, logprobs=said), label, choices, cue, ClosedAnswers())


def lead(*positions: dict[str, float]) -> tuple[TokenLogprobs, ...]:
    return tokens({f"Why. {CUE}": 1.0}, *positions)


def test_a_bracket_leads_on_to_the_letter() -> None:
    said = lead({" (": 0.9, " hotel": 0.05}, {"b": 0.5, "a": 0.25, "c": 0.25}, {")": 1.0}, {" bridge": 1.0}, {".": 1.0})
    found = weigh(said, "bridge", ("hotel", "bridge"))
    assert found == pytest.approx({"hotel": 0.9 * 0.25, "bridge": 0.9 * 0.5})


def test_several_tokens_of_one_answer_add_up_and_others_count_for_none() -> None:
    said = lead({" ref": 0.4, " refund": 0.2, " Ref": 0.1, " rep": 0.2, " the": 0.1}, {"und": 1.0}, {".": 1.0})
    assert weigh(said, "refund", ("refund", "replace")) == pytest.approx({"refund": 0.7, "replace": 0.2})


def test_an_answer_with_which_another_begins_is_told_by_what_follows() -> None:
    choices = ("yes", "yes and no")
    found = weigh(lead({" yes": 0.8, " no": 0.2}, {".": 0.7, " and": 0.3}), "yes", choices)
    assert found == pytest.approx({"yes": 0.8 * 0.7, "yes and no": 0.8 * 0.3})
    assert weigh(lead({" yes": 0.8, " no": 0.2}), "yes", choices) == pytest.approx({"yes": 0.8, "yes and no": 0.0})


def test_a_longer_word_is_another_answer() -> None:
    assert weigh(lead({" no": 0.6, " not": 0.3}, {".": 1.0}), "no", ("no", "yes")) == pytest.approx(
        {"no": 0.6, "yes": 0.0}
    )


def test_an_answer_alone_begins_with_the_text() -> None:
    said = tokens({"no": 0.75, "yes": 0.25}, {"\n": 1.0})
    assert weigh(said, "no", ("no", "yes"), None) == pytest.approx({"no": 0.75, "yes": 0.25})


def test_letters_of_several_bytes_and_alternatives_that_are_parts_of_letters() -> None:
    said = lead({" é": 0.5, "bytes:\\xc3": 0.25, " yes": 0.25}, {"t": 1.0}, {"é": 1.0}, {".": 1.0})
    # The half letter follows no space, but begins the same answer.
    assert weigh(said, "été", ("été", "yes")) == pytest.approx({"été": 0.75, "yes": 0.25})


@pytest.mark.parametrize(("label", "other"), [("Да", "Нет"), ("Ärger", "Freude"), ("ΝΑΙ", "ΟΧΙ")])
def test_capitals_beyond_ascii_are_found_as_they_are_written(label: str, other: str) -> None:
    said = lead({f" {label[:1]}": 0.75, f" {other[:1]}": 0.25}, {label[1:]: 1.0}, {".": 1.0})
    assert weigh(said, label, (label, other)) == pytest.approx({label: 0.75, other: 0.25})


def test_where_the_answer_cannot_be_found_nothing_is_told() -> None:
    assert weigh(lead({" yes": 1.0}), "no", ("yes", "no")) is None
    assert weigh(tokens({"Well.": 1.0}), "no", ("yes", "no")) is None
    assert weigh(lead(), "no", ("yes", "no")) is None
    bare = (*lead(), TokenLogprobs(b" yes", None))
    assert weigh(bare, "yes", ("yes", "no")) is None
