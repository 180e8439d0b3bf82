"""Examples joined to annotations: nothing is dropped in silence."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from dsbs.core.errors import DataError
from dsbs.core.records import Annotation, Example
from dsbs.data.join import Join, RunData, count_missing, load_run_data, load_test
from dsbs.data.subsets import Selection
from dsbs.students.lost import describe_lost
from dsbs.tasks.answers import FreeAnswers
from dsbs.tasks.base import Task


@dataclass
class Six(Task):
    """Four examples to learn from, two to validate on, three to test on, some of them without a label."""

    kind: str = "six"
    name: str = "six"
    labelled: bool = True
    tested: bool = True
    without: tuple[tuple[str, int], ...] = (("test", 2),)  # the examples without a label

    @property
    def answers(self) -> FreeAnswers:
        return FreeAnswers()

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test") if self.tested else ("train", "validation")

    def examples(self, split: str) -> Iterator[Example]:
        for number in range({"train": 4, "validation": 2, "test": 3}[split]):
            label = "gold" if self.labelled and (split, number) not in self.without else None
            yield Example(f"{split} {number}", "why?", label)


SELECTION = Selection(
    frozenset({"train 0", "train 1", "train 2"}), frozenset({"validation 0", "validation 1"}), "validation"
)
ANNOTATIONS = {
    "train": [
        Annotation("train 0", "teacher's", "because"),
        Annotation("train 1", None, "because", status="cut_off"),
        Annotation("train 2", "other", "since", status="filter: min_words"),
        Annotation("train 3", "not drawn", "since"),
    ],
    "validation": [
        Annotation("validation 0", "teacher's", "because"),
        Annotation("validation 1", None, None, status="no_answer"),
    ],
}


def load(**changes: Any) -> RunData:
    settings: dict[str, Any] = {
        "task": Six(),
        "selection": SELECTION,
        "annotations": ANNOTATIONS,
        "labels": "gold",
        "drop": False,
        "needs_rationales": True,
    }
    return load_run_data(Join(**(settings | changes)))


def labels(data: RunData) -> dict[str, str | None]:
    return {example.id: example.label for example, _ in data.train}


def test_an_example_without_a_usable_rationale_is_learnt_by_its_label_and_counted() -> None:
    data = load()
    assert labels(data) == {"train 0": "gold", "train 1": "gold", "train 2": "gold"}
    assert [annotation and annotation.rationale for _, annotation in data.train] == ["because", None, None]
    assert data.counts == {
        "asked_and_failed": 2, "no_label": 0, "label_only": 2, "dropped": 0, "train": 3, "validation": 2
    }  # fmt: skip


def test_such_examples_can_be_dropped_and_are_counted() -> None:
    data = load(drop=True)
    assert labels(data) == {"train 0": "gold"}
    assert (data.counts["dropped"], data.counts["label_only"], data.counts["asked_and_failed"]) == (2, 0, 2)


def test_the_teachers_labels_replace_gold_in_train_and_validation_but_not_in_test() -> None:
    data = load(labels="teacher")
    assert labels(data) == {"train 0": "teacher's"}
    assert [(example.id, example.label) for example in data.validation] == [("validation 0", "teacher's")]
    assert [example.label for example in data.test] == ["gold", "gold"]
    assert (data.counts["no_label"], data.counts["asked_and_failed"]) == (3, 3)
    assert "teacher_labels" not in data.counts  # all are


def test_with_mixed_labels_the_teachers_fill_in_where_there_is_no_gold_label() -> None:
    data = load(task=Six(without=(("train", 0), ("train", 1), ("validation", 0))), labels="mixed")
    assert labels(data) == {"train 0": "teacher's", "train 2": "gold"}
    assert {example.id: example.label for example in data.validation} == {
        "validation 0": "teacher's",
        "validation 1": "gold",
    }
    assert (data.counts["teacher_labels"], data.counts["no_label"]) == (2, 1)


def test_fine_tuning_reads_no_annotations() -> None:
    data = load(annotations={}, needs_rationales=False)
    assert len(data.train) == 3
    assert all(annotation is None for _, annotation in data.train)
    assert data.counts["asked_and_failed"] == 0


def test_validation_cut_off_train_follows_the_selection() -> None:
    cut = Selection(frozenset({"train 0"}), frozenset({"train 3"}), "train")
    data = load(selection=cut, labels="teacher")
    assert (labels(data), [example.label for example in data.validation]) == ({"train 0": "teacher's"}, ["not drawn"])


def test_annotations_in_another_order_find_their_examples() -> None:
    turned = {split: annotations[::-1] for split, annotations in ANNOTATIONS.items()}
    assert list(load(annotations=turned).train) == list(load().train)
    assert load(annotations=turned).train.digest == load().train.digest


def test_train_is_read_anew_and_no_more_of_it_is_in_memory_than_one_example() -> None:
    alive: list[int] = []

    class Counted:
        def __iter__(self) -> Iterator[Annotation]:
            for number in range(4):
                alive.append(number)
                yield Annotation(f"train {number}", "gold", "because")

    data = load(annotations={"train": Counted(), "validation": []})
    alive.clear()
    for number, (example, annotation) in enumerate(data.train):
        assert annotation is not None
        assert annotation.id == example.id
        assert alive == list(range(number + 1))


def test_ids_that_were_never_asked_are_told_from_those_that_failed() -> None:
    assert count_missing(SELECTION, ANNOTATIONS, with_validation=True) == 0
    assert count_missing(SELECTION, {"train": []}, with_validation=False) == 3
    assert count_missing(SELECTION, {"train": ANNOTATIONS["train"]}, with_validation=True) == 2


def test_test_examples_without_gold_labels_are_not_measured() -> None:
    assert [example.id for example in load_test(Six())] == ["test 0", "test 1"]


def test_a_task_whose_answers_only_the_teacher_knows_needs_labels_teacher() -> None:
    with pytest.raises(DataError, match=r"no train example is left: .*labels=teacher"):
        load(task=Six(labelled=False))


def test_a_test_split_without_any_gold_label_is_refused() -> None:
    with pytest.raises(DataError, match="no example of the test split has a gold label"):
        load_test(Six(labelled=False))


def test_a_task_without_a_test_split_says_which_it_has() -> None:
    with pytest.raises(DataError, match="no test split; it has train, validation, so nothing"):
        load_test(Six(tested=False))


def test_a_teacher_that_always_failed_leaves_nothing_to_learn_and_says_so() -> None:
    failed = {"train": [Annotation(f"train {n}", status="cut_off") for n in range(4)]}
    with pytest.raises(DataError, match="no train example is left: the teacher gave no usable label"):
        load(annotations=failed | {"validation": ANNOTATIONS["validation"]}, labels="teacher")
    with pytest.raises(DataError, match=r"no train example is left: .*without_annotation=drop"):
        load(annotations=failed, drop=True)


def test_votes_reach_objectives_that_read_them_and_do_not_rename_the_data_of_the_others() -> None:
    voted = {
        split: [replace(one, votes={"a": 2, "b": 1}) if one.label else one for one in annotations]
        for split, annotations in ANNOTATIONS.items()
    }
    before, after, wanted = load(), load(annotations=voted), load(annotations=voted, reads=frozenset({"votes"}))
    assert after.train.digest == before.train.digest
    assert wanted.train.digest != before.train.digest
    assert list(after.train) == list(before.train)
    assert [annotation and annotation.votes for _, annotation in wanted.train] == [{"a": 2, "b": 1}, None, None]
    alone = load(annotations=voted, needs_rationales=False, reads=frozenset({"votes"}))
    assert list(alone.train) == list(wanted.train)


def test_a_distribution_that_is_a_label_is_told() -> None:
    once = {"train": [replace(one, votes={one.label: 1} if one.label else None) for one in ALONE["train"]]}
    data = load(annotations=once, needs_rationales=False, reads=frozenset({"votes"}))
    told = "2 of 3 examples have a single sample of the teacher"
    assert [note.startswith(told) for note in describe_lost(data.counts)] == [True]
    assert describe_lost(load(annotations=ALONE, needs_rationales=False, reads=frozenset({"votes"})).counts) == []
    few = {"train": [replace(ALONE["train"][0], probabilities=None), *ALONE["train"][1:]]}
    data = load(annotations=few, needs_rationales=False, reads=frozenset({"probabilities"}))
    assert describe_lost(data.counts) == [
        "1 of 3 examples have no log-probabilities of the closed answers: they are learned by the label alone."
    ]


def test_system_prompts_that_every_training_input_has_or_none_are_told() -> None:
    """In use the student reads the input alone."""
    three = [Annotation(f"train {number}", "yes", "because") for number in range(3)]

    def notes(systems: list[str]) -> list[str]:
        said = {"train": [replace(one, system=system) for one, system in zip(three, systems, strict=True)]}
        return describe_lost(load(annotations=said, reads=frozenset({"system"})).counts)

    assert notes(["", "Be brief.", "Explain."]) == []
    [every] = notes(["Be kind.", "Be brief.", "Explain."])
    assert "keep an empty text in prompt.systems" in every
    [none] = notes(["", "", ""])
    assert "No example has a system prompt" in none


ALONE = {
    "train": [
        Annotation("train 0", "yes", "because", "ok", 0.6, {"yes": 3, "no": 2}, {"yes": 0.7, "no": 0.2}),
        Annotation("train 1", "yes", None, "no_rationale", 0.8, {"yes": 4, "no": 1}, {"yes": 0.8, "no": 0.1}),
        Annotation("train 2", None, None, "no_cue"),
    ]
}


@pytest.mark.parametrize("field", ["votes", "probabilities", "agreement"])
def test_an_answer_without_a_rationale_is_used_where_none_is_needed(field: str) -> None:
    data = load(annotations=ALONE, needs_rationales=False, reads=frozenset({field}))
    assert [getattr(one, field, None) for _, one in data.train] == [
        *(getattr(one, field) for one in ALONE["train"][:2]),
        None,
    ]
    assert (data.counts["label_only"], data.counts["asked_and_failed"]) == (1, 1)
    needed = load(annotations=ALONE, reads=frozenset({field}))
    assert [one is None for _, one in needed.train] == [False, True, True]
    assert needed.counts["label_only"] == 2


@pytest.mark.parametrize("said", [None, {}, {"yes": 0.0, "no": 0.0}])
@pytest.mark.parametrize("status", ["ok", "no_rationale", "cut_off"])
def test_annotations_that_tell_no_probability_are_refused(said: dict[str, float] | None, status: str) -> None:
    told = [replace(one, status=status, probabilities=said) for one in ALONE["train"]]
    with pytest.raises(DataError, match="no annotation has probabilities"):
        load(annotations={"train": told}, needs_rationales=False, reads=frozenset({"probabilities"}))


def test_annotations_from_before_votes_were_kept_are_told_with_what_to_do() -> None:
    with pytest.raises(DataError, match=r"example train 0 predates votes.*Run the same dsbs\.extract"):
        load(reads=frozenset({"votes"}))
