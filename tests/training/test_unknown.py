"""What a tokenizer does not know is counted, told, and stops a run where it is more than a little."""

from pathlib import Path

import pytest
from tiny import byte_tokenizer, examples, tiny_t5

from dsbs.core.errors import StudentError
from dsbs.core.records import Target
from dsbs.students.collator import Reader
from dsbs.students.model import find_unknown
from dsbs.tasks import TableTask
from dsbs.training.notes import describe_losses
from dsbs.training.settings import Training
from dsbs.training.tokenized import prepare_rows
from dsbs.training.unknown import check_unknown

Rows = list[tuple[str, list[Target]]]


def rows(inputs: list[str], rationales: list[str]) -> Rows:
    return [
        (text, [Target("label", "refund"), Target("rationale", why)])
        for text, why in zip(inputs, rationales, strict=True)
    ]


def check(folder: Path, texts: Rows, most: float = 0.1, prefix_on: str = "target", **more) -> dict[str, int]:
    student = tiny_t5(prefix_on)
    found = prepare_rows(student, texts, len(texts), 64, 64, folder, **more)
    return check_unknown(student, found, texts, most, writes=True)


KNOWN = [example.input for example in examples(30)]


def test_nothing_is_said_where_all_is_known(tmp_path: Path) -> None:
    assert check(tmp_path, rows(KNOWN, KNOWN)) == {}


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_inputs_of_another_script_stop_the_run_with_signs_and_share(tmp_path: Path, prefix_on: str) -> None:
    texts = rows([*KNOWN[:10], *["水壶 漏水 了"] * 20], KNOWN)
    with pytest.raises(StudentError) as error:
        check(tmp_path, texts, prefix_on=prefix_on)
    message = str(error.value)
    assert "% of the tokens of the inputs are unknown to the student's tokenizer" in message
    assert "水 壶 漏 了 in '水壶 漏水 了'" in message
    assert "training.max_unknown=1" in message
    counts = check(tmp_path, texts, most=1.0, prefix_on=prefix_on)
    assert counts["inputs_unknown"] > 40
    assert counts["targets_unknown"] == 0


def test_rationales_of_another_script_do_too(tmp_path: Path) -> None:
    with pytest.raises(StudentError, match=r"of the tokens of the targets are unknown.*漏"):
        check(tmp_path, rows(KNOWN, ["它 漏水"] * 30))


def test_a_little_is_counted_and_told(tmp_path: Path) -> None:
    counts = check(tmp_path, rows([*KNOWN[:29], f"{KNOWN[29]} 水"], KNOWN))
    assert counts["inputs_unknown"] == 1
    (line,) = describe_losses(TableTask(), counts)
    assert "of the tokens of the inputs are unknown to the tokenizer" in line


def test_what_another_reader_reads_with_its_own_tokenizer_does_not_count(tmp_path: Path) -> None:
    teacher = tiny_t5()
    texts = [(text, [Target("label", "refund"), Target("logits", "refund", input="水 壶")]) for text in KNOWN]
    assert check(tmp_path, texts, readers={"logits": Reader(teacher, "label", 64)}) == {}


def test_a_tokenizer_of_bytes_knows_everything() -> None:
    class Student:
        tokenizer = byte_tokenizer()

    assert find_unknown(Student.tokenizer) is None
    assert tiny_t5().unknown_id == 2


def test_losses_are_told_in_sentences(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"x": "a", "label": "NaN"}\n{"x": "b", "label": "y"}\n')
    task = TableTask(path=str(tmp_path / "rows.jsonl"), input="x")
    list(task.examples("train"))
    assert describe_losses(task, {"train": 2, "inputs_cut": 1, "targets_cut": 0}) == [
        f"{tmp_path / 'rows.jsonl'}, train: 1 row without a label (1 'NaN').",
        "1 input of 2 examples exceeded student.max_input_tokens: truncated at the end.",
    ]
    assert describe_losses(TableTask(), {"train": 2, "inputs_cut": 0}) == []


def test_the_bound_is_checked_and_makes_no_other_run() -> None:
    assert "training.max_unknown=2" in "\n".join(Training(max_unknown=2).faults())
    assert Training(max_unknown=1).identity() == Training().identity()
