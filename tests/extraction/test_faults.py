"""A server that misbehaves: everything ends answered or listed, nothing twice, nothing asked in vain."""

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from fault_server import FAULTS, FaultServer, serve
from scripted import job_for

from dsbs.core.errors import TeacherError
from dsbs.extraction.annotations import AnnotationFile
from dsbs.extraction.engine import run_extraction
from dsbs.teachers.openai import OpenAITeacher

TIMEOUT = 0.5


def teacher_at(server: FaultServer, **settings: object) -> OpenAITeacher:
    return OpenAITeacher(**({"name": "openai", "model": "m", "base_url": server.url} | settings))  # type: ignore[arg-type]


def test_with_a_fifth_of_faults_of_all_kinds_every_example_ends_answered_or_listed(tmp_path: Path) -> None:
    rng = random.Random(0)
    kinds = [fault for fault in FAULTS if fault not in ("hang", "drip", "no_choices")]  # the last is final

    def script(number: int, question: str) -> str | None:
        if question.endswith(" 7"):  # one example never gets an answer
            return "400"
        if number % 400 == 20:  # these cost a whole timeout each
            return rng.choice(["hang", "drip"])
        return rng.choice(kinds) if rng.random() < 0.2 else None

    with serve(FaultServer(script=script)) as server:
        job = job_for(
            tmp_path, teacher_at(server, timeout=4 * TIMEOUT), size=1000, settings={"concurrency": 64, "attempts": 9}
        )
        split = run_extraction(job)["splits"]["train"]
    annotations = list(AnnotationFile(tmp_path, "train"))
    ids = [annotation.id for annotation in annotations]
    assert sorted(ids) == sorted({f"train-{number}" for number in range(1000)})
    bad = {annotation.id: annotation.status for annotation in annotations if annotation.status != "ok"}
    assert bad == {"train-7": "request_failed: HTTP 400"}
    assert split["teacher_accuracy"] == 1.0  # of what it answered
    assert split["requests"] == 1000
    # Nothing is asked again once a sound answer was on its way; ``slow`` ones may have been given up.
    assert server.requests < 1000 * 1.6


def test_retry_after_holds_everything_back(tmp_path: Path) -> None:
    times: list[float] = []

    def script(number: int, question: str) -> str | None:
        times.append(time.monotonic())
        return "429_retry_after" if number == 0 else None

    with serve(FaultServer(script=script)) as server:
        run_extraction(job_for(tmp_path, teacher_at(server), size=3, settings={"concurrency": 1}))
    assert times[1] - times[0] >= 0.05


def test_an_overloaded_server_is_asked_less_at_once(tmp_path: Path) -> None:
    server = FaultServer(latency=0.02)
    server.script = lambda number, question: "429" if server._at_once > 4 else None
    with serve(server):
        run_extraction(job_for(tmp_path, teacher_at(server), size=400, settings={"concurrency": 64, "attempts": 20}))
    assert server.requests < 1000


def test_a_limit_per_minute_of_which_nothing_is_said_costs_no_example(tmp_path: Path) -> None:
    served: Counter[int] = Counter()

    def script(number: int, question: str) -> str | None:
        window = int(time.monotonic() / 0.3)  # a minute, where the first wait is a second
        served[window] += 1
        return "429" if served[window] > 4 else None

    with serve(FaultServer(script=script)) as server:
        settings = {"backoff": 0.005, "max_backoff": 0.3}
        split = run_extraction(job_for(tmp_path, teacher_at(server), size=16, settings=settings))["splits"]["train"]
    assert (split["parsed"], split["failed"]) == (16, 0)


def test_a_limit_that_lets_few_through_at_a_time_costs_no_example(tmp_path: Path) -> None:
    rng = random.Random(0)
    script = lambda number, question: "429_retry_after" if rng.random() < 0.7 else None  # noqa: E731
    with serve(FaultServer(script=script)) as server:
        split = run_extraction(job_for(tmp_path, teacher_at(server), size=40))["splits"]["train"]
    assert (split["parsed"], split["failed"]) == (40, 0)


def test_a_question_that_a_server_never_takes_is_given_up(tmp_path: Path) -> None:
    script = lambda number, question: "503" if question.endswith(" 7") else None  # noqa: E731
    with serve(FaultServer(script=script, latency=0.01)) as server:
        split = run_extraction(job_for(tmp_path, teacher_at(server), size=60))["splits"]["train"]
    assert (split["parsed"], split["failed"]) == (59, 1)
    assert max(server.asked.values()) <= 5 * 6


def test_a_server_that_never_takes_a_request_ends_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with serve(FaultServer(script=lambda number, question: "429")) as server, pytest.raises(TeacherError, match="429"):
        run_extraction(job_for(tmp_path, teacher_at(server), size=400))
    assert server.requests < 40
    (told,) = [message for message in caplog.messages if "All requests pause" in message]
    assert told.startswith("HTTP 429: Fault 429. All")


def test_an_account_that_is_blocked_in_the_middle_ends_the_run(tmp_path: Path) -> None:
    script = lambda number, question: "403" if number > 20 else None  # noqa: E731
    with serve(FaultServer(script=script)) as server, pytest.raises(TeacherError, match="HTTP 403"):
        run_extraction(job_for(tmp_path, teacher_at(server), size=400))
    assert server.requests < 120


def test_a_bound_told_by_the_server_is_kept_to(tmp_path: Path) -> None:
    with serve(FaultServer(headers={"x-ratelimit-limit-requests": "1200"})) as server:
        started = time.monotonic()
        run_extraction(job_for(tmp_path, teacher_at(server), size=40, settings={"concurrency": 1}))
    assert time.monotonic() - started > 1.7  # 20 a second


def test_an_empty_allowance_is_waited_for(tmp_path: Path) -> None:
    headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "100ms"}
    with serve(FaultServer(headers=headers)) as server:
        started = time.monotonic()
        run_extraction(job_for(tmp_path, teacher_at(server), size=6, settings={"concurrency": 1}))
    assert time.monotonic() - started > 0.5


@pytest.mark.parametrize(
    ("server", "message"),
    [
        (FaultServer(key="the right one"), "does not accept the key"),
        (FaultServer(model="another"), "has no model 'm'"),
        (FaultServer(script=lambda number, question: "wrong_type"), r"Does teacher\.base_url end in"),
    ],
    ids=["key", "model", "address"],
)
def test_what_cannot_work_ends_after_the_first_few(tmp_path: Path, server: FaultServer, message: str) -> None:
    with serve(server), pytest.raises(TeacherError, match=message):
        run_extraction(job_for(tmp_path, teacher_at(server), size=10_000, settings={"backoff": 0.2}))
    assert server.requests <= 40
