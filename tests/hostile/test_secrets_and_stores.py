"""Keys that settings may not hold, stores that run something, lines without end: and the sentence that comes out."""

import io
import sqlite3
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from dsbs.cli.config import to_object
from dsbs.core.errors import ConfigError, DataError
from dsbs.core.terminal import visible
from dsbs.core.untrusted import MOST_LINE
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.inputs import read_inputs
from dsbs.store import CompletionStore
from dsbs.store.__main__ import main
from dsbs.teachers.openai import OpenAITeacher

KEY = "sk-proj-0123456789abcdefghij"


@pytest.mark.parametrize(
    "extra", [{"api_key": "x"}, {"headers": {"Authorization": "Bearer x"}}, {"user": KEY}, {"a": {"password": "x"}}]
)
def test_a_setting_that_looks_like_a_key_is_refused_and_not_repeated(extra: dict[str, object]) -> None:
    (fault,) = OpenAITeacher(model="m", extra=extra).faults()
    assert "looks like a key" in fault
    assert KEY not in fault


@pytest.mark.parametrize("part", [f"{KEY}/v1", f"v1#{KEY}", f"v1?key={KEY}", "v1#x"])
def test_an_address_holds_no_key(part: str) -> None:
    (fault,) = OpenAITeacher(model="m", base_url=f"https://host.io/{part}").faults()
    assert "put no key or password into the address" in fault
    assert KEY not in fault


def test_settings_do_not_take_in_the_environment() -> None:
    for value in ("${oc.env:HOME}", "a ${oc.env:HOME,x}", ["${oc.env:HOME}"]):
        with pytest.raises(ConfigError, match=r"prompt\.instruction: reads an environment variable"):
            to_object(OmegaConf.create({"prompt": {"instruction": value}}))


HOSTILE = {
    "a view": "CREATE VIEW x AS SELECT 1",
    "a view in place of a table": "DROP TABLE failures; CREATE VIEW failures AS SELECT 1",
    "a trigger": "CREATE TRIGGER x AFTER INSERT ON failures BEGIN DELETE FROM completions; END",
    "a trigger of our name": "DROP TRIGGER count_completion; "
    "CREATE TRIGGER count_completion AFTER INSERT ON completions BEGIN DELETE FROM completions; END",
    "a computed column": "CREATE TABLE x (a INT, b TEXT GENERATED ALWAYS AS (zeroblob(1000000000)))",
    "no table of ours": "DROP TABLE meta",
}


@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("command", ["show", "export", "merge"])
def test_a_store_that_runs_something_is_refused(
    kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "theirs.sqlite"
    CompletionStore(store).close()
    with sqlite3.connect(store) as db:
        db.executescript(HOSTILE[kind])
    words = {
        "show": [str(store)],
        "export": [str(store), "--to", str(tmp_path / "out.jsonl")],
        "merge": [str(tmp_path / "mine.sqlite"), str(store)],
    }
    assert main([command, *words[command]]) == 1
    assert "this is no store of completions" in capsys.readouterr().err


def test_a_line_without_end_is_told_with_its_number() -> None:
    text = b"one\n" + b"x" * (MOST_LINE + 5) + b"\n"
    with pytest.raises(DataError, match="standard input:2: a line of more than"):
        list(read_inputs("-", "text", Remembered(), io.BytesIO(text)))


def test_escapes_are_shown_and_not_obeyed() -> None:
    assert visible("a\x1b]0;t\x07\n") == "a\\x1b]0;t\\x07\n"
