"""Data that a user points at, which is no data, or has no end: and the sentence that comes out."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dsbs.core.errors import DataError
from dsbs.core.untrusted import MAX_INPUT, MAX_LABEL, MAX_ROW
from dsbs.tasks import TableTask
from dsbs.tasks.tables.sources import read_rows
from dsbs.teachers.recorded import load_array

ROW = '{"input": "a", "label": "1"}\n'
LONG = 10**5
FILES: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "a FIFO": ("train.jsonl", os.mkfifo, "expected a regular file, found a FIFO"),
    "a FIFO for a table": ("train.csv", os.mkfifo, "expected a regular file, found a FIFO"),
    "a FIFO for columns": ("train.parquet", os.mkfifo, "expected a regular file, found a FIFO"),
    "a device without end": ("train.jsonl", lambda path: path.symlink_to("/dev/zero"), "found a device"),
    "a folder": ("train.jsonl", Path.mkdir, "expected a regular file, found a folder"),
    "a link that leads to itself": ("train.jsonl", lambda path: path.symlink_to(path), "cannot be read"),
    "a line without end": ("train.jsonl", lambda path: path.write_text("a" * (MAX_ROW + 1)), ":1: a line of"),
    "a later line without end": (
        "train.jsonl", lambda path: path.write_text(ROW + "a" * (MAX_ROW + 1)), ":2: a line of more"
    ),
    "a header without end": ("train.csv", lambda path: path.write_text("a," * MAX_ROW), ":1: a line of more"),
    "columns without end": ("train.csv", lambda path: path.write_text("a," * 10**5), "expected at most 10,000"),
    "an open quote": ("train.csv", lambda path: path.write_text('a,b\n"' + "a\n" * (MAX_ROW // 2)), "broken CSV"),
    "a number of 5,000 digits": (
        "train.jsonl", lambda path: path.write_text('{"input": ' + "9" * 5000 + "}"), ":1: not valid JSON"
    ),
    "deep": ("train.jsonl", lambda path: path.write_text('{"input": ' + "[" * LONG), ":1: JSON nested too deeply"),
    "a deep array": ("train.json", lambda path: path.write_text("[" * LONG), "JSON"),
    "an array of numbers": ("train.json", lambda path: path.write_text("[1, 2]"), "item 1: expected an object"),
    "half a file of columns": ("train.parquet", lambda path: path.write_bytes(b"PAR1" + b"\xff" * 9), "broken Parquet"),
    "an empty file of columns": ("train.parquet", Path.touch, "broken Parquet"),
}  # fmt: skip


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", FILES)
def test_what_is_no_data_is_told_in_a_sentence(kind: str, tmp_path: Path) -> None:
    name, make, sentence = FILES[kind]
    make(tmp_path / name)
    with pytest.raises(DataError, match=sentence) as caught:
        list(read_rows(tmp_path / name))
    assert len(str(caught.value)) < 1000


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["a FIFO", "a device without end", "a folder"])
def test_it_is_told_whatever_asks_for_the_data_first(kind: str, tmp_path: Path) -> None:
    name, make, sentence = FILES[kind]
    (tmp_path / "data").mkdir()
    make(tmp_path / "data" / name)
    with pytest.raises(DataError, match=sentence):
        TableTask(name="t", path=str(tmp_path / "data")).identity()
    with pytest.raises(DataError, match=sentence):
        list(TableTask(name="t", path=str(tmp_path / "data"), answer_kind="free").examples("train"))


@pytest.mark.parametrize(
    "path", ["a" * 5000, "~nobody-there/x.csv", "a\0b", "*/" * 50 + "*.csv", "[" * 100, "/proc/self/mem"]
)
def test_a_place_that_is_none_is_told_in_a_sentence(path: str) -> None:
    with pytest.raises(DataError, match=r"task\.path=|expected a file that ends in") as caught:
        list(TableTask(name="t", path=path, answer_kind="free").examples("train"))
    assert len(str(caught.value)) < 6000


CELLS: dict[str, tuple[dict[str, object], dict[str, object], str]] = {
    "an input without end": ({"input": "a " * MAX_INPUT}, {}, "train.jsonl:1: an input of .* characters"),
    "a label without end": ({"label": "a" * (MAX_LABEL + 1)}, {}, "train.jsonl:1: a label of 100,001 characters"),
    "an id without end": ({"id": "a" * 1001}, {"id": "id"}, "train.jsonl:1: an id of 1,001 characters"),
    "choices without end": ({"choices": ["a", "b"] * 501}, {"choices": "choices"}, "1,002 choices"),
    "an object": ({"input": {"a": "x" * 10**6}}, {}, "holds an object with the keys a"),
}  # fmt: skip


@pytest.mark.parametrize("kind", CELLS)
def test_cells_without_end_are_told_with_their_place(kind: str, tmp_path: Path) -> None:
    change, settings, sentence = CELLS[kind]
    row = {"input": "a", "label": "b", "id": "1", "choices": ["a", "b"]} | change
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    task = TableTask(name="t", path=str(tmp_path / "train.jsonl"), **({"answer_kind": "free"} | settings))  # type: ignore[arg-type]
    if "choices" in settings:
        task.answer_kind = "auto"
    with pytest.raises(DataError, match=sentence) as caught:
        list(task.examples("train"))
    assert len(str(caught.value)) < 1000


def test_a_page_that_repeats_a_cell_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.tasks.tables.sources.MAX_BATCH", 2**24)
    pq.write_table(pa.table({"input": ["x" * 2**17] * 256}), tmp_path / "train.parquet")
    assert (tmp_path / "train.parquet").stat().st_size < 2**18
    with pytest.raises(DataError, match=":1: 256 rows of more than"):
        list(read_rows(tmp_path / "train.parquet"))


@pytest.mark.parametrize("content", ["[" * LONG, "9" * 5000])
def test_recorded_completions_that_are_none_are_told(content: str, tmp_path: Path) -> None:
    (tmp_path / "train_CoT_0.json").write_text(content)
    with pytest.raises(DataError, match=r"train_CoT_0\.json"):
        load_array(tmp_path / "train_CoT_0.json")
