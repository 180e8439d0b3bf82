"""``executor=ray`` on a real Ray: many actors, each with a shard; what one loses another takes up."""

import logging
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, serve
from scripted import ScriptedTeacher, job_for, load_annotations

from dsbs.core.errors import ConfigError, TeacherError
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.executors import ray_cluster, ray_driver
from dsbs.extraction.executors.ray_cluster import open_ray
from dsbs.extraction.job import Job
from dsbs.extraction.settings import Budget, RaySettings
from dsbs.teachers.openai import OpenAITeacher

ray_cluster.keep_to_ourselves()  # Ray reads what this sets when it is imported
ray = pytest.importorskip("ray", reason="executor=ray is an extra")
KEY = "sk-planted-0123456789abcdef"


@pytest.fixture(scope="module", autouse=True)
def _ray() -> Iterator[None]:
    """One Ray for all: starting it takes most of the time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))  # the actors find the task of these tests there
        patch.setenv("MY_KEY", KEY)
        with open_ray(RaySettings(actors=2)):
            yield


def job_on(executor: str, folder: Path, url: str, size: int = 60, **settings: Any) -> Job:
    teacher = OpenAITeacher(name="openai", model="m", base_url=url, api_key_env="MY_KEY")
    return job_for(folder, teacher, size, settings={"executor": executor, "concurrency": 8, **settings})


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Ray's handles of the actors that are started."""
    started: list[Any] = []
    start: Callable[..., Any] = ray_driver.start_actor

    def note(*arguments: Any) -> Any:
        started.append(start(*arguments))
        return started[-1]

    monkeypatch.setattr(ray_driver, "start_actor", note)
    return started


def test_the_result_is_that_of_one_process_and_no_shard_is_left(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path / "alone", ScriptedTeacher(), 60))
    with serve(FaultServer(latency=0.01, script=lambda number, question: "500" if number % 7 == 0 else None)) as server:
        summary = run_extraction(job_on("ray", tmp_path / "spread", server.url))
        asked = server.requests
        again = run_extraction(job_on("local", tmp_path / "spread", server.url))
    assert load_annotations(tmp_path / "spread", "train") == load_annotations(tmp_path / "alone", "train")
    assert set(server.answered.values()) == {1}
    assert server.most_at_once <= 8
    assert summary["splits"]["train"]["requests"] == again["splits"]["train"]["cached"] == 60
    assert server.requests == asked
    assert not (tmp_path / "spread" / "shards").exists()


def test_actors_killed_in_the_middle_lose_nothing_and_only_what_was_in_flight_is_asked_again(
    tmp_path: Path, actors: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    def kills(number: int, question: str) -> None:
        if number in (60, 140):
            ray.kill(actors[number // 100])

    with serve(FaultServer(latency=0.05, script=kills)) as server:
        summary = run_extraction(job_on("ray", tmp_path, server.url, 300))
    assert [record.levelno for record in caplog.records if "was lost" in record.message] == [logging.WARNING] * 2
    assert len(actors) == 4
    assert summary["splits"]["train"]["requests"] == summary["splits"]["train"]["parsed"] == 300
    assert 300 <= server.requests <= 300 + 8
    assert max(server.asked.values()) <= 2
    assert not (tmp_path / "shards").exists()


@pytest.mark.parametrize(
    ("server", "says"),
    [(FaultServer(key="another"), "does not accept the key"), (FaultServer(script=lambda *_: "500"), "HTTP 500")],
    ids=["key", "broken"],
)
def test_where_nothing_can_succeed_it_ends_with_the_one_message_and_leaves_no_trace(
    tmp_path: Path, server: FaultServer, says: str
) -> None:
    with serve(server):
        with pytest.raises(TeacherError, match=says) as spread:
            run_extraction(job_on("ray", tmp_path / "spread", server.url, 500))
        assert server.requests <= 64
        assert list(tmp_path.iterdir()) == []
        with pytest.raises(TeacherError) as alone:
            run_extraction(job_on("local", tmp_path / "alone", server.url, 500))
    assert str(spread.value) == str(alone.value)
    assert KEY[3:15] not in str(spread.value)


def test_a_budget_is_kept_to_over_all_actors(tmp_path: Path) -> None:
    with serve() as server:
        summary = run_extraction(job_on("ray", tmp_path, server.url, 100, budget=Budget(requests=33)))
    assert server.requests == 33
    assert summary["stopped"] == "budget.requests=33 is reached"


def test_actors_that_are_lost_one_after_the_other_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> Any:
        return ray.remote(Unstartable).options(num_cpus=0).remote()

    monkeypatch.setattr(ray_driver, "start_actor", fails)
    monkeypatch.setattr(ray_driver, "MAX_LOSSES", 0)
    with serve() as server, pytest.raises(ray_driver.RunError, match=r"no module of that name.*same versions"):
        run_extraction(job_on("ray", tmp_path / "folder", server.url))
    assert list(tmp_path.iterdir()) == []


class Unstartable:
    """An actor on a node that lacks a package."""

    def __init__(self) -> None:
        raise ModuleNotFoundError("no module of that name")

    async def exchange(self, questions: Any, stop: bool, proven: bool) -> None: ...


def test_a_key_is_in_no_file_of_ray_nor_in_ours(tmp_path: Path) -> None:
    """The last of these tests: Ray's logs are about all of them."""
    with serve(FaultServer(key=KEY, script=lambda number, question: "401" if number == 30 else None)) as server:
        run_extraction(job_on("ray", tmp_path, server.url, 30))
    session = Path(ray._private.worker._global_node.get_session_dir_path())
    files = [path for path in [*session.rglob("*"), *tmp_path.rglob("*")] if path.is_file()]
    assert any(path.parent.name == "logs" for path in files)
    assert [path for path in files if KEY[3:].encode() in path.read_bytes()] == []


@pytest.mark.parametrize("theirs", [{}, {"RAY_AUTH_MODE": "disabled"}, {"RAY_AUTH_TOKEN_PATH": "/home/me/token"}])
def test_a_ray_of_our_own_listens_on_loopback_and_wants_a_token_unless_the_user_says_otherwise(
    theirs: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER")
    monkeypatch.setattr("os.environ", {name: value for name, value in os.environ.items() if name not in names} | theirs)
    ray_cluster.keep_to_ourselves()
    found = {name: os.environ[name] for name in names if name in os.environ}
    assert found.pop("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER") == "0"
    token = found.pop("RAY_AUTH_TOKEN", "")
    assert found == {"RAY_AUTH_MODE": "token"} | theirs
    assert len(token) == (0 if theirs else 64)


def test_a_ray_of_our_own_is_not_to_be_reached_from_elsewhere() -> None:
    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    told = ("/proc/net/tcp", "/proc/net/tcp6")
    sockets = [line.split() for path in told for line in Path(path).read_text().splitlines()[1:]]
    (port,) = {int(node["NodeManagerPort"]) for node in ray.nodes()}
    listening = {line[1].partition(":")[0] for line in sockets if line[3] == "0A" and int(line[1][-4:], 16) == port}
    assert listening <= {"0100007F", "0000000000000000FFFF00000100007F"}
    assert listening


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"pip install 'dsbs\[ray\]'"), open_ray(RaySettings()):
        pass


def test_an_address_where_no_ray_answers_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "shutdown", lambda: None)  # that of the other tests goes on
    with pytest.raises(ConfigError, match=r"ray.address=127.0.0.1:1: .*refused"), open_ray(RaySettings("127.0.0.1:1")):
        pass
