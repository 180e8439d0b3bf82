"""Rows and batches: what the student reads and learns to write."""

import pytest
import torch
from tiny import tiny_t5

from dsbs.core.records import Annotation, Example, Target
from dsbs.objectives import RationaleThenLabel
from dsbs.students.collator import Collator, Reader, tokenize
from dsbs.students.model import Batch, StudentModel
from dsbs.students.tensors import IGNORED

INPUTS = ["the kettle leaks", "a sofa is a piece of furniture", "the shop"]
TARGETS = [
    [Target("label", "refund", 0.3), Target("rationale", "the kettle leaks so", 0.7)],
    [Target("label", "repair", 0.3)],
    [Target("label", "replace", 0.3), Target("rationale", "it", 0.7)],
]


def test_both_tasks_of_an_example_share_one_encoder_input() -> None:
    student = tiny_t5()
    rows, cut = tokenize(student, INPUTS, TARGETS, 64, 64)
    batch = Collator(student)(rows)
    assert list(batch["inputs"]) == ["shared"]
    assert batch["inputs"]["shared"]["input_ids"].shape[0] == 3
    assert batch["targets"]["rationale"]["rows"].tolist() == [0, 2]
    assert cut == {"inputs_cut": 0, "targets_cut": 0, "teacher_inputs_cut": 0}


def test_with_the_prefix_on_the_input_each_task_reads_its_own() -> None:
    student = tiny_t5("input")
    rows, _ = tokenize(student, INPUTS, TARGETS, 64, 64)
    batch = Collator(student)(rows)
    assert {name: part["input_ids"].shape[0] for name, part in batch["inputs"].items()} == {"label": 3, "rationale": 2}
    assert batch["targets"]["rationale"]["rows"].tolist() == [0, 1]
    read = student.decode(batch["inputs"]["rationale"]["input_ids"].tolist())
    assert [text.replace(" ", "") for text in read] == ["[rationale]thekettleleaks", "[rationale]theshop"]


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_the_prefix_is_never_in_the_loss(prefix_on: str) -> None:
    student = tiny_t5(prefix_on)
    rows, _ = tokenize(student, INPUTS, TARGETS, 64, 64)
    for kind, part in Collator(student)(rows)["targets"].items():
        start = student.start_id(kind)
        assert (part["decoder_input_ids"][:, 0] == start).all()
        assert not (part["labels"] == start).any()
        for given, wanted in zip(part["decoder_input_ids"], part["labels"], strict=True):
            length = int(wanted.ne(IGNORED).sum())
            assert given[1:length].tolist() == wanted[: length - 1].tolist()  # shifted by one
            assert wanted[length - 1] == student.config.eos_token_id


def test_labels_and_rationales_are_padded_apart_and_keep_their_weights() -> None:
    student = tiny_t5()
    batch = Collator(student)(tokenize(student, INPUTS, TARGETS, 64, 64)[0])
    label, rationale = batch["targets"]["label"], batch["targets"]["rationale"]
    assert label["weights"].tolist() == pytest.approx([0.3] * 3)
    assert rationale["weights"].tolist() == pytest.approx([0.7] * 2)
    written = student.decode([[id for id in row if id != IGNORED] for row in rationale["labels"].tolist()])
    assert written == ["the kettle leaks so", "it"]
    assert label["labels"].shape[0] == 3


def test_what_is_too_long_is_cut_and_counted_and_a_target_that_is_cut_teaches_no_end() -> None:
    student = tiny_t5()
    end = student.config.eos_token_id
    rows, cut = tokenize(student, ["the kettle " * 30, "it"], [TARGETS[0], TARGETS[1]], 10, 4)
    assert cut == {"inputs_cut": 1, "targets_cut": 1, "teacher_inputs_cut": 0}
    assert len(rows[0].inputs["shared"]) == 10
    assert rows[0].inputs["shared"][-1] == end
    [whole] = student.encode_targets([TARGETS[0][1].text])
    assert rows[0].targets[1][2] == whole[:4]
    assert [ids[-1] == end for row in rows for _, _, ids, _ in row.targets] == [True, False, True]


def test_what_a_teacher_beside_the_student_reads_is_counted_apart() -> None:
    student = tiny_t5()
    targets = [Target("label", "refund " * 9), Target("teacher label", "refund " * 9, input="the kettle " * 30)]
    readers = {"teacher label": Reader(student, "label", 10)}
    rows, cut = tokenize(student, ["the kettle " * 30], [targets], 20, 4, readers)
    assert [len(ids) for ids in rows[0].inputs.values()] == [20, 10]
    assert cut == {"inputs_cut": 1, "targets_cut": 1, "teacher_inputs_cut": 1}


def test_padding_is_hidden_from_the_encoder() -> None:
    student = tiny_t5()
    part = Collator(student)(tokenize(student, INPUTS, TARGETS, 64, 64)[0])["inputs"]["shared"]
    assert torch.equal(part["attention_mask"].bool(), part["input_ids"].ne(student.pad_id))


def test_a_batch_without_rationales_has_labels_alone() -> None:
    student = tiny_t5()
    batch = Collator(student)(tokenize(student, INPUTS[1:2], TARGETS[1:2], 64, 64)[0])
    assert list(batch["targets"]) == ["label"]


def test_encoder_inputs_come_in_the_order_of_the_targets_in_every_process() -> None:
    # Dropout draws from one stream of random numbers, so equal seeds need an equal order; a set has none.
    rows, _ = tokenize(tiny_t5("input"), INPUTS, [row[::-1] for row in TARGETS], 64, 64)
    assert [list(row.inputs) for row in rows] == [["rationale", "label"], ["label"], ["rationale", "label"]]


def reads(student: StudentModel, batch: Batch, kind: str) -> list[str]:
    """Return what each target of a kind reads."""
    target = batch["targets"][kind]
    ids = batch["inputs"][target["source"]]["input_ids"].index_select(0, target["rows"])
    return [text.replace(" ", "") for text in student.decode(ids.tolist())]


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_a_target_may_read_another_text_than_the_examples_input(prefix_on: str) -> None:
    student = tiny_t5(prefix_on)
    targets = [
        [Target("label", "refund"), Target("rationale", "it leaks", input="the sofa")],
        [Target("label", "repair", input="the shop"), Target("label", "refund", 0.5, "it"), Target("label", "replace")],
    ]
    rows, _ = tokenize(student, INPUTS[:2], targets, 64, 64)
    mark = {kind: f"[{kind}]" * (prefix_on == "input") for kind in ("label", "rationale")}
    for batch, first in ((Collator(student)(rows), 0), (Collator(student)(rows[::-1]), 1)):
        assert reads(student, batch, "rationale") == [mark["rationale"] + "thesofa"]
        per_example = {
            0: [mark["label"] + "thekettleleaks"],
            1: [mark["label"] + text for text in ("theshop", "it", "asofaisapieceoffurniture")],
        }
        assert reads(student, batch, "label") == per_example[first] + per_example[1 - first]
        assert batch["targets"]["label"]["examples"].tolist() == ([0, 1, 1, 1] if first == 0 else [0, 0, 0, 1])
        assert batch["targets"]["label"]["once"]
        logits = student(batch["inputs"], batch["targets"])
        assert len(logits["label"]) == 4


def test_targets_of_an_example_that_read_the_same_text_share_it() -> None:
    student = tiny_t5()
    targets = [[Target("label", "refund", 0.5, "it"), Target("label", "repair", 0.5, "it")]]
    batch = Collator(student)(tokenize(student, INPUTS[:1], targets, 64, 64)[0])
    assert [len(part["input_ids"]) for part in batch["inputs"].values()] == [1]
    assert batch["targets"]["label"]["rows"].tolist() == [0, 0]


def test_a_prefix_that_stands_in_the_data_is_text() -> None:
    student = tiny_t5("target")
    (row,) = student.encode_targets(["[rationale] the kettle [label]"])
    (read,) = student.encode_inputs(["the [label] kettle"], "label", 64)
    assert not {student.start_id("label"), student.start_id("rationale")} & {*row, *read}


def test_what_a_target_keeps_is_not_cut() -> None:
    student = tiny_t5()
    long = RationaleThenLabel().targets(
        Example("1", "it leaks", "refund"), Annotation("1", "refund", "the kettle leaks " * 20)
    )
    rows, cut = tokenize(student, ["it leaks"], [long], 64, 24)
    [(_, _, ids, _)] = rows[0].targets
    assert (len(ids), cut["targets_cut"], ids[-1]) == (24, 1, student.end_id)
    text = student.decode([ids])[0].replace(" ", "")
    assert text.startswith("thekettleleaks")
    assert text.endswith("Sotheanswerisrefund")
