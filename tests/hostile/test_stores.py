"""Stores of somebody else, given to ``store show``, ``export`` and ``merge``: and the sentence that comes out."""

import hashlib
import json
import os
import random
import re
import sqlite3
from contextlib import closing
from itertools import cycle
from pathlib import Path

import numpy as np
import pytest
from scripted import age_store

from dsbs.core.errors import DataError
from dsbs.core.records import Completion, Request
from dsbs.store import CompletionStore, reading
from dsbs.store.__main__ import main
from dsbs.store.schema import FORMATS
from dsbs.students.embedding_cache import EmbeddingCache

IDENTITY = {"teacher": {"kind": "openai", "model": "m"}, "prompt": {}, "task": {"name": "count"}}
COMMANDS = ("show", "export", "merge")
FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"
RUNS = {
    "a view": "CREATE VIEW x AS SELECT 1",
    "a trigger": "CREATE TRIGGER x AFTER INSERT ON failures BEGIN DELETE FROM completions; END",
    "a trigger of our name": "DROP TRIGGER count_completion; "
    "CREATE TRIGGER count_completion AFTER INSERT ON completions BEGIN DELETE FROM completions; END",
    "a virtual table": "CREATE VIRTUAL TABLE x USING fts5(y)",
    "a computed column": "CREATE TABLE x (a INT, b TEXT GENERATED ALWAYS AS (zeroblob(1000000000)))",
    "a computed column, said otherwise": "CREATE TABLE x (a INT, b TEXT AS(hex(zeroblob(1000000000))))",
    "a computed column of a table": "ALTER TABLE completions ADD COLUMN x AS/**/(hex(zeroblob(1000000000)))",
    "an index over an expression": "CREATE INDEX x ON completions (hex(zeroblob(length(text))))",
    "a check": "CREATE TABLE x (a INT CHECK(length(hex(zeroblob(a))) > 1))",
    "tables without end": "".join(f"CREATE TABLE x{number} (a);" for number in range(200)),
}
ODD = {
    "no table of ours": ("DROP TABLE meta", "no table meta"),
    "a table that lacks a column": ("ALTER TABLE completions RENAME COLUMN text TO said", "no such column"),
    "another format": ("UPDATE meta SET value = '99'", "format 99, expected"),
    "a format that is no number": ("UPDATE meta SET value = zeroblob(9)", "format b'"),
    "bytes in place of a text": ("UPDATE completions SET text = zeroblob(9)", "completions has invalid rows (1)"),
    "a text in place of a time": ("UPDATE completions SET created = 'now'", "completions has invalid rows (1)"),
    "tokens without end": ("UPDATE completions SET prompt_tokens = 1 << 62", "completions has invalid rows (1)"),
    "an identity that is no JSON": ("UPDATE origins SET identity = '{'", "table origins has unexpected content"),
    "an identity that is a list": ("UPDATE origins SET identity = '[]'", "table origins has unexpected content"),
    "a deep identity": ("UPDATE origins SET identity = replace(hex(zeroblob(60000)), '0', '[')", "table origins has"),
    "a cell without end": ("UPDATE completions SET text = hex(zeroblob(1000000))", "too big"),
}  # fmt: skip


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store that holds one completion, closed."""
    path = tmp_path / "theirs.sqlite"
    with CompletionStore(path) as opened:
        request = Request("train-0", "train", "Count.", (), "How many?")
        opened.add(opened.origin(IDENTITY, request), [(request, Completion("Two.", "stop", "m", 7, 2))])
    return path


def words(command: str, store: Path) -> list[str]:
    """Return what is typed to give a store to a command."""
    more = {"show": ["--examples", "9"], "export": ["--to", str(store.parent / "out.jsonl")], "merge": []}[command]
    return [command, *([str(store.parent / "mine.sqlite")] if command == "merge" else []), str(store), *more]


@pytest.mark.parametrize(("kind", "command"), zip(RUNS, cycle(COMMANDS)))  # all of them read it in the same way
def test_a_store_that_runs_something_is_refused(
    kind: str, command: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(store)) as db:
        db.executescript(RUNS[kind])
    assert main(words(command, store)) == 1
    assert re.search(r"not a store of completions \(it has (a|more than)", capsys.readouterr().err)


@pytest.mark.parametrize(("kind", "command"), zip(ODD, cycle(COMMANDS)))
def test_a_store_that_holds_something_else_is_refused(
    kind: str, command: str, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "MAX_CELL", 2**20)
    statement, sentence = ODD[kind]
    with closing(sqlite3.connect(store)) as db:
        db.executescript(statement)
    assert main(words(command, store)) == 1
    said = capsys.readouterr().err
    assert "not a store of completions" in said
    assert sentence in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("command", COMMANDS)
def test_a_few_pages_that_show_rows_without_end_are_refused(
    command: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(store)) as db:
        for number in range(2000):
            db.execute("INSERT INTO failures VALUES (?, 1, 'train', ?, 0, 'no', ?, 1.0)",
                       (number.to_bytes(16, "big"), str(number), "x" * 400))  # fmt: skip
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'failures'").fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    content = bytearray(store.read_bytes())
    page = (root - 1) * size
    assert content[page] == 2  # an interior page: all of its cells are made to lead to the first one's child
    cells = [int.from_bytes(content[page + 12 + 2 * n :][:2], "big") for n in range(content[page + 4])]
    for cell in cells:
        content[page + cell : page + cell + 4] = content[page + cells[0] : page + cells[0] + 4]
    store.write_bytes(content)
    assert main(words(command, store)) == 1
    assert "not a store of completions" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_reading_a_store_has_a_time_limit(
    command: str, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(reading, "SECONDS", -1.0)
    monkeypatch.setattr(reading, "STEPS", 1)
    assert main(words(command, store)) == 1
    assert "reading it takes more than the" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("version", FORMATS)
def test_a_store_that_is_read_stays_as_it_is_whatever_its_format(
    version: str, command: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA journal_mode=DELETE")
    age_store(store, version)
    before = hashlib.sha256(store.read_bytes()).digest()
    store.chmod(0o444)
    assert main(words(command, store)) == 0
    said = capsys.readouterr().out
    assert hashlib.sha256(store.read_bytes()).digest() == before
    assert not list(store.parent.glob("theirs.sqlite-*"))
    if command == "show":
        assert re.search(r"count +│ m +│ train +│ +1 │ +0 │ +7 │ +2", said)
        assert "Two." in said
    elif command == "export":
        (row,) = map(json.loads, (store.parent / "out.jsonl").read_text().splitlines())
        assert (row["task"], row["teacher"], row["text"], row["reasoning"]) == ("count", "m", "Two.", None)
    else:
        with CompletionStore(store.parent / "mine.sqlite") as mine:
            assert [(row["text"], row["prompt_tokens"]) for row in mine.rows()] == [("Two.", 7)]
            assert mine.totals(mine.origins()[0]) == (1, 7, 2)


def test_what_is_no_text_does_not_end_the_reading(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with closing(sqlite3.connect(store)) as db:
        db.executescript("UPDATE completions SET text = CAST(x'41ff1b5d42' AS TEXT), id = CAST(x'ff' AS TEXT)")
    for command in COMMANDS:
        assert main(words(command, store)) == 0
    said = capsys.readouterr().out
    assert "A\ufffd\\x1b]B" in said
    assert main(["show", str(store.parent / "mine.sqlite"), "--examples", "1"]) == 0


@pytest.mark.parametrize("place", ["a folder", "a FIFO", "words", "nothing", "a link to a device"])
def test_what_is_no_store_is_told(place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "theirs.sqlite"
    make = {"a folder": path.mkdir, "a FIFO": lambda: os.mkfifo(path), "words": lambda: path.write_text("x" * 5000),
            "nothing": lambda: None, "a link to a device": lambda: path.symlink_to("/dev/zero")}  # fmt: skip
    make[place]()
    for command in COMMANDS:
        assert main(words(command, path)) == 1
        assert "no such store" in (said := capsys.readouterr().err) or "not a store" in said


@pytest.mark.parametrize("to", ["/proc/x.jsonl", "/dev/null/x.parquet", "out.txt", "theirs.sqlite"])
def test_a_place_to_write_to_that_is_none_is_told(
    to: str, store: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(store.parent)
    assert main(["export", str(store), "--to", to]) == 1
    assert capsys.readouterr().err.count("\n") == 1


TRAFFIC = {
    "a view": (f"DROP TABLE traffic; CREATE VIEW traffic AS {FOREVER}", "it has an unexpected view"),
    "a virtual table": ("DROP TABLE traffic; CREATE VIRTUAL TABLE traffic USING fts5(id)", "an unexpected table"),
    "messages that are no JSON": ("UPDATE traffic SET messages = '{'", "its messages are not valid JSON"),
    "deep messages": ("UPDATE traffic SET messages = replace(hex(zeroblob(60000)), '0', '[')", "are not valid JSON"),
    "bytes for messages": ("UPDATE traffic SET messages = zeroblob(9)", "its table traffic has a row that"),
    "a text for a time": ("UPDATE traffic SET created = 'now'", "its table traffic has a row that"),
    "no time": ("UPDATE traffic SET seconds = 9e999", "its table traffic has a row that"),
    "another table": ("ALTER TABLE traffic RENAME TO x", "no such table: traffic"),
}  # fmt: skip


@pytest.mark.parametrize("kind", TRAFFIC)
def test_recorded_traffic_of_somebody_else_is_read_within_bounds(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("re2", reason="needs the extra serve")
    from dsbs.serving.traffic import Exchange, TrafficStore, open_traffic

    path = tmp_path / "traffic.sqlite"
    store = TrafficStore(path)
    store.add(Exchange(1.0, 1.0, "m", [{"role": "user", "content": "a"}], "b", "stop"))
    store.close()
    with open_traffic(path) as opened:
        assert [exchange.completion for exchange in opened.exchanges()] == ["b"]
    statement, sentence = TRAFFIC[kind]
    with closing(sqlite3.connect(path)) as db:
        db.executescript(statement)
    with pytest.raises(DataError, match=sentence), open_traffic(path) as opened:
        list(opened.exchanges())


def test_embeddings_of_somebody_else_are_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(tmp_path / "cache.sqlite")) as db:
        db.execute(f"CREATE VIEW vectors (key, vector) AS SELECT x, x FROM ({FOREVER})")
    cache = EmbeddingCache(tmp_path / "cache.sqlite")
    assert cache.get(["a"]) == {}
    cache.put({"a": np.zeros(3, dtype=np.float32)})
    assert caplog.text.count("it has an unexpected view") == 2
    cache = EmbeddingCache(tmp_path / "other.sqlite")
    cache.put({"a": np.zeros(3, dtype=np.float32)})
    assert list(cache.get(["a"])) == ["a"]
    with closing(sqlite3.connect(tmp_path / "other.sqlite")) as db:
        db.executescript("UPDATE vectors SET vector = zeroblob(5)")
    assert cache.get(["a"]) == {}


@pytest.mark.parametrize("seed", range(6))
def test_a_broken_store_ends_no_command_in_a_traceback(
    seed: int, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    draw, sound = random.Random(seed), store.read_bytes()
    for _ in range(5):
        content = bytearray(sound)
        for _ in range(draw.choice([1, 2, 5, 20])):
            page = 4096 * draw.randrange(len(content) // 4096)
            content[page + draw.randrange(draw.choice([120, 4096]))] = draw.randrange(256)
        store.write_bytes(content)
        for command in COMMANDS:
            code = main(words(command, store))
            assert capsys.readouterr().err.count("\n") == code
        for path in (*store.parent.glob("mine*"), *store.parent.glob("out*"), *store.parent.glob("*-wal")):
            path.unlink()
