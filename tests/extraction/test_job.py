"""What is refused before a teacher is asked, and which examples are asked about."""

from pathlib import Path
from typing import Any

import pytest
from row_files import write_rows
from scripted import ScriptedTeacher

from dsbs.cli.composition import compose
from dsbs.cli.config import register_schemas, to_object
from dsbs.core.errors import ConfigError
from dsbs.extract import build_job, choose_examples
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.extraction.summary import advise
from dsbs.tasks import TableTask
from dsbs.teachers.recorded import RecordedTeacher


def load(*words: str) -> Any:
    register_schemas()
    return to_object(compose("extract", words))


def table(folder: Path, column: list[Any], **settings: Any) -> TableTask:
    rows = [{"input": f"text {number}", "label": label} for number, label in enumerate(column)]
    return TableTask(path=str(write_rows(folder / "rows.jsonl", rows)), **settings)


@pytest.mark.parametrize(
    ("labels", "settings", "answer", "says"),
    [
        (["good", "bad"] * 4, {}, "positive", "not an answer of task table; expected one of bad, good"),
        (["good", "bad"], {"labels": ["good", "bad"]}, "Good", "expected one of good, bad"),
        ([12, 30], {"answer_kind": "number"}, "a dozen or so", "cannot parse it as an answer"),
        (["Paris", "Rome"], {}, "...", None),
        (["good", "bad"] * 4, {}, "bad", None),
        ([12, 30], {}, "3 * 4", None),
    ],
)
def test_an_exemplar_whose_answer_is_none_of_the_tasks_is_refused(
    tmp_path: Path, labels: list[Any], settings: dict[str, Any], answer: str, says: str | None
) -> None:
    prompt = Prompt("p", exemplars=[Exemplar("How is it?", "So it is.", answer)])
    job = Job(table(tmp_path, labels, **settings), ScriptedTeacher(), prompt, tmp_path / "out", ["train"])
    if says is None:
        job.check()
        return
    with pytest.raises(ConfigError, match=r"prompt\.exemplars\[0\]\.answer=.*") as error:
        job.check()
    assert says in str(error.value)
    assert not (tmp_path / "out").exists()
    replay = RecordedTeacher(name="recorded", column="label")  # is not shown any exemplar
    Job(job.task, replay, prompt, tmp_path / "out", ["train"]).check()


@pytest.mark.parametrize("task", ["triage", "svamp", "cqa", "esnli", "anli1", "asdiv"])
def test_the_exemplars_that_we_ship_are_answers_of_their_tasks(task: str) -> None:
    config = load(f"task={task}")
    assert config.prompt.exemplars
    assert list(Job(config.task, config.teacher, config.prompt, Path(), [])._exemplar_faults()) == []


def test_a_limit_draws_by_seed_and_a_larger_one_asks_about_the_same_and_more(tmp_path: Path) -> None:
    table(tmp_path, ["good"] * 100 + ["bad"] * 100)  # sorted by label
    words = ["task=table", f"task.path={tmp_path / 'rows.jsonl'}", f"output_dir={tmp_path}"]

    def chosen(*more: str) -> frozenset[str]:
        found = choose_examples(load(*words, *more), ["train"])
        assert found is not None
        return found["train"]

    twenty = chosen("limit=20")
    assert len(twenty) == 20
    assert {int(id.split("-")[1]) // 100 for id in twenty} == {0, 1}  # both labels
    assert twenty < chosen("limit=50")
    assert twenty != chosen("limit=20", "seed=1")
    eighth = chosen("data_fraction=1/8")
    assert chosen("data_fraction=1/8", "limit=5") < eighth
    job = build_job(load(*words, "limit=20"))
    assert {example.id for example in job.examples("train")} == twenty


def test_few_answers_that_can_be_used_bring_advice() -> None:
    def told(**statuses: int) -> list[str]:
        return advise({"splits": {"train": {"examples": 20, "statuses": statuses}}}, ["train", "test"])

    assert told(ok=18, no_cue=2) == []
    (line,) = told(ok=3, no_cue=15, empty=2)
    assert line.startswith("train: 3 of 20 are usable, 15 have the status no_cue.")
    assert "prompt.exemplars" in line
    assert "teacher.max_tokens" in told(ok=3, cut_off=17)[0]
    assert told(**{"request_failed: HTTP 400": 20}) == []
