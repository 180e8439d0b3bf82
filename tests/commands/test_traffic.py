"""``python -m dsbs.traffic``: recorded traffic becomes data, and no data of another call stays beside it."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from dsbs.serving.agreement import count_agreement
from dsbs.serving.traffic import Exchange, TrafficStore
from dsbs.tasks.answers import FreeAnswers

Traffic = Callable[..., tuple[int, str, str]]


@pytest.fixture
def traffic(run_dsbs: Traffic) -> Traffic:
    return partial(run_dsbs, "traffic")


def record(path: Path, count: int, message: str = "Classify: It leaks {}.\nLabel:", answer: str = "refund") -> None:
    store = TrafficStore(path)
    for number in range(count):
        messages = [{"role": "user", "content": message.format(number)}]
        store.add(Exchange(number, 0.1, "llm", messages, answer, "stop"))
    store.close()


def inputs(path: Path) -> list[str]:
    return [json.loads(line)["input"] for line in path.read_text().splitlines()]


def test_a_test_split_of_an_earlier_call_never_stays_beside_a_train_split_that_has_its_rows(
    traffic: Traffic, tmp_path: Path
) -> None:
    record(tmp_path / "t.sqlite", 10)
    for share in ("0.2", "0"):
        code, _, err = traffic("store=t.sqlite", "data=data", f"test_share={share}")
        assert (code, err) == (0, "")
    assert len(inputs(tmp_path / "data/train.jsonl")) == 10
    assert not (tmp_path / "data/test.jsonl").exists()
    record(tmp_path / "why.sqlite", 3, answer="It leaks,\nwhich is wear. So the answer is refund.")
    traffic("store=why.sqlite", "data=data")
    assert not (tmp_path / "data/unexplained/train.jsonl").exists()


def test_the_command_to_come_back_with_has_all_that_was_typed(traffic: Traffic, tmp_path: Path) -> None:
    record(tmp_path / "t.sqlite", 2)
    template = r'chat.template="Classify: {input}\nLabel:"'
    code, out, _ = traffic("store=t.sqlite", "data=data", template)
    assert code == 0
    assert inputs(tmp_path / "data/train.jsonl") == ["It leaks 0.", "It leaks 1."]  # \n is a new line
    assert f"python -m dsbs.traffic store=t.sqlite data=data '{template}' rationales=FOLDER" in out


def test_one_row_is_for_train_whatever_the_share(traffic: Traffic, tmp_path: Path) -> None:
    record(tmp_path / "t.sqlite", 1)
    assert traffic("store=t.sqlite", "data=data", "test_share=0.9")[0] == 0
    assert len(inputs(tmp_path / "data/train.jsonl")) == 1


def test_data_from_elsewhere_is_not_mixed_with_it_or_overwritten(traffic: Traffic, tmp_path: Path) -> None:
    record(tmp_path / "t.sqlite", 2)
    for name, content in {"train.csv": "text,label\n", "train.jsonl": '{"input": "mine"}\n'}.items():
        folder = tmp_path / name.replace(".", "-")
        folder.mkdir()
        (folder / name).write_text(content)
        code, _, err = traffic("store=t.sqlite", f"data={folder.name}")
        assert code == 1
        assert f"data={folder.name}: a folder with other files in it ({name})" in err
        assert (folder / name).read_text() == content


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["data=file"], "file: a file, where a folder is needed"),
        (["data=file/below"], "file: a file, where a folder is needed"),
        (["data="], "data=: expected a folder"),
        (["data=data", 'chat.template="Label {input}"'], "chat.template matches none of them"),
        (["data=data", "store=none.sqlite"], "none.sqlite: nothing was recorded"),
        ([r'chat.pattern="(a"'], "chat.pattern=(a: missing ): (a."),
    ],
)
def test_a_mistake_is_told_in_a_sentence(traffic: Traffic, tmp_path: Path, words: list[str], says: str) -> None:
    (tmp_path / "file").touch()
    record(tmp_path / "none.sqlite", 0)
    record(tmp_path / "t.sqlite", 2)
    code, _, err = traffic(*words, *["store=t.sqlite"] * ("store=none.sqlite" not in words))
    assert code == 1
    assert says in err
    assert "Traceback" not in err


def test_a_store_with_half_a_character_is_read(traffic: Traffic, tmp_path: Path) -> None:
    record(tmp_path / "t.sqlite", 1)
    store = TrafficStore(tmp_path / "t.sqlite")
    store._db.execute("UPDATE traffic SET messages = ?", ('[{"role": "user", "content": "\\ud800 leaks"}]',))
    store._db.commit()
    store.close()
    assert traffic("store=t.sqlite", "data=data")[0] == 0
    assert inputs(tmp_path / "data/train.jsonl") == ["\ufffd leaks"]


def test_answers_that_differ_in_case_and_spaces_agree(tmp_path: Path) -> None:
    store = TrafficStore(tmp_path / "t.sqlite")
    for student in ("Refund", "refund ", "repair", None):
        store.compare(0.9, False, student, "refund")
    assert count_agreement(store.compared(), FreeAnswers())["all"]["same"] == 2


def test_unsure_answers_are_counted_apart_and_many_labels_are_cut(traffic: Traffic, tmp_path: Path) -> None:
    """In mode=defer all of the unsure ones are compared, but a sample of the others: together they are no agreement."""
    store = TrafficStore(tmp_path / "t.sqlite")
    for number in range(60):
        store.compare(0.9, False, f"answer {number}", f"answer {number}")
        store.compare(0.2, True, "refund", "repair")
    code, out, _ = traffic("store=t.sqlite")
    assert code == 0
    rows = [[cell.strip() for cell in line.split("\u2502")[1:4]] for line in out.splitlines()]
    assert ["all that the student is sure of", "60", "100.0%"] in rows
    assert ["all that it is unsure of", "60", "0.0%"] in rows
    assert "The 50 most frequent of 60 answers" in out
    assert "deferral.compare" not in out


def test_where_only_unsure_answers_were_compared_it_is_told(traffic: Traffic, tmp_path: Path) -> None:
    TrafficStore(tmp_path / "t.sqlite").compare(0.2, True, "refund", "repair")
    _, out, _ = traffic("store=t.sqlite")
    assert "deferral.compare=0.02" in out


ANSWERS = ("refund", "repair")


def record_two_kinds(path: Path, start: int, count: int, wrong: int = 0) -> None:
    """Record messages about leaks, which are refunded, and noises, which are repaired; the first ones wrongly."""
    store = TrafficStore(path)
    for number in range(start, start + count):
        kind = (number + (number < start + wrong)) % 2
        text = f"Classify: {('It leaks', 'It is noisy')[number % 2]}, order {number}.\nLabel:"
        store.add(Exchange(number, 0.1, "llm", [{"role": "user", "content": text}], ANSWERS[kind], "stop"))
    store.close()


def test_a_student_is_compared_on_recorded_inputs_that_it_was_not_trained_on(
    traffic: Traffic, run_dsbs: Traffic, tmp_path: Path
) -> None:
    template = r'chat.template="Classify: {input}\nLabel:"'
    record_two_kinds(tmp_path / "t.sqlite", 0, 40)
    assert traffic("store=t.sqlite", "data=data", "test_share=0", template)[0] == 0
    words = ["task=recorded", "task.path=data", "task.labels=[refund,repair]", "teacher=recorded", "labels=teacher"]
    assert run_dsbs("extract", *words)[0] == 0
    code, _, err = run_dsbs("train", *words, "objective=distill", "student=logreg", "tracking.mode=disabled")
    assert code == 0, err
    (run,) = (tmp_path / "outputs/train").rglob("metrics.json")
    student = f"checkpoint={run.parent.relative_to(tmp_path)}"

    code, out, _ = traffic("store=t.sqlite", template, student)
    assert code == 0
    assert "Not compared: 40 inputs that the student was trained on." in out
    assert "No recorded input is left to compare on" in out

    record_two_kinds(tmp_path / "t.sqlite", 40, 10, wrong=2)
    code, out, _ = traffic("store=t.sqlite", template, student)
    assert code == 0
    rows = [[cell.strip() for cell in line.split("\u2502")[1:4]] for line in out.splitlines()]
    assert ["all", "10", "80.0%"] in rows

    code, out, _ = traffic("store=t.sqlite", student)
    assert code == 0
    assert "No recorded input is in the student's training data." in out
    assert "has changed since the training" not in out

    record_two_kinds(tmp_path / "t.sqlite", 50, 10)
    assert traffic("store=t.sqlite", "data=data", "test_share=0.5", template)[0] == 0
    code, out, _ = traffic("store=t.sqlite", template, student)
    assert code == 0
    assert "The run's data has changed since the training" in out
