"""Answers read out of a student: closed ones ranked, free ones written."""

import pytest
import torch
from tiny import CHOICES, examples, tiny_t5

from dsbs.core.records import Example
from dsbs.students.answering import add_rationales, read_labels
from dsbs.students.decoding import DecodingConfig, generate, rank
from dsbs.students.model import StudentModel
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers


@pytest.fixture(scope="module")
def student() -> StudentModel:
    return tiny_t5()


@pytest.fixture(params=["as a tree", "apart"])
def way(request: pytest.FixtureRequest, student: StudentModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """All choices of an example in one row of the decoder, or a row for each."""
    if request.param == "apart":
        monkeypatch.setattr(student, "grows", False)


def score_by_hand(student: StudentModel, text: str, choice: str) -> float:
    """Return the log-probability of a choice, its end included, from the Hugging Face model alone."""
    ids = student.encode_inputs([text], "label", 512)
    [target] = student.encode_targets([choice])
    given = torch.tensor([[student.start_id("label"), *target[:-1]]])
    with torch.no_grad():
        logits = student.model.eval()(input_ids=torch.tensor(ids), decoder_input_ids=given).logits[0]
    return sum(logits[place].log_softmax(-1)[id].item() for place, id in enumerate(target))


@pytest.mark.usefixtures("way")
def test_a_score_is_the_sum_of_log_probabilities_with_the_end(student: StudentModel) -> None:
    for example, prediction in zip(examples(5), rank(student, examples(5), DecodingConfig(batch_size=2)), strict=True):
        by_hand = {choice: score_by_hand(student, example.input, choice) for choice in CHOICES}
        best = max(by_hand, key=by_hand.__getitem__)
        assert prediction.label == best
        assert prediction.score == pytest.approx(by_hand[best], abs=1e-4)
        assert (prediction.id, prediction.gold) == (example.id, example.label)


@pytest.mark.usefixtures("way")
def test_each_example_chooses_among_its_own_choices(student: StudentModel) -> None:
    own = [
        Example("a", "the kettle", None, ("refund", "it")),
        Example("b", "a sofa is a piece of furniture", None, ("shop", "sofa", "a piece of furniture")),
        Example("c", "the shop", None, ("repair",)),
    ]
    for example, prediction in zip(own, rank(student, own, DecodingConfig()), strict=True):
        assert prediction.label in (example.choices or ())
        assert prediction.score == pytest.approx(score_by_hand(student, example.input, prediction.label), abs=1e-4)


def test_a_choice_that_is_listed_twice_is_scored_once(student: StudentModel) -> None:
    twice = [Example("1", "the kettle", "refund", ("refund", "it", "refund", "shop", "it"))]
    once = [Example("1", "the kettle", "refund", ("refund", "it", "shop"))]
    assert rank(student, twice, DecodingConfig()) == rank(student, once, DecodingConfig())


@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 64])
def test_batch_size_changes_neither_answers_nor_their_order(student: StudentModel, batch_size: int) -> None:
    every = rank(student, examples(11), DecodingConfig(batch_size=64))
    some = rank(student, examples(11), DecodingConfig(batch_size=batch_size))
    assert [(one.id, one.label) for one in some] == [(one.id, one.label) for one in every]
    assert [one.id for one in some] == [str(number) for number in range(11)]
    assert [one.score for one in some] == pytest.approx([one.score for one in every], abs=1e-4)
    texts = generate(student, examples(11), DecodingConfig(batch_size=batch_size, max_new_tokens=5))
    assert texts == generate(student, examples(11), DecodingConfig(max_new_tokens=5))


def test_closed_answers_are_ranked_and_free_ones_written(student: StudentModel) -> None:
    assert all(one.score is not None for one in read_labels(student, examples(3), ClosedAnswers(), DecodingConfig()))
    written = read_labels(student, examples(3, choices=None), FreeAnswers(), DecodingConfig(max_new_tokens=3))
    assert all(one.score is None for one in written)
    asked = read_labels(student, examples(3), ClosedAnswers(), DecodingConfig("generate", max_new_tokens=3))
    assert all(one.score is None and one.label in (None, *CHOICES) for one in asked)


def test_one_example_without_choices_among_others_has_all_of_them_written(student: StudentModel) -> None:
    mixed = [*examples(2), *examples(1, choices=None)]
    assert not DecodingConfig().ranks(mixed)
    assert len(read_labels(student, mixed, ClosedAnswers(CHOICES), DecodingConfig(max_new_tokens=3))) == 3


def test_with_a_suffix_the_end_does_not_count(student: StudentModel) -> None:
    [prediction] = rank(student, examples(1), DecodingConfig(suffix=" explanation:"))
    [target] = student.encode_targets([f"{prediction.label} explanation:"])
    given = torch.tensor([[student.start_id("label"), *target[:-1]]])
    ids = torch.tensor(student.encode_inputs([examples(1)[0].input], "label", 512))
    with torch.no_grad():
        logits = student.model.eval()(input_ids=ids, decoder_input_ids=given).logits[0]
    by_hand = sum(logits[place].log_softmax(-1)[id].item() for place, id in enumerate(target[:-1]))
    assert prediction.score == pytest.approx(by_hand, abs=1e-4)


def test_inputs_are_cut_where_the_training_cut_them(student: StudentModel) -> None:
    long = [Example("1", "the kettle leaks " * 40, None, CHOICES)]
    [cut] = student.encode_inputs([long[0].input], "label", 12)
    assert len(cut) == 12
    assert cut[-1] == student.config.eos_token_id
    short = [Example("1", student.decode([cut])[0], None, CHOICES)]
    one, two = (rank(student, part, DecodingConfig(max_input_tokens=12))[0] for part in (long, short))
    assert (one.label, one.score) == (two.label, pytest.approx(two.score, abs=1e-4))


def test_reading_leaves_the_student_as_it_was(student: StudentModel) -> None:
    dropping = tiny_t5(dropout_rate=0.5)
    dropping.train()
    first = rank(dropping, examples(3), DecodingConfig())
    assert dropping.training
    assert rank(dropping, examples(3), DecodingConfig()) == first  # no dropout while reading
    dropping.eval()
    generate(dropping, examples(3), DecodingConfig(max_new_tokens=2))
    assert not dropping.training


def test_rationales_are_written_from_their_own_prefix(student: StudentModel) -> None:
    parted = tiny_t5()
    with torch.no_grad():
        parted.model.get_decoder().get_input_embeddings().weight[parted.start_id("rationale")] *= -30
    reading = DecodingConfig(max_new_tokens=4)
    with_rationales = add_rationales(parted, examples(2), rank(parted, examples(2), reading), reading)
    assert [one.rationale for one in with_rationales] == generate(parted, examples(2), reading, kind="rationale")
    assert [one.label for one in with_rationales] == [one.label for one in rank(parted, examples(2), reading)]


def test_nothing_to_answer_gives_no_answers(student: StudentModel) -> None:
    assert rank(student, [], DecodingConfig()) == []
    assert generate(student, [], DecodingConfig()) == []
