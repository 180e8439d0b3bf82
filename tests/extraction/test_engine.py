"""The engine: what is asked, kept, counted and resumed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripted import CountTask, ScriptedTeacher, correct, count_prompt, job_for, load_annotations

from dsbs.core.errors import ConfigError, DataError, TeacherError
from dsbs.core.records import Completion, Example, Request
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.filters import Filter
from dsbs.extraction.prompts import Exemplar
from dsbs.store import CompletionStore
from dsbs.tasks import TableTask


def split_of(summary: dict[str, Any], split: str = "train") -> dict[str, Any]:
    return summary["splits"][split]


def test_the_summary_has_the_form_of_the_contract(tmp_path: Path) -> None:
    summary = run_extraction(job_for(tmp_path, ScriptedTeacher(), splits=["train", "test"]))
    assert json.loads((tmp_path / "summary.json").read_text()) == summary
    assert {"task", "teacher", "model", "splits", "seconds"} <= summary.keys()
    assert summary["model"] == "scripted"
    assert {
        "examples", "parsed", "failed", "teacher_accuracy", "requests", "cached", "prompt_tokens",
        "completion_tokens", "cost_usd",
    } <= split_of(summary, "test").keys()  # fmt: skip
    assert split_of(summary)["teacher_accuracy"] == 1.0
    assert (split_of(summary)["prompt_tokens"], split_of(summary)["cost_usd"]) == (200, 0.0)


@pytest.mark.parametrize(
    ("named", "words"),
    [
        (["scripted"], []),
        (["Provider/scripted-2026-11-01"], []),
        (["other-7b"], ["says that other-7b answered (teacher.model=scripted)"]),
        (["scripted-1", "scripted-2"], ["2 models", "scripted-1 (5), scripted-2 (5)", "teacher.model=VERSION"]),
    ],
)
def test_models_other_than_the_one_that_was_asked_are_told(tmp_path: Path, named: list[str], words: list[str]) -> None:
    def says(request: Request) -> Completion:
        return Completion(correct(request), "stop", named[int(request.id.split("-")[1]) % len(named)], 20, 10)

    notes = run_extraction(job_for(tmp_path, ScriptedTeacher(says=says)))["notes"]
    assert len(notes) == bool(words)
    assert all(word in notes[0] for word in words)


def test_recorded_answers_may_be_of_several_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedTeacher, "by_id", True)
    says = lambda request: Completion(correct(request), "stop", f"gpt-{request.id}", 20, 10)  # noqa: E731
    assert run_extraction(job_for(tmp_path, ScriptedTeacher(says=says)))["notes"] == []


def test_samples_that_are_all_the_same_text_are_told(tmp_path: Path) -> None:
    long = lambda request, tail="": Completion(f"{'I count its letters. ' * 3}{tail}{correct(request)}")  # noqa: E731
    told = {}
    for name, says in (("same", long), ("other", lambda request: long(request, str(request.sample)))):
        job = job_for(tmp_path / name, ScriptedTeacher(says=says), settings={"samples": 3})
        told[name] = [note for note in run_extraction(job)["notes"] if "word for word the same (10 questions)" in note]
    assert {name: len(notes) for name, notes in told.items()} == {"same": 1, "other": 0}


def test_a_second_run_asks_nothing_and_changes_nothing(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_for(tmp_path, teacher))
    first = load_annotations(tmp_path, "train")
    summary = run_extraction(job_for(tmp_path, teacher))
    assert (teacher.asked, teacher.connected) == (10, 1)
    assert (split_of(summary)["requests"], split_of(summary)["cached"]) == (0, 10)
    assert load_annotations(tmp_path, "train") == first


def test_growing_the_selection_asks_for_the_rest_alone(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_for(tmp_path, teacher, select={"train": {"train-3", "train-4"}}))
    assert load_annotations(tmp_path, "train").keys() == {"train-3", "train-4"}
    summary = run_extraction(job_for(tmp_path, teacher))
    assert teacher.asked == 10
    assert split_of(summary)["cached"] == 2


def test_asking_about_fewer_takes_nothing_away(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path, ScriptedTeacher()))
    summary = run_extraction(job_for(tmp_path, ScriptedTeacher(), limit=2))
    assert split_of(summary)["examples"] == 10
    assert len(load_annotations(tmp_path, "train")) == 10


def test_splits_extracted_before_stay_in_the_summary(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path, ScriptedTeacher(), splits=["test"]))
    assert run_extraction(job_for(tmp_path, ScriptedTeacher()))["splits"].keys() == {"train", "test"}


def test_an_unparsed_completion_counts_as_wrong_and_keeps_its_reason(tmp_path: Path) -> None:
    def says(request: Request) -> str:
        return "No idea." if request.id == "train-0" else correct(request)

    summary = run_extraction(job_for(tmp_path, ScriptedTeacher(says=says)))
    assert (split_of(summary)["parsed"], split_of(summary)["failed"]) == (9, 1)
    assert split_of(summary)["teacher_accuracy"] == 0.9
    assert load_annotations(tmp_path, "train")["train-0"].status == "no_cue"


def test_a_failed_request_is_listed_with_its_reason_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        return TeacherError("HTTP 400: too long", reason="HTTP 400") if request.id == "train-1" else correct(request)

    summary = run_extraction(job_for(tmp_path, ScriptedTeacher(says=says)))
    assert split_of(summary)["examples"] == 10
    assert split_of(summary)["teacher_accuracy"] == 1.0, "that is no answer of the teacher"
    assert load_annotations(tmp_path, "train")["train-1"].status == "request_failed: HTTP 400"
    teacher = ScriptedTeacher()
    summary = run_extraction(job_for(tmp_path, teacher))
    assert teacher.asked == 1
    assert load_annotations(tmp_path, "train")["train-1"].status == "ok"


def test_a_passing_fault_is_retried(tmp_path: Path) -> None:
    seen: set[str] = set()

    def says(request: Request) -> Any:
        if request.id in seen:
            return correct(request)
        seen.add(request.id)
        return TeacherError("HTTP 500: hiccup", retryable=True, reason="HTTP 500")

    teacher = ScriptedTeacher(says=says)
    summary = run_extraction(job_for(tmp_path, teacher, size=5))
    assert teacher.asked == 10
    assert split_of(summary)["parsed"] == split_of(summary)["requests"] == 5


def test_a_wrong_key_stops_after_the_first_few_and_leaves_no_trace(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=lambda request: TeacherError("no such key", fatal=True), delay=0.01)
    with pytest.raises(TeacherError, match="no such key"):
        run_extraction(job_for(tmp_path / "folder", teacher, size=5000))
    assert teacher.asked <= 64
    assert list(tmp_path.iterdir()) == []


def test_a_key_that_is_withdrawn_keeps_what_came(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        return correct(request) if int(request.id.split("-")[1]) < 50 else TeacherError("no such key", fatal=True)

    with pytest.raises(TeacherError, match="no such key"):
        run_extraction(job_for(tmp_path, ScriptedTeacher(says=says), size=5000))
    assert {one.status for one in load_annotations(tmp_path, "train").values()} == {"ok"}
    assert split_of(json.loads((tmp_path / "summary.json").read_text()))["examples"] == 50


@pytest.mark.parametrize("retryable", [True, False])
def test_when_everything_fails_it_stops_early(tmp_path: Path, retryable: bool) -> None:
    says = lambda request: TeacherError("no connection", retryable=retryable, reason="no connection")  # noqa: E731
    teacher = ScriptedTeacher(says=says, delay=0.001)
    with pytest.raises(TeacherError, match="no connection"):
        run_extraction(job_for(tmp_path, teacher, size=5000, settings={"backoff": 0.05}))
    assert teacher.asked <= 100


def test_a_server_that_goes_away_for_good_ends_the_run_and_what_came_is_kept(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        number = int(request.id.split("-")[1])
        return correct(request) if number < 50 else TeacherError("gone", retryable=True, reason="no connection")

    with pytest.raises(TeacherError, match="gone"):
        run_extraction(job_for(tmp_path, ScriptedTeacher(says=says), size=5000, settings={"attempts": 2}))
    assert sum(one.status == "ok" for one in load_annotations(tmp_path, "train").values()) == 50


def test_bad_examples_in_a_row_do_not_end_a_run_that_works(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        number = int(request.id.split("-")[1])
        return TeacherError("HTTP 400: too long", reason="HTTP 400") if 20 <= number < 80 else correct(request)

    summary = run_extraction(job_for(tmp_path, ScriptedTeacher(says=says), size=100, settings={"concurrency": 4}))
    assert (split_of(summary)["parsed"], split_of(summary)["failed"]) == (40, 60)


def test_examples_that_are_rejected_for_good_let_the_same_command_succeed_again(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        number = int(request.id.split("-")[1])
        return TeacherError("HTTP 400: too long", reason="HTTP 400") if number >= 20 else correct(request)

    teacher = ScriptedTeacher(says=says)
    for _ in range(2):
        summary = run_extraction(job_for(tmp_path, teacher, size=50, settings={"concurrency": 4}))
        assert (split_of(summary)["parsed"], split_of(summary)["failed"]) == (20, 30)
    assert teacher.asked == 80


def test_samples_that_failed_agree_with_nothing(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        failed = request.id == "train-0" and request.sample
        return TeacherError("HTTP 400: no", reason="HTTP 400") if failed else correct(request)

    run_extraction(
        job_for(tmp_path, ScriptedTeacher(says=says), settings={"samples": 4}, filter=Filter(min_agreement=0.5))
    )
    found = load_annotations(tmp_path, "train")
    assert (found["train-0"].agreement, found["train-0"].status) == (0.25, "filter: min_agreement")
    assert (found["train-1"].agreement, found["train-1"].status) == (1.0, "ok")


def test_a_fault_of_ours_ends_the_run_and_is_not_taken_for_the_teachers(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        run_extraction(job_for(tmp_path, ScriptedTeacher(says=lambda request: ZeroDivisionError("bug"))))


def test_when_the_data_cannot_be_read_any_more_what_is_in_flight_is_kept(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(delay=0.05)

    class Vanishing(CountTask):
        def examples(self, split: str) -> Iterator[Example]:
            for number, example in enumerate(super().examples(split)):
                if number >= 500 and teacher.asked:
                    raise DataError("The file is gone.")
                yield example

    with pytest.raises(DataError, match="The file is gone"):
        run_extraction(job_for(tmp_path, teacher, task=Vanishing(size=600)))
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        assert store.count() == teacher.asked > 400


def test_where_the_data_changes_meanwhile_no_row_gets_the_answer_of_another(tmp_path: Path) -> None:
    data = tmp_path / "d.csv"
    rows = [f"row {'a' * number}" for number in range(6)]
    data.write_text("\n".join(["text", *rows]))

    def says(request: Request) -> str:
        data.write_text("\n".join(["text", "a new row", *rows]))
        return correct(request)

    teacher = ScriptedTeacher(says=says)
    table = {"path": str(data), "input": "text", "label": None, "answer_kind": "number"}
    job = job_for(tmp_path / "rationales" / "table" / "one", teacher, task=TableTask(**table))
    with pytest.raises(DataError, match="changed while its questions were asked"):
        run_extraction(job)
    assert not (job.folder / "train.parquet").exists()
    again = job_for(tmp_path / "rationales" / "table" / "two", teacher, task=TableTask(**table))
    again.neighbours = tmp_path / "rationales"
    split = split_of(run_extraction(again))
    assert (split["requests"], split["cached"], split["parsed"], teacher.asked) == (1, 6, 7, 7)


def test_never_more_at_once_than_allowed(tmp_path: Path) -> None:
    running, most = 0, 0

    class Counting(ScriptedTeacher):
        def connect(self, task: Any) -> Any:
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def opened() -> Any:
                async with super(Counting, self).connect(task) as ask:

                    async def counted(request: Request) -> Completion:
                        nonlocal running, most
                        running += 1
                        most = max(most, running)
                        try:
                            return await ask(request)
                        finally:
                            running -= 1

                    yield counted

            return opened()

    run_extraction(job_for(tmp_path, Counting(delay=0.005), size=100, settings={"concurrency": 3}))
    assert most == 3


def test_the_same_question_is_asked_once(tmp_path: Path) -> None:
    class Twice(CountTask):
        def examples(self, split: str) -> Any:
            from dataclasses import replace

            for example in super().examples(split):
                yield from (example, replace(example, id=f"{example.id}-again"))

    teacher = ScriptedTeacher()
    summary = run_extraction(job_for(tmp_path, teacher, task=Twice(size=5)))
    assert teacher.asked == 5
    assert split_of(summary)["examples"] == split_of(summary)["parsed"] == 10
    assert (split_of(summary)["requests"], split_of(summary)["cached"]) == (5, 5)
    assert (split_of(summary)["completions"], split_of(summary)["completion_tokens"]) == (5, 50), "it was paid once"


def test_a_new_prompt_asks_anew_in_the_same_store(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_for(tmp_path, teacher))
    run_extraction(job_for(tmp_path, teacher, prompt=count_prompt(instruction="Think.")))
    assert teacher.asked == 20


def test_a_filter_takes_away_without_asking_again(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_for(tmp_path, teacher))
    summary = run_extraction(job_for(tmp_path, teacher, filter=Filter(min_words=50)))
    assert teacher.asked == 10
    assert split_of(summary)["statuses"] == {"filter: min_words": 10}
    assert split_of(summary)["parsed"] == 10
    assert split_of(run_extraction(job_for(tmp_path, teacher)))["statuses"] == {"ok": 10}


def test_exemplars_that_are_among_the_examples_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    leaking = count_prompt(exemplars=[Exemplar("Train question AAAA 4!", "It has 21 letters.", "21")])
    with pytest.raises(ConfigError, match="train-4"):
        run_extraction(job_for(tmp_path, teacher, prompt=leaking))
    assert teacher.asked == 0


def test_a_split_that_the_source_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"splits=\[train,test\]"):
        run_extraction(job_for(tmp_path, ScriptedTeacher(), splits=["train", "dev"]))


def test_an_empty_source_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to ask"):
        run_extraction(job_for(tmp_path, ScriptedTeacher(), size=0))


def test_without_gold_labels_there_is_no_accuracy(tmp_path: Path) -> None:
    class Unlabelled(CountTask):
        def examples(self, split: str) -> Any:
            from dataclasses import replace

            return (replace(example, label=None) for example in super().examples(split))

    summary = run_extraction(job_for(tmp_path, ScriptedTeacher(), task=Unlabelled()))
    assert split_of(summary)["teacher_accuracy"] is None
    assert split_of(summary)["parsed"] == 10
