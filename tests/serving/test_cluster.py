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
from pathlib import Path
from typing import Any

import httpx
import pytest

from dsbs.core.errors import ConfigError
from dsbs.serving.cluster import deploy
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
    codes: Counter[str] = Counter()
    stop = threading.Event()

    def load(name: int) -> None:
        with httpx.Client(timeout=30.0) as http:
            while not stop.is_set():
                reply = http.post(f"{served}/predict", json={"input": f"It leaks, {name}."})
                codes[str(reply.status_code)] += 1

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1.5)
    before = copies()
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(set(copies()) - {before[0]}) < 2:
        time.sleep(0.2)
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()
    assert len(before) == 2
    assert set(codes) == {"200"}, codes
    assert httpx.get(f"{served}/healthz").status_code == 200


def test_without_ray_serve_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r"dsbs\[ray-serve\]"):
        deploy(ServeConfig(checkpoint="x", replicas=2), build)
