"""What others made, beside the examples: completions, rationales, labels."""

import json
from pathlib import Path
from typing import Any

import pytest
from row_files import write_rows
from scripted import load_annotations

from dsbs.core import terminal
from dsbs.core.errors import DataError, TeacherError
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Prompt
from dsbs.extraction.settings import ExtractionSettings
from dsbs.tasks import TableTask
from dsbs.teachers.recorded import RecordedTeacher

NLI = ["entailment", "neutral", "contradiction"]
ROWS = [
    {"x": "A man runs. | A man moves.", "label": 0, "why": "Running is moving.", "said": "So. Answer: entailment"},
    {"x": "A man runs. | He is late.", "label": 1, "why": "Nothing says so.", "said": "(b) neutral"},
    {"x": "A man runs. | He sleeps.", "label": 2, "why": None, "said": " contradiction"},
    {"x": "A man runs. | He eats.", "label": None, "why": "Unknown.", "said": None},
]  # fmt: skip


def read(folder: Path, rows: list[dict[str, Any]] = ROWS, *, samples: int = 1, split: str = "train", **teacher: Any):
    """Extract, and return label, rationale and status of every example."""
    write_rows(folder / "train.jsonl", rows)
    task = TableTask(path=str(folder), input="x", label_names=NLI)
    recorded = RecordedTeacher(name="recorded", **teacher)
    assert recorded.faults() == []
    settings = ExtractionSettings(samples=samples)
    job = Job(task, recorded, Prompt(name="p"), folder / "out", [split], settings=settings)
    run_extraction(job)
    return [(one.label, one.rationale, one.status) for one in load_annotations(folder / "out", split).values()]


def test_raw_completions_of_a_column_are_read_as_any_others(tmp_path: Path) -> None:
    assert read(tmp_path, column="said") == [
        ("entailment", "So.", "ok"),
        ("neutral", None, "no_rationale"),
        ("contradiction", None, "no_rationale"),
        (None, None, "request_failed: no completion"),
    ]


def test_ready_rationales_go_with_gold_labels(tmp_path: Path) -> None:
    assert read(tmp_path, rationale="why") == [
        ("entailment", "Running is moving.", "ok"),
        ("neutral", "Nothing says so.", "ok"),
        ("contradiction", None, "no_rationale"),
        (None, "Unknown.", "no_answer"),
    ]


@pytest.mark.parametrize(("columns", "accuracy"), [({}, None), ({"label": "label"}, 1.0)])
def test_the_accuracy_of_a_teacher_whose_labels_are_the_gold_labels_is_unknown(
    tmp_path: Path, columns: dict[str, str], accuracy: float | None
) -> None:
    read(tmp_path, rationale="why", **columns)
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["splits"]["train"]["teacher_accuracy"] == accuracy
    page = (tmp_path / "out" / "rationales.html").read_text()
    assert ("most often confused with" in page) == (accuracy is not None)


def test_a_missing_word_or_the_answer_again_is_no_rationale(tmp_path: Path) -> None:
    said = ["NaN", "null", "entailment", "Neutral."]
    rows = [row | {"label": 0, "why": why} for row, why in zip(ROWS, said, strict=True)]
    assert [status for _, _, status in read(tmp_path, rows, rationale="why")] == ["no_rationale"] * 4


def test_ready_rationales_may_bring_their_labels_read_as_strictly_as_gold(tmp_path: Path, caplog) -> None:
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    theirs = [2, "Neutral", "c", None]
    rows = [row | {"theirs": label, "why": "Because."} for row, label in zip(ROWS, theirs, strict=True)]
    assert [label for label, _, _ in read(tmp_path, rows, rationale="why", label="theirs")] == [
        "contradiction", "neutral", None, None,
    ]  # fmt: skip
    assert "task=table, train: labels that are not answers of the task: 'c' 1." in caplog.text


def test_a_list_holds_a_completion_for_each_sample(tmp_path: Path) -> None:
    rows = [ROWS[0] | {"said": ["A. Answer: entailment", "B. Answer: neutral", "C. Answer: entailment"]}]
    assert read(tmp_path, rows, samples=3, column="said") == [("entailment", "A.", "ok")]


def test_a_path_reaches_into_the_output_of_another_pipeline(tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "So. Answer: neutral"}]
    assert read(tmp_path, [ROWS[0] | {"out": {"messages": chat}}], column="out.messages.assistant") == [
        ("neutral", "So.", "ok")
    ]


def test_a_table_elsewhere_joins_by_id_or_by_position(tmp_path: Path) -> None:
    elsewhere = tmp_path / "palm"
    elsewhere.mkdir()
    for number in range(11):  # part 2 comes before part 10
        (elsewhere / f"train_CoT_{number}.json").write_text(json.dumps([{"gen": f"R{number}. Answer: neutral"}]))
    rows = [ROWS[1] | {"x": str(number)} for number in range(11)]
    assert [rationale for _, rationale, _ in read(tmp_path, rows, path=str(elsewhere), column="gen")] == [
        f"R{number}." for number in range(11)
    ]
    table = [{"id": f"train-{number}", "why": f"W{number}", "l": "neutral"} for number in (3, 1)]
    (tmp_path / "other").mkdir()
    theirs = tmp_path / "other" / "theirs.jsonl"
    write_rows(theirs, table)
    found = read(tmp_path, rows[:4], path=str(theirs), rationale="why", label="l", id="id")
    assert [rationale for _, rationale, _ in found] == [None, "W1", None, "W3"]
    assert found[0][2].startswith("request_failed")


def test_a_table_of_the_later_examples_alone_is_joined_to_them(tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    write_rows(
        tmp_path / "gen" / "rows.jsonl", [{"id": f"train-{n}", "gen": "So. Answer: neutral"} for n in range(30, 40)]
    )
    rows = [ROWS[1] | {"x": str(number)} for number in range(40)]
    found = read(tmp_path, rows, path=str(tmp_path / "gen" / "rows.jsonl"), column="gen", id="id")
    assert [label for label, _, _ in found] == [None] * 30 + ["neutral"] * 10


@pytest.mark.parametrize("id", ["id", None])
def test_a_test_split_that_is_cut_off_has_its_completions_in_the_same_table(tmp_path: Path, id: str | None) -> None:
    write_rows(tmp_path / "data.jsonl", [{"id": f"r{n}", "x": f"A {n}", "label": n % 2} for n in range(40)])
    write_rows(tmp_path / "gen.jsonl", [{"id": f"r{n}", "gen": f"So {n}. Answer: {NLI[n % 2]}"} for n in range(40)])
    task = TableTask(path=str(tmp_path / "data.jsonl"), input="x", id="id", label_names=NLI[:2], test_share=0.3)
    teacher = RecordedTeacher(name="recorded", path=str(tmp_path / "gen.jsonl"), column="gen", id=id)
    summary = run_extraction(Job(task, teacher, Prompt(name="p"), tmp_path / "out", ["train", "test"]))
    accuracies = {split: part["teacher_accuracy"] for split, part in summary["splits"].items()}
    assert accuracies == {"train": 1.0, "test": 1.0}


def test_a_split_without_completions_has_no_accuracy(tmp_path: Path) -> None:
    write_rows(tmp_path / "test.jsonl", [{"x": "Some. | More.", "label": 0}])
    write_rows(tmp_path / "train.jsonl", ROWS)
    task = TableTask(path=str(tmp_path), input="x", label_names=NLI)
    job = Job(
        task, RecordedTeacher(name="recorded", column="said"), Prompt(name="p"), tmp_path / "out", ["train", "test"]
    )
    splits = run_extraction(job)["splits"]
    assert (splits["train"]["teacher_accuracy"], splits["test"]["teacher_accuracy"]) == (1.0, None)


def test_an_id_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    write_rows(tmp_path / "gen" / "rows.jsonl", [{"id": "train-1", "gen": "Answer: neutral"}] * 2)
    with pytest.raises(DataError, match=r"rows.jsonl:2: duplicate id 'train-1' .* also at .*rows.jsonl:1.*samples=N"):
        read(tmp_path, path=str(tmp_path / "gen" / "rows.jsonl"), column="gen", id="id")


def test_counts_that_differ_are_refused(tmp_path: Path) -> None:
    (tmp_path / "gen").mkdir()
    write_rows(tmp_path / "gen" / "rows.jsonl", [{"gen": "a"}] * 3)
    with pytest.raises(DataError, match=r"3 rows for split 'train', but task table has 4 examples.*teacher\.id=COLUMN"):
        read(tmp_path, path=str(tmp_path / "gen" / "rows.jsonl"), column="gen")


def test_rows_in_another_order_than_the_data_are_refused_where_they_show_it(tmp_path: Path) -> None:
    said = tmp_path / "said"
    said.mkdir()
    write_rows(said / "train.jsonl", [{"x": row["x"], "gen": row["said"]} for row in ROWS[::-1]])
    with pytest.raises(DataError, match=r"train.jsonl:1: this row has the input of another example .*teacher.id"):
        read(tmp_path, path=str(said), column="gen")
    write_rows(said / "train.jsonl", [{"x": row["said"]} for row in ROWS])
    assert read(tmp_path, path=str(said), column="x")[0] == ("entailment", "So.", "ok")


def test_a_column_that_is_nowhere_is_refused_and_one_that_a_split_lacks_is_told(tmp_path: Path, caplog) -> None:
    with pytest.raises(DataError, match=r"there is no column 'gen'\. The columns are: x, label, why, said"):
        read(tmp_path, column="gen")
    terminal.log_once.cache_clear()
    caplog.set_level("INFO", terminal.logger.name)
    write_rows(tmp_path / "test.jsonl", [{"x": "Some. | More.", "label": 0}])
    with pytest.raises(TeacherError, match="None of 1 requests was answered"):
        read(tmp_path, column="said", split="test")
    assert "task=table: test has no column 'said', so its examples have no annotations." in caplog.text


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DataError, match=r"column 'why' \(teacher\.rationale\) holds an object.*teacher\.rationale=why\.a"
    ):
        read(tmp_path, [ROWS[0] | {"why": {"a": "b"}}], rationale="why")


@pytest.mark.parametrize(
    ("settings", "key"),
    [
        ({"column": "a", "rationale": "b"}, "teacher.column, teacher.rationale"),
        ({"label": "a", "path": "x"}, "teacher.label=a"),
        ({"column": "a", "id": "b"}, "teacher.id=b"),
        ({}, "teacher.column=COLUMN"),
    ],
)
def test_settings_that_do_not_go_together_are_told(settings: dict[str, str], key: str) -> None:
    assert key in "\n".join(RecordedTeacher(**settings).faults())


def test_columns_are_part_of_what_the_teacher_is(tmp_path: Path) -> None:
    identities = [RecordedTeacher(**settings).identity() for settings in ({"column": "a"}, {"rationale": "a"})]
    assert identities[0] != identities[1]
