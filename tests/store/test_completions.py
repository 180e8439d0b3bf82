"""The store: committed completions by request key."""

import sqlite3
from pathlib import Path

import pytest

from dsbs.core.errors import DataError, RunError
from dsbs.core.records import Completion, Request
from dsbs.store import CompletionStore, Failure, Origin

IDENTITY = {"task": {}, "teacher": {"model": "m"}, "prompt": {"cue": "So"}}


def ask(number: int = 0, **changes: object) -> Request:
    parts = {"id": f"train-{number}", "split": "train", "instruction": "", "shots": (("q", "a"),)}
    return Request(**(parts | {"question": f"question {number}"} | changes))  # type: ignore[arg-type]


@pytest.fixture
def store(tmp_path: Path):
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        yield store


def fill(store: CompletionStore, count: int = 1) -> Origin:
    origin = store.origin(IDENTITY, ask())
    store.add(origin, [(ask(number), Completion(f"text {number}", "stop", "m", 3, 2, 7.0)) for number in range(count)])
    return origin


def test_a_completion_comes_back_untouched(store: CompletionStore) -> None:
    origin = store.origin(IDENTITY, ask())
    said = Completion("Ä\n\ttext\0 ", "length", "m", 3, None, 7.5)
    store.add(origin, [(ask(), said)])
    assert store.completions([origin.key(ask())]) == {origin.key(ask()): said}


def test_text_that_is_no_unicode_is_kept_as_far_as_it_goes(store: CompletionStore) -> None:
    origin = store.origin(IDENTITY, ask())
    odd = ask(question="a\ud800b")
    store.add(origin, [(odd, Completion("c\udfffd"))])
    assert store.completions([origin.key(odd)])[origin.key(odd)].text == "c\ufffdd"


def test_it_survives_closing_and_opening(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "completions.sqlite"
    with CompletionStore(path) as store:
        origin = fill(store, 3)
    with CompletionStore(path, read_only=True) as store:
        assert store.present(origin.key(ask(number)) for number in range(5)) == {origin.key(ask(n)) for n in range(3)}


def test_the_key_follows_teacher_prompt_question_sample_and_instruction(store: CompletionStore) -> None:
    origin = store.origin(IDENTITY, ask())
    other_teacher = store.origin(IDENTITY | {"teacher": {"model": "n"}}, ask())
    other_shots = store.origin(IDENTITY, ask(shots=(("q", "b"),)))
    same = store.origin(IDENTITY | {"task": {"rows": 9}}, ask())
    keys = {
        origin.key(ask()), origin.key(ask(1)), origin.key(ask(sample=1)), origin.key(ask(instruction="Think.")),
        other_teacher.key(ask()), other_shots.key(ask()),
    }  # fmt: skip
    assert len(keys) == 6
    assert same == origin
    assert origin.key(ask(id="another", split="test")) == origin.key(ask())


def test_a_replay_tells_examples_with_the_same_question_apart(store: CompletionStore) -> None:
    origin = store.origin(IDENTITY, ask(), by_id=True)
    assert origin.key(ask(id="another")) != origin.key(ask())


def test_the_first_of_two_completions_for_one_request_stays(store: CompletionStore) -> None:
    origin = fill(store)
    store.add(origin, [(ask(), Completion("again"))])
    assert store.count() == 1
    assert store.find("train", "train-0") == Completion("text 0", "stop", "m", 3, 2, 7.0)


def test_a_failure_is_kept_until_a_completion_comes(store: CompletionStore) -> None:
    origin = store.origin(IDENTITY, ask())
    store.fail(origin, [(ask(), Failure("timeout", "first")), (ask(), Failure("HTTP 500", "second"))])
    assert store.failures([origin.key(ask())]) == {origin.key(ask()): Failure("HTTP 500", "second")}
    fill(store)
    assert store.failures([origin.key(ask())]) == {}


def test_the_store_can_be_read_by_itself(store: CompletionStore) -> None:
    fill(store, 2)
    row = next(store.rows())
    assert {"split", "id", "sample", "question", "text", "model"} <= row.keys()
    assert list(store.identities().values()) == [IDENTITY]


def test_a_file_that_is_no_store_is_refused(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("this is no database, however long it may be" * 50)
    with pytest.raises(RunError, match=r"unable to open.*Check free space and permissions, or name another place"):
        CompletionStore(Path("/proc/self/served.sqlite"))
    with pytest.raises(DataError, match="not a store of completions"):
        CompletionStore(text)
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as db:
        db.execute("CREATE TABLE meta (name TEXT, value TEXT)")
    with pytest.raises(DataError, match="not a store of completions"):
        CompletionStore(other)
    with pytest.raises(DataError, match="there is no such store"):
        CompletionStore(tmp_path / "missing", read_only=True)


def test_a_store_that_cannot_be_written_says_so_and_keeps_what_it_has(tmp_path: Path) -> None:
    path = tmp_path / "completions.sqlite"
    with CompletionStore(path) as store:
        origin = fill(store, 1)
        with CompletionStore(path, read_only=True) as reader, pytest.raises(RunError, match="cannot be written"):
            reader.add(origin, [(ask(1), Completion("text"))])
        assert store.count() == 1


def test_many_keys_are_looked_up_in_parts(store: CompletionStore) -> None:
    origin = fill(store, 1200)
    keys = [origin.key(ask(number)) for number in range(1300)]
    assert len(store.present(keys)) == len(store.completions(keys)) == 1200
