"""What an actor does, without Ray: exchanges, one after the other."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from scripted import CountTask, ScriptedTeacher, correct, count_prompt, job_for

from dsbs.core.errors import RunError, TeacherError
from dsbs.core.records import Completion, Request
from dsbs.extraction.executors import ray_actor
from dsbs.extraction.executors.ray_actor import Report, Worker, WorkerConfig
from dsbs.extraction.executors.ray_shards import name_shard
from dsbs.extraction.settings import ExtractionSettings
from dsbs.store import CompletionStore


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_actor, "PATIENCE", 0.05)


def worker_for(folder: Path, teacher: ScriptedTeacher, **settings: Any) -> Worker:
    config = WorkerConfig(
        task=CountTask(),
        teacher=teacher,
        identity=job_for(folder, teacher).identity,
        settings=ExtractionSettings(**({"backoff": 0.01, "concurrency": 4} | settings)),
        share=0.5,
        shard=name_shard(folder),
        home=Path.cwd(),
    )
    return Worker(config)


def questions(first: int, last: int) -> list[list[Request]]:
    examples = list(CountTask(size=last).examples("train"))[first:]
    return [[count_prompt().request(example, "train")] for example in examples]


def run(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 20))  # type: ignore[arg-type]


async def exchange_until(worker: Worker, enough: Callable[[list[Report]], bool]) -> list[Report]:
    reports: list[Report] = []
    while not enough(reports):
        reports.append(await worker.exchange([]))
    return reports


def test_all_that_is_handed_in_comes_back_over_one_connection_and_is_in_the_shard_first(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(delay=0.002)
    worker = worker_for(tmp_path, teacher)

    async def scene() -> None:
        keys: set[bytes] = set()
        for first in (0, 10):
            report = await worker.exchange(questions(first, first + 10))
            while True:
                keys |= {key for key, _ in report.arrivals}
                with CompletionStore(worker.config.shard, read_only=True) as store:
                    assert store.present(keys) == keys
                if len(keys) == first + 10:
                    break
                report = await worker.exchange([])
        assert (teacher.asked, teacher.connected) == (20, 1)
        await worker.close()

    run(scene)
    assert not worker.config.shard.exists()


def test_stopped_it_ends_what_is_under_way_and_leaves_the_rest(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(delay=0.2)
    worker = worker_for(tmp_path, teacher)

    async def scene() -> None:
        await worker.exchange(questions(0, 50))
        report = await worker.exchange([], stop=True)
        reports = [report, *await exchange_until(worker, lambda seen: bool(seen and seen[-1].over))]
        assert sum(len(report.arrivals) for report in reports) == teacher.asked == 4

    run(scene)


def test_stopped_before_it_was_asked_anything_it_is_over_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        worker = worker_for(tmp_path, ScriptedTeacher())
        assert (await worker.exchange([], stop=True)).over
        await worker.close()

    run(scene)
    assert list(tmp_path.iterdir()) == []


def test_it_tells_why_it_cannot_go_on(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        return TeacherError("no such key", fatal=True) if request.id == "train-5" else correct(request)

    async def scene() -> None:
        worker = worker_for(tmp_path, ScriptedTeacher(says=says))
        await worker.exchange(questions(0, 50))
        last = (await exchange_until(worker, lambda seen: bool(seen and seen[-1].over)))[-1]
        assert (last.stopped, str(last.error)) == ("fatal", "no such key")

    run(scene)


@pytest.mark.parametrize("proven", [False, True])
def test_a_busy_server_that_answers_other_actors_is_not_given_up_at_once(tmp_path: Path, proven: bool) -> None:
    def says(request: Request) -> Any:
        busy = teacher.asked <= 7
        return TeacherError("HTTP 429", retryable=True, reason="HTTP 429") if busy else correct(request)

    teacher = ScriptedTeacher(says=says)

    async def scene() -> None:
        worker = worker_for(tmp_path, teacher, concurrency=1, attempts=20, backoff=0.001)
        await worker.exchange(questions(0, 1), proven=proven)
        reports = await exchange_until(worker, lambda seen: bool(seen and (seen[-1].arrivals or seen[-1].over)))
        assert reports[-1].stopped == (None if proven else "hopeless")
        await worker.close()

    run(scene)


def test_a_fault_of_ours_travels_with_its_traceback(tmp_path: Path) -> None:
    async def scene() -> None:
        worker = worker_for(tmp_path, ScriptedTeacher(says=lambda request: ZeroDivisionError("bug")))
        await worker.exchange(questions(0, 5))
        last = (await exchange_until(worker, lambda seen: bool(seen and seen[-1].over)))[-1]
        assert type(last.error) is RuntimeError
        assert "Traceback" in str(last.error)
        assert "ZeroDivisionError: bug" in str(last.error)

    run(scene)


def test_a_folder_that_cannot_be_written_on_its_node_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    async def scene() -> None:
        worker = worker_for(tmp_path / "file", ScriptedTeacher())
        report = await worker.exchange(questions(0, 5))
        assert report.stopped == "error"
        assert isinstance(report.error, RunError)
        assert str(tmp_path / "file") in str(report.error)

    run(scene)


def test_of_the_limits_that_a_server_tells_it_keeps_to_its_share(tmp_path: Path) -> None:
    from dsbs.teachers.endpoint.headers import ServerLimits

    class Limited(ScriptedTeacher):
        def connect(self, task: Any) -> Any:
            from contextlib import asynccontextmanager

            @asynccontextmanager
            async def opened() -> Any:
                async def ask(request: Request) -> Completion:
                    return Completion(correct(request))

                ask.limits = ServerLimits(requests_per_minute=6000)  # type: ignore[attr-defined]
                yield ask

            return opened()

    async def scene() -> None:
        worker = worker_for(tmp_path, Limited())
        await worker.exchange(questions(0, 1))
        await exchange_until(worker, lambda seen: worker.stats.answered == 1)
        assert worker.executor is not None
        assert worker.executor.requests_allowed.per_minute == 3000
        await worker.close()

    run(scene)
