"""The driver of ``executor=ray``, with actors in this process in the place of Ray's."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from scripted import ScriptedTeacher, correct, job_for

from dsbs.core.errors import TeacherError
from dsbs.core.records import Request
from dsbs.extraction.engine import Observer, run_extraction
from dsbs.extraction.executors import ray_actor, ray_driver
from dsbs.extraction.executors.ray_actor import Worker, WorkerConfig
from dsbs.extraction.executors.ray_cluster import explain_loss, list_nodes
from dsbs.extraction.job import Job
from dsbs.extraction.settings import ExtractionSettings

Says = Callable[[Request], Any]


class Lost(Exception):
    """What Ray says of an actor that is no more."""


class Actor:
    """A worker, called as Ray calls an actor; ``dies`` loses it."""

    def __init__(self, worker: Worker) -> None:
        self.worker, self.dead = worker, False
        self.exchange = SimpleNamespace(remote=lambda *given: self._call(worker.exchange(*given)))
        self.close = SimpleNamespace(remote=lambda: self._call(worker.close()))

    async def _call(self, answer: Any) -> Any:
        said = await answer
        if self.dead:  # what it said is lost on the way
            raise Lost("The actor died.\n\tpid: 1\nThe actor is dead because its node has died.")
        return said

    async def die(self) -> None:
        self.dead = True
        if (running := self.worker._running) is not None:
            running.cancel()
            await asyncio.wait({running})


class Cluster:
    """Two nodes. ``says`` tells what the teacher says in the first actor, the second, ..."""

    def __init__(self, says: list[Says]) -> None:
        self.says, self.actors = says, list[Actor]()
        self.ray = SimpleNamespace(
            nodes=lambda: [
                {"NodeID": name, "Alive": True, "Resources": {"CPU": 1.0}, "NodeManagerHostname": name} for name in "ab"
            ],
            exceptions=SimpleNamespace(RayError=Lost, RayTaskError=ZeroDivisionError),
            kill=lambda actor: None,
        )

    def start(self, ray: Any, node: Any, kind: type, config: WorkerConfig) -> Actor:
        config.teacher.says = self.says[min(len(self.actors), len(self.says) - 1)]  # type: ignore[attr-defined]
        config.teacher.delay = 0.005  # type: ignore[attr-defined]
        self.actors.append(Actor(Worker(config)))
        return self.actors[-1]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Cluster]:
    def build(*says: Says) -> Cluster:
        cluster = Cluster(list(says) or [correct])

        @contextlib.contextmanager
        def opened(settings: Any) -> Iterator[Any]:
            yield cluster.ray

        monkeypatch.setattr(ray_driver, "open_ray", opened)
        monkeypatch.setattr(ray_driver, "start_actor", cluster.start)
        monkeypatch.setattr(ray_actor, "PATIENCE", 0.05)
        return cluster

    return build


def spread_job(folder: Path, size: int = 60, **settings: Any) -> Job:
    return job_for(folder, ScriptedTeacher(), size, settings={"executor": "ray", "concurrency": 8, **settings})


def test_every_node_gets_an_actor_and_all_is_answered(tmp_path: Path, cluster: Callable[..., Cluster]) -> None:
    nodes = cluster()
    summary = run_extraction(spread_job(tmp_path))
    assert summary["splits"]["train"]["parsed"] == 60
    assert [actor.worker.config.settings.concurrency for actor in nodes.actors] == [4, 4]
    assert not (tmp_path / "shards").exists()


def test_where_one_node_has_no_server_the_others_go_on_without_it(
    tmp_path: Path, cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    down = lambda request: TeacherError("no connection", retryable=True, reason="no connection")  # noqa: E731
    cluster(down, correct)
    summary = run_extraction(spread_job(tmp_path))
    assert summary["splits"]["train"]["parsed"] == 60
    assert "No request is answered on a; the others continue without it. On a: no connection" in caplog.text


def test_where_no_node_has_a_server_the_run_ends(tmp_path: Path, cluster: Callable[..., Cluster]) -> None:
    cluster(lambda request: TeacherError("no connection", retryable=True, reason="no connection"))
    with pytest.raises(TeacherError, match="no connection"):
        run_extraction(spread_job(tmp_path / "folder", 500))
    assert list(tmp_path.iterdir()) == []


def test_an_error_names_the_node_it_comes_from(tmp_path: Path, cluster: Callable[..., Cluster]) -> None:
    cluster(lambda request: TeacherError("no key here", fatal=True))
    with pytest.raises(TeacherError, match=r"^On [ab]: no key here$"):
        run_extraction(spread_job(tmp_path))


def test_a_lost_actors_questions_go_to_another_and_its_answers_count(
    tmp_path: Path, cluster: Callable[..., Cluster], caplog: pytest.LogCaptureFixture
) -> None:
    nodes = cluster()
    asked: list[str] = []
    killing: list[Any] = []

    def says(request: Request) -> str:
        asked.append(request.id)
        if len(asked) == 60:
            killing.append(asyncio.get_running_loop().create_task(nodes.actors[0].die()))
        return correct(request)

    nodes.says = [says]
    summary = run_extraction(spread_job(tmp_path, 200))
    assert len(nodes.actors) == 3
    assert summary["splits"]["train"]["requests"] == summary["splits"]["train"]["parsed"] == 200
    assert 200 <= len(asked) <= 204
    assert "An actor on a was lost" in caplog.text
    assert "The actor is dead because its node has died." in caplog.text
    assert not (tmp_path / "shards").exists()


def test_stopped_it_lets_what_is_under_way_end(tmp_path: Path, cluster: Callable[..., Cluster]) -> None:
    cluster()

    class Stopping(Observer):
        def arrived(self, request: Request, said: Any) -> None:
            if self.stats.answered == 20:
                assert self.executor.describe() == ["2 actors"]
                self.executor.stop("enough")

    summary = run_extraction(spread_job(tmp_path, 500), Stopping)
    assert summary["stopped"] == "enough"
    assert 20 <= summary["splits"]["train"]["parsed"] < 100
    assert not (tmp_path / "shards").exists()


def test_samples_of_one_question_stay_together(tmp_path: Path, cluster: Callable[..., Cluster]) -> None:
    cluster()
    summary = run_extraction(spread_job(tmp_path, 30, samples=3))
    assert summary["splits"]["train"]["requests"] == 90
    assert summary["splits"]["train"]["parsed"] == 30


def test_nodes_that_are_dead_or_give_no_cpus_get_no_actor() -> None:
    def node(name: str, alive: bool, **resources: float) -> dict[str, Any]:
        return {"NodeID": name, "Alive": alive, "Resources": resources}

    head, dead, live = node("h", True), node("d", False, CPU=4.0), node("l", True, CPU=4.0)
    assert list_nodes(SimpleNamespace(nodes=lambda: [head, dead, live])) == [live]  # type: ignore[arg-type]
    assert list_nodes(SimpleNamespace(nodes=lambda: [head, dead])) == [head]  # type: ignore[arg-type]


def test_a_shares_sum_is_the_whole() -> None:
    settings = ExtractionSettings(concurrency=10, requests_per_minute=90, tokens_per_minute=None)
    shares = [settings.share(place, 3) for place in range(3)]
    assert [share.concurrency for share in shares] == [4, 3, 3]
    assert [share.requests_per_minute for share in shares] == [30, 30, 30]
    assert shares[0].tokens_per_minute is None


def test_why_an_actor_was_lost_is_one_line() -> None:
    assert explain_loss(Lost("The actor died.\n\tpid: 1\nModuleNotFoundError: No module named 'dsbs'")) == (
        "ModuleNotFoundError: No module named 'dsbs'."
    )
    assert explain_loss(Lost("")) == "Lost."
