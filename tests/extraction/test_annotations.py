"""The folder of an extraction."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from scripted import CountTask, ScriptedTeacher, count_prompt, load_annotations

from dsbs.core.errors import DataError
from dsbs.core.files import write_json
from dsbs.core.records import Annotation
from dsbs.extraction.annotations import (
    SUMMARY,
    AnnotationFile,
    Extraction,
    find_extractions,
    load_summary,
    rationales_dir,
    write_annotations,
)

ROWS = [Annotation("1", "8", "Because.", "ok", 0.6, {"8": 3, 'a "b"': 2}), Annotation("2", status="no_cue")]


def test_annotations_come_back_as_they_were_written(tmp_path: Path) -> None:
    write_annotations(tmp_path, "train", iter(ROWS))
    assert list(AnnotationFile(tmp_path, "train")) == ROWS
    assert load_annotations(tmp_path, "train")["2"].status == "no_cue"


def test_two_processes_that_write_at_once_do_not_take_each_others_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def meanwhile() -> Iterator[Annotation]:
        yield from ROWS
        monkeypatch.setattr("os.getpid", lambda: 0)
        write_annotations(tmp_path, "train", ROWS)

    write_annotations(tmp_path, "train", meanwhile())
    assert list(AnnotationFile(tmp_path, "train")) == ROWS
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]


def test_half_a_file_never_takes_the_place_of_a_whole_one(tmp_path: Path) -> None:
    write_annotations(tmp_path, "train", ROWS)

    def break_off() -> Iterator[Annotation]:
        yield ROWS[0]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_annotations(tmp_path, "train", break_off())
    assert len(load_annotations(tmp_path, "train")) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["train.parquet"]


def test_a_file_that_cannot_be_begun_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def begin(place: Path, schema: object) -> None:
        place.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "ParquetWriter", begin)
    with pytest.raises(OSError, match="No space left"):
        write_annotations(tmp_path, "train", ROWS)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_to_be_deleted_only_where_it_is_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "test.parquet").write_bytes(b"no parquet at all")
    with pytest.raises(
        DataError, match=r"test\.parquet: cannot be read \(.*\)\. Delete it and run dsbs\.extract again"
    ):
        load_annotations(tmp_path, "test")

    def refuse(file: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pq, "ParquetFile", refuse)
    with pytest.raises(DataError, match=r"test\.parquet: cannot be read \(.*Permission denied\)\.$"):
        load_annotations(tmp_path, "test")


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test\.parquet"):
        load_annotations(tmp_path, "test")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(DataError, match=r"summary\.json"):
        load_summary(tmp_path)


def test_the_summary_is_found_again(tmp_path: Path) -> None:
    assert load_summary(tmp_path) is None
    write_json(tmp_path / SUMMARY, {"task": "count"})
    assert load_summary(tmp_path) == {"task": "count"}


def test_a_broken_summary_beside_an_extraction_is_skipped_and_its_own_is_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    base, variant, broken = (tmp_path / f"teacher-{digit * 16}" for digit in "abc")
    for folder in (base, variant, broken):
        write_annotations(folder, "train", ROWS)
    write_json(base / SUMMARY, {"filter": "none"})
    write_json(variant / SUMMARY, {"extraction": base.name, "filter": "strict", "samples": 3})
    (broken / "summary.json").write_text("{")
    assert find_extractions(base) == [Extraction(base, "none", 1), Extraction(variant, "strict", 3)]
    assert [record.message.endswith("Skipped.") for record in caplog.records] == [True]
    assert str(broken / "summary.json") in caplog.text
    (base / "summary.json").write_text("{")
    with pytest.raises(DataError, match="broken JSON"):
        find_extractions(base)


def test_the_folder_follows_examples_teacher_and_prompt(tmp_path: Path) -> None:
    folder = rationales_dir(tmp_path, CountTask(), ScriptedTeacher(), count_prompt())
    assert folder.parent == tmp_path / "rationales" / "count"
    assert folder.name.startswith("scripted-")
    same = rationales_dir(tmp_path, CountTask(prefix="x"), ScriptedTeacher(delay=1.0), count_prompt())
    others = {
        rationales_dir(tmp_path, CountTask(size=11), ScriptedTeacher(), count_prompt()),
        rationales_dir(tmp_path, CountTask(), ScriptedTeacher(model="other"), count_prompt()),
        rationales_dir(tmp_path, CountTask(), ScriptedTeacher(), count_prompt(cue="Answer:")),
    }
    assert same == folder
    assert len(others | {folder}) == 4


def test_a_file_from_before_votes_were_kept_is_read_without_them(tmp_path: Path) -> None:
    write_annotations(tmp_path, "train", ROWS)
    path = tmp_path / "train.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["votes"]), path)
    assert list(AnnotationFile(tmp_path, "train")) == [replace(ROWS[0], votes=None), ROWS[1]]
    pq.write_table(pq.read_table(path).drop_columns(["agreement"]), path)
    with pytest.raises(DataError, match="expected the columns"):
        list(AnnotationFile(tmp_path, "train"))
