"""Copies of a server over Ray Serve: one is killed under load, and every request is answered."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from serving_client import Scripted, student
from starlette.testclient import TestClient

from dsbs import serve as command
from dsbs.core.errors import ConfigError
from dsbs.serving.cluster import deploy, stay
from dsbs.serving.settings import Limits, ServeConfig


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def build(config: ServeConfig) -> Any:
    """Return a scripted student's app; in a process of Ray, which finds no tests by itself."""
    import sys

    sys.path.insert(0, TESTS)
    from serving_client import Scripted
    from serving_client import build as build_app

    return build_app(Scripted(0.02), config).build()


TESTS = str(Path(__file__).resolve().parents[1])


def copies() -> list[int]:
    """Return the processes of the copies."""
    listing = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    lines = [line for line in listing.splitlines() if "ServeReplica" in line and "student" in line]
    return [int(line.split()[0]) for line in lines]


@pytest.fixture
def served() -> Iterator[str]:
    try:
        serve = pytest.importorskip("ray.serve", reason="replicas are an extra")
    except Exception as error:  # parts of it are missing where Ray alone is installed
        pytest.skip(f"needs Ray Serve ({error})")
    import ray

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    config = ServeConfig(checkpoint="scripted", port=free_port(), replicas=2, limits=Limits(max_batch=4))
    deploy(config, build)
    yield f"http://127.0.0.1:{config.port}"
    serve.shutdown()
    ray.shutdown()


@pytest.mark.timeout(120)
def test_one_of_two_copies_is_killed_and_nothing_is_lost(served: str) -> None:
    """What the killed copy had under way is a 500 of Ray's, which OpenAI's client sends again by itself."""
    openai = pytest.importorskip("openai")
    labels: Counter[str] = Counter()
    stop = threading.Event()

    def load(name: int) -> None:
        with openai.OpenAI(base_url=f"{served}/v1", api_key="none", max_retries=2) as client:
            while not stop.is_set():
                said = client.chat.completions.create(model="any", messages=[{"role": "user", "content": f"{name}"}])
                labels[str(said.choices[0].message.content)] += 1

    with ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(load, number) for number in range(4)]
        time.sleep(1.5)
        before = copies()
        os.kill(before[0], signal.SIGKILL)
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and len(set(copies()) - {before[0]}) < 2:
            time.sleep(0.2)
        answered = labels["refund"]
        time.sleep(1.0)
        stop.set()
        for client in clients:
            client.result()  # raises what a client could not get answered
    assert len(before) == 2
    assert set(labels) == {"refund"}
    assert labels["refund"] > answered > 0
    assert httpx.get(f"{served}/healthz").status_code == 200


def test_the_driver_outlives_a_hangup_and_stops_when_asked(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stopped: list[str] = []
    serve = SimpleNamespace(shutdown=lambda: stopped.append("copies"))
    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(serve=serve, shutdown=lambda: stopped.append("ray")))
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}

    def ask() -> None:
        while signal.getsignal(signal.SIGHUP) is before[signal.SIGHUP]:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGHUP)
        while "do not reload" not in caplog.text:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    try:
        threading.Thread(target=ask, daemon=True).start()
        stay(ServeConfig(checkpoint="x", replicas=2))
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stopped == ["copies", "ray"]


def test_a_copy_gets_the_token_that_the_driver_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """The machine of a copy does not have the driver's environment."""
    monkeypatch.setenv("DSBS_TOKEN", "token-0123456789")
    made: list[Any] = []
    monkeypatch.setattr("dsbs.serving.cluster.deploy", lambda config, build: made.append((config, build)))
    monkeypatch.setattr("dsbs.serving.cluster.stay", lambda config: None)
    command.serve(ServeConfig(checkpoint="x", replicas=2, token_env="DSBS_TOKEN"))
    monkeypatch.delenv("DSBS_TOKEN")
    monkeypatch.setattr(command, "load_student", lambda config: student(Scripted()))
    [(config, build)] = made
    with TestClient(build(config)) as http:
        assert http.post("/predict", json={"input": "it leaks"}).status_code == 401
        headers = {"Authorization": "Bearer token-0123456789"}
        assert http.post("/predict", json={"input": "it leaks"}, headers=headers).status_code == 200


def test_without_ray_serve_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"dsbs\[ray-serve\]"):
        deploy(ServeConfig(checkpoint="x", replicas=2), build)
