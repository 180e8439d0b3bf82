"""Test inputs that stand in train as well."""

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbs.data import overlap
from dsbs.data.overlap import FEWEST_WORDS, Overlap, count_overlap, describe_overlap, words_of
from dsbs.tasks.equal_inputs import input_key
from dsbs.tasks.release import ReleaseTask

WORDS = [*"abcdefghij", "Zwölf", "ÄRGER", "3", "x7"]
INPUTS = st.lists(st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join), max_size=12)


def is_near(one: str, other: str) -> bool:
    """As it is defined, without any index."""
    first, second = words_of(one), words_of(other)
    return len(first) >= FEWEST_WORDS and 10 * len(first & second) >= 9 * len(first | second)


@given(INPUTS, INPUTS)
@settings(deadline=None)
def test_what_is_found_is_what_comparing_every_pair_finds(inputs: list[str], others: list[str]) -> None:
    known = {input_key(other) for other in others}
    found = count_overlap(inputs, others)
    assert found.same == sum(input_key(text) in known for text in inputs)
    assert found.near == sum(
        input_key(text) not in known and any(is_near(text, other) for other in others) for text in inputs
    )
    assert found.complete


def test_long_near_duplicates_are_found_at_the_edge() -> None:
    words = [f"w{chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(200)]
    for size in range(FEWEST_WORDS, 60):
        for changed in range(4):
            text, other = " ".join(words[:size]), " ".join([*words[: size - changed], *words[100 : 100 + changed]])
            same = changed == 0
            assert count_overlap([text], [other]).near == (not same and is_near(text, other)), (size, changed)


def test_numbers_are_set_aside_and_case_and_space_do_not_count() -> None:
    found = count_overlap(
        ["Tim had 3 red apples and ate 2.", "what is  THAT?", "What else?"],
        ["Tim had 14 red apples and ate 20.", "What is that?"],
    )
    assert (found.examples, found.same, found.near) == (3, 1, 1)


def test_svamp_asks_in_test_what_it_asks_in_train_with_other_numbers(data_folder: Path) -> None:
    task = ReleaseTask(name="svamp", benchmark="svamp", path=str(data_folder / "svamp"))
    test, train = ([example.input for example in task.examples(split)] for split in ("test", "train"))
    assert count_overlap(test, train) == Overlap(200, 0, 112, 200)


def test_of_many_some_are_compared_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "MAX_COMPARED", 10)
    texts = [f"the letter {chr(97 + n)}{chr(97 + m)} is a fine thing" for n in range(5) for m in range(5)]
    found = count_overlap(texts, [text.replace("fine", "very fine") for text in texts])
    assert (found.examples, found.compared) == (25, 10)
    (told,) = describe_overlap(found.figures()) if found.near else ("of 10 that were compared",)
    assert "of 10 that were compared" in told
    drawn = {text for text in texts if count_overlap([text], []).compared}
    assert drawn == set(texts)


def test_comparing_ends_where_there_are_too_many_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overlap, "MAX_PAIRS", 50)
    draw = random.Random(0)
    texts = [" ".join(draw.choices("abcdefghijklmnopqrst", k=12)) for _ in range(200)]
    found = count_overlap(texts[:100], texts[100:] + texts[:1])
    assert not found.complete
    assert found.same == 1  # equal ones are counted all the same
    assert "at least 4" in describe_overlap(found.figures() | {"near": 4})[0]


def test_nothing_is_said_where_nothing_stands_in_both() -> None:
    assert describe_overlap(count_overlap(["one fine day it rained"], ["nobody came here at all"]).figures()) == []
    assert describe_overlap(None) == []
