"""What actors leave behind is taken up, by whoever comes next, and only once."""

from pathlib import Path

import pytest
from scripted import ScriptedTeacher, correct, job_for

from dsbs.core.errors import DataError
from dsbs.core.records import Completion
from dsbs.extraction.engine import estimate_extraction, run_extraction
from dsbs.extraction.executors.ray_shards import hold_shard, merge_shards, name_shard, read_shard
from dsbs.extraction.job import Job
from dsbs.store import CompletionStore, Failure


def leave_shard(job: Job, first: int, last: int) -> Path:
    """Write a shard as an actor does that is killed after some answers."""
    shard = name_shard(job.folder)
    examples = list(job.examples("train"))[first:last]
    requests = [job.prompt.request(example, "train") for example in examples]
    with CompletionStore(shard) as store:
        origin = store.origin(job.identity, requests[0])
        store.add(origin, [(request, Completion(correct(request), "stop", "m", 20, 10)) for request in requests])
    return shard


def test_the_next_run_takes_up_what_actors_of_a_killed_one_have_and_asks_for_the_rest(tmp_path: Path) -> None:
    teacher = ScriptedTeacher()
    job = job_for(tmp_path, teacher, size=20)
    leave_shard(job, 0, 8)
    leave_shard(job, 6, 12)
    survey, _ = estimate_extraction(job)
    assert (survey.stored, survey.to_ask) == (12, 8)
    summary = run_extraction(job)
    assert teacher.asked == 8
    assert summary["splits"]["train"]["parsed"] == 20
    assert not (tmp_path / "shards").exists()


def test_a_shard_that_is_in_use_stays_and_is_taken_up_later(tmp_path: Path) -> None:
    job = job_for(tmp_path, ScriptedTeacher(), size=20)
    shard = leave_shard(job, 0, 8)
    with CompletionStore(job.store_path) as store:
        with hold_shard(shard):
            assert merge_shards(store, tmp_path, patience=0.1) == 0
            assert shard.exists()
        assert merge_shards(store, tmp_path) == 8
        assert merge_shards(store, tmp_path) == store.count() - 8 == 0
    assert not shard.exists()


def test_an_actor_that_was_killed_before_its_first_answer_is_in_nobodys_way(tmp_path: Path) -> None:
    job = job_for(tmp_path, ScriptedTeacher())
    shard = name_shard(job.folder)
    shard.parent.mkdir(parents=True)
    shard.touch()
    assert run_extraction(job)["splits"]["train"]["parsed"] == 10
    assert not shard.parent.exists()


def test_a_file_that_is_no_shard_is_named_and_not_deleted(tmp_path: Path) -> None:
    job = job_for(tmp_path, ScriptedTeacher())
    shard = name_shard(job.folder)
    shard.parent.mkdir(parents=True)
    shard.write_text("something else entirely, not of SQLite")
    with pytest.raises(DataError, match=shard.name):
        run_extraction(job)
    assert shard.exists()


def test_the_shard_of_a_lost_actor_tells_what_it_had_answered(tmp_path: Path) -> None:
    job = job_for(tmp_path, ScriptedTeacher())
    shard = leave_shard(job, 0, 2)
    requests = [job.prompt.request(example, "train") for example in job.examples("train")]
    with CompletionStore(shard) as store:
        origin = store.origin(job.identity, requests[0])
        store.fail(origin, [(requests[2], Failure("HTTP 400", "too long"))])
    said = read_shard(shard, [origin.key(request) for request in requests[:4]])
    assert [type(said.get(origin.key(request))) for request in requests[:4]] == [
        Completion, Completion, Failure, type(None)
    ]  # fmt: skip
    assert read_shard(tmp_path / "elsewhere.sqlite", [origin.key(requests[0])]) == {}
