"""``python -m dsbs.store``: show, merge, export."""

import errno
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedTeacher, job_for, load_annotations

from dsbs.core.errors import TeacherError
from dsbs.extraction.engine import run_extraction
from dsbs.store import CompletionStore
from dsbs.store.__main__ import main

COLUMNS = {"task", "teacher", "split", "id", "sample", "question", "text", "finish_reason", "model", "prompt_tokens",
           "completion_tokens", "created", "reasoning", "logprobs"}  # fmt: skip


@pytest.fixture
def shards(tmp_path: Path) -> list[str]:
    """Two shards of one extraction; the second failed on one example that the first has."""
    for name, numbers in (("one", range(6)), ("two", range(4, 10))):
        ids = {f"train-{number}" for number in numbers}
        run_extraction(job_for(tmp_path / name, ScriptedTeacher(), select={"train": ids}))
    failing = ScriptedTeacher(says=lambda request: TeacherError("HTTP 400: no", reason="HTTP 400"))
    with pytest.raises(TeacherError, match="None of 1 requests"):
        run_extraction(job_for(tmp_path / "two", failing, select={"train": {"train-0"}}))
    return [str(tmp_path / "one"), str(tmp_path / "two")]


def test_shards_become_one_store_however_often_they_are_merged(tmp_path: Path, shards: list[str]) -> None:
    for _ in range(2):
        assert main(["merge", str(tmp_path / "whole"), *shards]) == 0
    with CompletionStore(tmp_path / "whole" / "completions.sqlite") as store:
        assert store.count() == sum(1 for _ in store.rows()) == 10
        assert len(store.origins()) == 1
        assert store.totals(store.origins()[0]) == (10, 200, 100)
        assert store.overview() == [("count", "scripted", "train", 10, 0, 200, 100)]
    teacher = ScriptedTeacher()
    run_extraction(job_for(tmp_path / "whole", teacher))
    assert teacher.asked == 0
    assert len(load_annotations(tmp_path / "whole", "train")) == 10


def test_stores_of_different_teachers_keep_their_origins_apart(tmp_path: Path, shards: list[str]) -> None:
    run_extraction(job_for(tmp_path / "other", ScriptedTeacher(model="another"), limit=3))
    assert main(["merge", str(tmp_path / "other"), *shards]) == 0
    with CompletionStore(tmp_path / "other" / "completions.sqlite") as store:
        assert [row[1:4] for row in store.overview()] == [("another", "train", 3), ("scripted", "train", 10)]


def test_it_shows_what_is_in_a_store(capsys: pytest.CaptureFixture[str], shards: list[str]) -> None:
    assert main(["show", shards[1], "--examples", "1"]) == 0
    said = capsys.readouterr().out
    assert "scripted" in said
    assert "So the answer is" in said


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet", ""])
def test_completions_can_be_carried_elsewhere(tmp_path: Path, shards: list[str], suffix: str) -> None:
    target = tmp_path / f"out{suffix}"
    assert main(["export", shards[0], "--to", str(target)]) == 0
    if suffix == ".jsonl":
        rows = [json.loads(line) for line in target.read_text().splitlines()]
    else:
        import datasets

        source = datasets.load_from_disk(str(target)) if not suffix else datasets.Dataset.from_parquet(
            str(target), cache_dir=str(tmp_path / "cache"))  # fmt: skip
        rows = list(source)
    assert len(rows) == 6
    assert set(rows[0]) == COLUMNS
    assert (rows[0]["task"], rows[0]["teacher"], rows[0]["split"]) == ("count", "scripted", "train")


def test_the_hub_gets_every_completion_and_shows_it_to_nobody_unless_told_to(
    shards: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed: list[tuple[str, bool, int, set[str]]] = []
    monkeypatch.setattr(
        "datasets.Dataset.push_to_hub",
        lambda self, name, private: pushed.append((name, private, len(self), set(self.column_names))),
    )
    assert main(["export", shards[0], "--to", "hub:me/mine"]) == 0
    assert main(["export", shards[0], "--to", "hub:me/mine", "--public"]) == 0
    assert pushed == [("me/mine", True, 6, COLUMNS), ("me/mine", False, 6, COLUMNS)]
    assert "6 completions written to hub:me/mine" in capsys.readouterr().out


def test_a_hub_that_refuses_is_told_in_a_sentence(
    shards: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(self: object, name: str, private: bool) -> None:
        raise OSError("401 Client Error")

    monkeypatch.setattr("datasets.Dataset.push_to_hub", refuse)
    assert main(["export", shards[0], "--to", "hub:me/mine"]) == 1
    said = capsys.readouterr().err
    assert "401 Client Error" in said
    assert "hf auth login" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["show", "nowhere"], "there is no such store"),
        (["merge", "one", "nowhere"], "there is no such store"),
        (["merge", "one", "one"], "into itself"),
        (["export", "one", "--to", "out.csv"], "NAME.parquet"),
        (["export", "one", "--to", "one/completions.sqlite"], "exists already"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(
    tmp_path: Path, shards: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    words: list[str], message: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(words) == 1
    assert message in capsys.readouterr().err


def test_a_merge_that_cannot_be_leaves_no_empty_store(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["merge", str(tmp_path / "new.sqlite"), str(tmp_path / "nowhere")]) == 1
    assert "there is no such store" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["all.jsonl", "all.parquet"])
def test_half_an_export_is_never_taken_for_a_whole_one(
    tmp_path: Path, shards: list[str], name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = CompletionStore.rows

    def full(store: CompletionStore) -> Iterator[dict[str, Any]]:
        yield next(rows(store))
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "out").mkdir()
    monkeypatch.setattr(CompletionStore, "rows", full)
    assert main(["export", shards[0], "--to", str(tmp_path / "out" / name)]) == 1
    assert f"out/{name}: cannot be written: No space left on device. Free some space" in capsys.readouterr().err
    assert not list((tmp_path / "out").iterdir())
    monkeypatch.undo()
    assert main(["export", shards[0], "--to", str(tmp_path / "out" / name)]) == 0


def test_a_number_of_examples_that_is_none_is_told(shards: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["show", shards[0], "--examples", "-1"])
    assert "expected a number of completions, found '-1'" in capsys.readouterr().err
