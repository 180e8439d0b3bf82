"""A completion belongs to its question: growing data, other splits and shares pay for new questions only."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from batch_server import BatchServer
from fault_server import serve
from scripted import CountTask, ScriptedTeacher, age_store, count_prompt, job_for, load_annotations

from dsbs.core.records import Completion, Example
from dsbs.extraction.engine import estimate_extraction, run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.settings import BatchSettings
from dsbs.store import CompletionStore
from dsbs.teachers.openai import OpenAITeacher


@dataclass
class GrowingTask(CountTask):
    """Ids say nothing about the question: rows may be added at the head."""

    first: int = 0

    def examples(self, split: str) -> Iterator[Example]:
        for place, number in enumerate(range(self.first, self.size)):
            text = f"question {'a' * (number % 7)} {number}"
            yield Example(f"{split}-{place}", text, str(len(text)))


def job_in(root: Path, name: str, teacher: Any, size: int, first: int = 0, **changes: Any) -> Job:
    changes = {"task": GrowingTask(size=size, first=first)} | changes
    return job_for(root / "count" / name, teacher, neighbours=root, **changes)


def test_rows_that_are_added_are_asked_and_nothing_else(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_in(tmp_path, "one", teacher, 10, first=3))
    survey, estimate = estimate_extraction(job_in(tmp_path, "two", teacher, 12))
    assert (estimate.requests, survey.stored) == (5, 7)
    assert "7 answers to the same questions were found in count/one" in survey.found[0]
    assert not (tmp_path / "count" / "two").exists()
    summary = run_extraction(job_in(tmp_path, "two", teacher, 12))
    assert teacher.asked == 12
    split = summary["splits"]["train"]
    assert (split["requests"], split["cached"], split["parsed"], split["teacher_accuracy"]) == (5, 7, 12, 1.0)
    assert summary["notes"] == survey.found
    assert len(load_annotations(tmp_path / "count" / "two", "train")) == 12
    assert run_extraction(job_in(tmp_path, "two", teacher, 12))["notes"] == []


def test_another_split_and_another_task_share_their_questions(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_in(tmp_path, "one", teacher, 10))
    run_extraction(job_in(tmp_path, "two", teacher, 10, splits=["test"]))
    run_extraction(job_for(tmp_path / "other" / "x", teacher, task=GrowingTask(size=10, name="other"),
                           neighbours=tmp_path))  # fmt: skip
    assert teacher.asked == 10


@pytest.mark.parametrize(
    "changes",
    [
        {"prompt": count_prompt(instruction="Think.")},
        {"teacher": ScriptedTeacher(model="another")},
        {"settings": {"samples": 2}},
    ],
    ids=["prompt", "model", "samples"],
)
def test_what_makes_another_request_is_asked(tmp_path: Path, changes: dict[str, Any]) -> None:
    run_extraction(job_in(tmp_path, "one", ScriptedTeacher(), 10))
    teacher = changes.pop("teacher", ScriptedTeacher())
    run_extraction(job_in(tmp_path, "two", teacher, 10, **changes))
    assert teacher.asked == 10


def test_choices_that_an_endpoint_is_held_to_belong_to_the_request(tmp_path: Path) -> None:
    with CompletionStore(tmp_path / "s.sqlite") as store:
        prompt = count_prompt(answer_format="json")
        requests = [prompt.request(Example("1", "How many?", None, choices), "train") for choices in
                    (("4", "5"), ("4", "6"))]  # fmt: skip
        origin = store.origin({"teacher": {}, "prompt": {}}, requests[0])
        assert origin.key(requests[0]) != origin.key(requests[1])


def test_a_replay_joins_by_example_and_borrows_nothing(tmp_path: Path) -> None:
    class Replay(ScriptedTeacher):
        by_id = True

    teacher = Replay()
    for name in ("one", "two"):
        run_extraction(job_in(tmp_path, name, teacher, 5))
    assert teacher.asked == 10


@pytest.mark.parametrize("version", ["1", "2", "3"])
def test_a_store_of_an_earlier_version_is_read_as_it_is(tmp_path: Path, version: str) -> None:
    teacher = ScriptedTeacher()
    run_extraction(job_in(tmp_path, "one", teacher, 10))
    path = tmp_path / "count" / "one" / "completions.sqlite"
    age_store(path, version)
    before = path.read_bytes()
    assert run_extraction(job_in(tmp_path, "two", teacher, 12))["splits"]["train"]["requests"] == 2
    assert path.read_bytes() == before
    split = run_extraction(job_in(tmp_path, "one", teacher, 14))["splits"]["train"]  # brings it up to date
    assert (split["requests"], split["parsed"], split["completion_tokens"]) == (2, 14, 140)


def test_a_store_that_cannot_be_read_is_named_and_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = tmp_path / "count" / "broken" / "completions.sqlite"
    broken.parent.mkdir(parents=True)
    broken.write_text("no database at all, but long enough to be taken for one" * 20)
    teacher = ScriptedTeacher()
    run_extraction(job_in(tmp_path, "one", teacher, 3))
    assert teacher.asked == 3
    assert str(broken) in caplog.text


def test_what_came_through_a_batch_keeps_its_price(tmp_path: Path) -> None:
    prices: dict[str, Any] = {"prompt_price": 1e6, "completion_price": 2e6}
    with serve(BatchServer()) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url, **prices)
        batch = {"executor": "batch", "batch": BatchSettings(poll=0.01)}
        run_extraction(job_in(tmp_path, "one", teacher, 4, settings=batch))
        split = run_extraction(job_in(tmp_path, "two", teacher, 6))["splits"]["train"]
    assert (split["requests"], split["cost_usd"]) == (2, 4 * 20.0 + 2 * 40.0)


def test_rows_that_are_added_while_a_batch_is_pending_do_not_send_the_others_again(tmp_path: Path) -> None:
    with serve(BatchServer(looks=3)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url)
        settings = {"executor": "batch", "batch": BatchSettings(poll=0.01, wait=False)}
        run_extraction(job_in(tmp_path, "one", teacher, 4, settings=settings))
        survey, estimate = estimate_extraction(job_in(tmp_path, "two", teacher, 6, settings=settings))
        assert (survey.in_batches, estimate.requests) == (4, 2)
        assert survey.found == ["4 of the requests are pending in batches of count/one; they are not sent again."]
        alone = run_extraction(job_in(tmp_path, "three", teacher, 4))
        assert "4 requests are pending in batches at the endpoint; executor=batch" in alone["stopped"]
        settings["batch"] = BatchSettings(poll=0.01)
        split = run_extraction(job_in(tmp_path, "two", teacher, 6, settings=settings))["splits"]["train"]
        assert (split["requests"], split["parsed"], len(server.batches)) == (6, 6, 2)
        for name in ("one", "three"):  # results can be collected more than once
            assert run_extraction(job_in(tmp_path, name, teacher, 4, settings=settings))["stopped"] is None
    assert set(server.asked.values()) == {1}


def test_nobody_waits_for_batches_that_were_sent_to_come_back(tmp_path: Path) -> None:
    with serve(BatchServer(looks=10**6)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url)
        settings = {"executor": "batch", "batch": BatchSettings(poll=0.01)}
        first = Thread(target=run_extraction, args=(job_in(tmp_path, "one", teacher, 4, settings=settings),))
        first.start()
        while not server.calls["retrieve"]:
            time.sleep(0.01)
        once = {"executor": "batch", "batch": BatchSettings(wait=False)}
        second = run_extraction(job_in(tmp_path, "two", teacher, 6, settings=once))
        assert "6 requests are pending in batches" in second["stopped"]
        server.looks = 0
        first.join()
    assert set(server.asked.values()) == {1}


def test_a_batch_that_was_collected_in_part_is_neither_sent_again_nor_taken_for_ended(tmp_path: Path) -> None:
    with serve(BatchServer(looks=0)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url)
        settings = {"executor": "batch", "batch": BatchSettings(poll=0.01, wait=False)}
        server.looks = 9
        run_extraction(job_in(tmp_path, "one", teacher, 4, settings=settings))
        with CompletionStore(tmp_path / "count" / "one" / "completions.sqlite") as store:
            job = job_in(tmp_path, "one", teacher, 4)
            origin = job.register(store)
            request = job.requests(next(job.examples("train")), "train")[0]
            store.add(origin, [(request, Completion("It has 10. So the answer is 10.", "stop", batch=1))])
        server.looks = 0
        settings["batch"] = BatchSettings(poll=0.01)
        split = run_extraction(job_in(tmp_path, "two", teacher, 6, settings=settings))["splits"]["train"]
    assert (split["requests"], split["parsed"], len(server.batches)) == (5, 6, 2)
    assert max(server.asked.values()) == 1
