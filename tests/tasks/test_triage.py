"""The built-in task."""

from collections import Counter
from typing import Any

import pytest

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.tasks.triage import COMPLAINTS, DECISIONS, PRODUCTS, Facts, TriageTask, policy, read_facts

SIZES: dict[str, Any] = {"products": 12, "complaints": 12, "train": 64, "validation": 16, "test": 16}


def triage(**changes: Any) -> TriageTask:
    return TriageTask(name="triage", **(SIZES | changes))


def every_example(task: TriageTask) -> list[Example]:
    return [example for split in task.splits() for example in task.examples(split)]


def facts_of(example: Example) -> Facts:
    facts = read_facts(example.input)
    assert facts is not None, example.input
    return facts


def test_the_splits_have_the_sizes_that_were_asked_for() -> None:
    task = triage()
    assert [len(list(task.examples(split))) for split in task.splits()] == [64, 16, 16]
    assert TriageTask(name="triage").faults() == []


def test_no_message_and_no_id_occurs_twice_over_all_splits() -> None:
    everything = every_example(triage(train=112))
    assert len({example.id for example in everything}) == 144
    assert len({(facts_of(example).product, facts_of(example).complaint) for example in everything}) == 144


def test_the_label_is_the_policys_decision_for_family_and_kind() -> None:
    for example in every_example(triage()):
        facts = facts_of(example)
        assert example.label == policy()[facts.family, facts.kind]
        assert example.choices == DECISIONS
        assert facts.product in PRODUCTS[facts.family]
        assert not any(word in example.input for word in DECISIONS)


def test_every_product_and_complaint_is_listed_once_and_read_back() -> None:
    task = TriageTask(name="triage", products=120, complaints=120, train=6000)
    read = [facts_of(example) for example in task.examples("train")]
    assert [(facts.product, facts.complaint) for facts in read] == task._pairs[:6000]
    assert {(facts.family, facts.kind) for facts in read} == {
        (family, kind) for family in PRODUCTS for kind in COMPLAINTS
    }
    assert len({product for product, _ in task._pairs}) == len({complaint for _, complaint in task._pairs}) == 120


def test_the_policy_cannot_be_told_from_family_or_kind_alone() -> None:
    for number in (0, 1):
        for fact in {pair[number] for pair in policy()}:
            decisions = Counter(decision for pair, decision in policy().items() if pair[number] == fact)
            assert len(decisions) >= 3, fact
    assert set(Counter(policy().values())) == set(DECISIONS)


def test_the_same_seed_gives_the_same_messages_and_another_gives_others() -> None:
    assert every_example(triage()) == every_example(triage())
    assert every_example(triage(seed=1)) != every_example(triage())
    assert triage(seed=1).identity() != triage().identity()


def test_a_split_read_twice_or_alone_is_the_same() -> None:
    task = triage()
    alone = list(triage().examples("test"))
    assert list(task.examples("train"))
    assert list(task.examples("test")) == list(task.examples("test")) == alone


@pytest.mark.parametrize(("products", "complaints"), [(6, 24), (24, 6), (12, 12)])
def test_fewer_products_or_complaints_make_an_easier_task(products: int, complaints: int) -> None:
    everything = [facts_of(example) for example in every_example(triage(products=products, complaints=complaints))]
    assert len({facts.product for facts in everything}) <= products
    assert len({facts.complaint for facts in everything}) <= complaints
    assert {facts.family for facts in everything} == set(PRODUCTS)


def test_with_skew_the_first_of_each_family_and_kind_are_named_more_often_in_every_split() -> None:
    task = TriageTask(name="triage", products=120, complaints=120, skew=2.0)
    for split in task.splits():
        facts = [facts_of(example) for example in task.examples(split)]
        named = Counter(fact.product for fact in facts) | Counter(fact.complaint for fact in facts)
        first = min(named["kettle"], named["armchair"], named["was cracked"], named["took a month"])
        assert first > 2 * max(named["popcorn machine"], named["mirror"], named["had come unglued"])
        assert len({fact.product for fact in facts}) > 110  # rare ones occur as well
    everything = [example.input for example in every_example(task)]
    assert len({(fact.product, fact.complaint) for fact in map(read_facts, everything) if fact}) == len(everything)
    assert "skew" in task.identity()
    assert "skew" not in triage().identity()  # runs from before the key keep their names


def test_label_noise_makes_labels_wrong_where_a_student_learns_and_is_chosen_and_nowhere_else() -> None:
    clean, noisy = (TriageTask(name="triage", label_noise=noise) for noise in (0.0, 0.2))
    for split, wrong in [("train", 0.2), ("validation", 0.2), ("test", 0.0)]:
        pairs = list(zip(clean.examples(split), noisy.examples(split), strict=True))
        assert all(one.input == other.input for one, other in pairs)
        assert sum(one.label != other.label for one, other in pairs) / len(pairs) == pytest.approx(wrong, abs=0.03)
    assert "label_noise" in noisy.identity()
    assert "label_noise" not in clean.identity()  # runs from before the key keep their names


def test_an_article_fits_its_product() -> None:
    texts = [example.input for example in every_example(TriageTask(name="triage", train=1000))]
    assert not [text for text in texts if " a armchair" in text or " a oboe" in text or " an kettle" in text]


@pytest.mark.parametrize("answer", ["refund", "Refund.", "**replace**", "escalate"])
def test_its_answers_are_the_four_decisions(answer: str) -> None:
    assert triage().answers.parse(answer, DECISIONS) in DECISIONS


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"products": 5}, "task.products=5: expected a multiple of 6 from 6 to 120"),
        ({"complaints": 126}, "task.complaints=126: expected a multiple of 6"),
        ({"skew": -1.0}, "task.skew=-1: expected 0 to 5"),
        ({"label_noise": 1.0}, "task.label_noise=1: expected 0 or more, and less than 1"),
        ({"train": 0}, "task.train=0: expected at least 1"),
        ({"train": 113}, "= 145, but 12 products and 12 complaints make only 144 different messages"),
        ({"path": "reviews.csv"}, "did you mean task=table"),
        ({"validation_share": 1.0}, "task.validation_share=1.0"),
    ],
)
def test_a_setting_out_of_range_is_a_clear_message(changes: dict[str, Any], says: str) -> None:
    assert [fault for fault in triage(**changes).faults() if says in fault]


def test_all_that_is_wrong_is_told_at_once() -> None:
    assert len(triage(products=7, complaints=-6, train=0, test=-1, path="x").faults()) == 5


def test_a_split_that_it_lacks_is_a_clear_message() -> None:
    with pytest.raises(DataError, match="no split 'dev'; it has train, validation, test"):
        list(triage().examples("dev"))


def test_a_message_without_product_or_complaint_has_no_facts() -> None:
    assert read_facts("Hello there.") is None
    assert read_facts("I bought a kettle.") is None
