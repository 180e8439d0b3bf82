"""What an endpoint may send, and the sentence that comes out: bodies, fields, headers, files of batches."""

import asyncio
import json
import threading
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from batch_server import BatchServer
from fault_server import FaultServer, serve
from scripted import CountTask, job_for, load_annotations

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import MAX_TEXT
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.executors.pacing import Pause
from dsbs.extraction.retrying import Retrying
from dsbs.extraction.settings import BatchSettings, ExtractionSettings
from dsbs.store import CompletionStore
from dsbs.teachers.endpoint.headers import LONGEST_TOLD, LONGEST_WAIT, read_limits, read_retry_after
from dsbs.teachers.endpoint.responses import read_completions
from dsbs.teachers.openai import OpenAITeacher

KEY = "sk-planted-0123456789abcdef"
REQUEST = Request("1", "train", "", (), "two?")
SAID = {"message": {"role": "assistant", "content": "So the answer is 4."}}


@dataclass
class RawServer(FaultServer):
    """Answers every request with one body, whatever it is."""

    body: bytes | AsyncIterator[bytes] = b""
    status: int = 200
    sent: dict[str, str] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        if isinstance(self.body, bytes):
            return web.Response(body=self.body, status=self.status, headers=self.sent)
        response = web.StreamResponse(status=self.status, headers=self.sent)
        await response.prepare(request)
        try:
            async for piece in self.body:
                await response.write(piece)
        except ConnectionError:
            pass  # the client has read enough
        return response


def ask(server: FaultServer, **settings: Any) -> Completion:
    teacher = OpenAITeacher(name="openai", model="m", base_url=server.url, timeout=20.0, **settings)

    async def run() -> Completion:
        async with teacher.connect(CountTask()) as answer:
            return await answer(REQUEST)

    return asyncio.run(run())


def answer_of(**fields: Any) -> bytes:
    return json.dumps({"choices": [SAID], "model": "m"} | fields).encode()


def bomb_of(size: int, window: int) -> bytes:
    """Pack a megabyte once, and repeat it: nobody gets as far as the check sum at the end."""
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    head = packer.compress(b"a") + packer.flush(zlib.Z_FULL_FLUSH)
    return head + (packer.compress(b"a" * 2**20) + packer.flush(zlib.Z_FULL_FLUSH)) * (size // 2**20)


async def stream_of(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 2**20):
        yield b"a" * 2**20


@contextmanager
def peak_memory() -> Iterator[list[float]]:
    """Give the growth of the process in MB, the moment of entry being idle."""
    page, peak, over = 4096 / 1e6, [0.0], threading.Event()

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * page

    idle = resident()

    def watch() -> None:
        while not over.wait(0.002):
            peak[0] = max(peak[0], resident() - idle)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def test_a_gateway_that_unpacks_and_keeps_the_header_or_says_created_is_read() -> None:
    body = b'{"choices": [{"message": {"content": "So the answer is 4."}}]}'
    with serve(RawServer(body=body, status=201, sent={"Content-Encoding": "gzip"})) as server:
        assert ask(server).text == "So the answer is 4."


def test_an_answer_in_another_charset_is_read() -> None:
    body = '{"choices": [{"message": {"content": "Schön."}}]}'.encode("latin-1")
    for kind in ("application/json; charset=ISO-8859-1", "application/json"):
        with serve(RawServer(body=body, sent={"Content-Type": kind})) as server:
            assert ask(server).text == "Schön."


@pytest.mark.parametrize("text", ["Schön 😀.".encode()[:-2] + b".", "退货，需要维修".encode("gbk")])
def test_a_broken_character_of_utf_8_does_not_turn_the_others_into_windows_ones(text: bytes) -> None:
    body = b'{"choices": [{"message": {"content": "' + text + b'"}}]}'
    with serve(RawServer(body=body)) as server, pytest.raises(TeacherError, match="JSON that is broken") as caught:
        ask(server)
    assert caught.value.retryable


def test_a_line_break_within_a_text_that_is_not_escaped_is_read() -> None:
    with serve(RawServer(body=b'{"choices": [{"message": {"content": "It broke.\n4."}}]}')) as server:
        assert ask(server).text == "It broke.\n4."


@pytest.mark.parametrize("kind", ["gzip", "deflate", "raw deflate", "stream"])
def test_a_body_bomb_is_given_up_within_little_memory(kind: str, record_property: Callable[..., None]) -> None:
    """``pytest -k bomb --junitxml=FILE`` writes the figures down."""
    windows = {"gzip": 31, "deflate": 15, "raw deflate": -15}
    body: Any = bomb_of(2**30, windows[kind]) if kind in windows else stream_of(2**30)
    packed = {"Content-Encoding": kind.split()[-1]} if kind in windows else {}
    sentence = "an answer of more than 16 MiB; reading it was aborted"
    with serve(RawServer(body=body, sent=packed)) as server, peak_memory() as grown:  # noqa: SIM117
        with pytest.raises(TeacherError, match=sentence) as caught:
            ask(server)
    assert (caught.value.retryable, caught.value.reason) == (False, "answer too large")
    record_property("mb_above_idle", round(grown[0]))
    assert grown[0] < 200


def test_a_sound_answer_may_be_packed() -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    body = packer.compress(answer_of()) + packer.flush()
    with serve(RawServer(body=body, sent={"Content-Encoding": "gzip"})) as server:
        assert ask(server).text == "So the answer is 4."


PACKED = {
    "cut": ("gzip", bomb_of(2**20, 31), "compressed answer is corrupt"),
    "no gzip at all": ("gzip", b"So the answer is 4.", "compressed answer is corrupt"),
    "unknown": ("br", b"xyz", "compressed its answer as 'br', not as asked"),
    "twice": ("gzip, gzip", b"xyz", "compressed its answer as 'gzip, gzip'"),
}


@pytest.mark.parametrize("kind", PACKED)
def test_a_body_that_cannot_be_unpacked_is_a_malformed_answer(kind: str) -> None:
    encoding, body, sentence = PACKED[kind]
    server = RawServer(body=body, sent={"Content-Encoding": encoding})
    with serve(server), pytest.raises(TeacherError, match=sentence) as caught:
        ask(server)
    assert (caught.value.retryable, caught.value.reason) == (True, "malformed answer")


# What a field of a sound answer may hold instead of what it should.
ODD_FIELDS: dict[str, dict[str, Any]] = {
    "finish_reason an object": {"choices": [SAID | {"finish_reason": {"type": "stop"}}]},
    "model a list": {"model": ["m", 1]},
    "model of half surrogates": {"model": "\ud800m\udfff"},
    "model very long": {"model": "m" * 10**6},
    "tokens beyond 64 bits": {"usage": {"prompt_tokens": 2**70, "completion_tokens": 2**70}},
    "tokens below zero": {"usage": {"prompt_tokens": -1, "completion_tokens": -(2**63)}},
    "tokens infinite": {"usage": {"prompt_tokens": float("inf"), "completion_tokens": float("nan")}},
    "usage a list": {"usage": [1, 2]},
    "text of half surrogates": {"choices": [{"message": {"content": "\udc00 So the answer is 4."}}]},
}


@pytest.mark.parametrize("kind", ODD_FIELDS)
def test_an_odd_field_of_a_sound_answer_counts_as_not_told_and_is_kept_in_the_store(kind: str, tmp_path: Path) -> None:
    """What is committed together with it is not lost."""
    (said,) = read_completions(answer_of(**ODD_FIELDS[kind]))
    assert said.text.endswith("So the answer is 4.")
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        identity = {"teacher": {}, "prompt": {}}
        origin = store.origin(identity, REQUEST)
        store.add(origin, [(REQUEST, said), (Request("2", "train", "", (), "three?"), Completion("sound"))])
        kept = list(store.rows())
    assert len(kept) == 2
    assert isinstance(kept[0]["finish_reason"], str | None)
    assert isinstance(kept[0]["model"], str | None)
    assert all(len(kept[0][name] or "") <= 200 for name in ("finish_reason", "model"))
    assert all(kept[0][name] in (None, 7) for name in ("prompt_tokens", "completion_tokens"))


NO_ANSWERS: dict[str, bytes] = {
    "a list": b"[]",
    "deep": b"[" * 100_000,
    "many values": b'{"choices":[' + b"[]," * 3_000_000 + b"[]]}",
    "choices an object": b'{"choices": {"0": {"text": "4"}}}',
    "a choice that is a text": b'{"choices": ["4"]}',
    "content an object": b'{"choices": [{"message": {"content": {"deep": {}}}}]}',
    "no UTF-8": b'{"choices": [{"text": "\xff"}]}',
    "control characters": b"\x1b]0;title\x07 nothing",
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_what_is_no_answer_is_told_in_one_short_line(kind: str) -> None:
    with pytest.raises(TeacherError, match="answer is not a completion") as caught:
        read_completions(NO_ANSWERS[kind])
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()


def test_a_completion_without_end_is_cut_and_counts_as_cut_off() -> None:
    (said,) = read_completions(json.dumps({"choices": [{"text": "a" * (MAX_TEXT + 7)}]}).encode())
    assert (len(said.text), said.finish_reason) == (MAX_TEXT, "length")


ERRORS: dict[str, Any] = {
    "code a list": {"error": {"message": "no", "code": ["insufficient_quota"]}},
    "message an object": {"error": {"message": {"deep": "no"}}},
    "a list": ["no"],
    "error a text": {"error": "no"},
}


@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("status", [400, 429, 500])
def test_an_error_of_any_shape_becomes_a_sentence(kind: str, status: int) -> None:
    server = RawServer(body=json.dumps(ERRORS[kind]).encode(), status=status, sent={"Content-Type": "application/json"})
    with serve(server), pytest.raises(TeacherError, match=f"^HTTP {status}: .*no") as caught:
        ask(server)
    assert caught.value.reason == f"HTTP {status}"


def test_an_error_text_is_read_and_told_only_in_its_beginning() -> None:
    body = b"overloaded \x1b[31m " + b"x" * 2**22
    with (
        serve(RawServer(body=body, status=503)) as server,
        pytest.raises(TeacherError, match="HTTP 503: over") as caught,
    ):
        ask(server)
    assert len(str(caught.value)) < 300
    assert str(caught.value).isprintable()


HEADERS: dict[str, tuple[str, float | None]] = {
    "infinite": ("inf", LONGEST_TOLD),
    "no number": ("nan", None),
    "below zero": ("-5", 0.0),
    "year 9999": ("Fri, 31 Dec 9999 23:59:59 GMT", LONGEST_TOLD),
    "a zone of its own": ("Fri, 31 Dec 2999 23:59:59 +9999999", None),
    "words": ("soon" * 1000, None),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_no_header_makes_us_wait_longer_than_an_hour_at_once(kind: str) -> None:
    value, seconds = HEADERS[kind]
    asked = read_retry_after({"retry-after": value})
    assert asked in (seconds, None)
    (pause := Pause()).ask(asked or 0.0)
    assert pause.left <= LONGEST_WAIT
    error = TeacherError("", retry_after=asked)
    assert Retrying(ExtractionSettings(), bool, asyncio.sleep).wait_after(1, error) <= LONGEST_WAIT  # type: ignore[arg-type]
    limits = read_limits(
        {
            "x-ratelimit-limit-requests": "1e-300",
            "x-ratelimit-limit-tokens": "inf",
            "x-ratelimit-remaining-requests": "0",
            "x-ratelimit-reset-requests": value,
        }
    )
    assert limits.requests_per_minute is None
    assert limits.tokens_per_minute is None
    assert 0 <= limits.wait <= 3600


def test_a_key_that_an_endpoint_repeats_is_neither_kept_nor_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    said = f"Your key is {KEY}. So the answer is 4."
    with serve(RawServer(body=answer_of(choices=[{"text": said, "finish_reason": KEY}], model=KEY))) as server:
        completion = ask(server)
        assert completion.text == "Your key is ***. So the answer is 4."
        assert KEY not in repr(completion)
        server.body = f"<html>Bearer {KEY} is unknown</html>".encode()
        with pytest.raises(TeacherError, match="not a completion") as caught:
            ask(server)
        assert KEY[:12] not in str(caught.value)


def collect(folder: Path, server: BatchServer) -> dict[str, str]:
    teacher = OpenAITeacher(name="openai", model="m", base_url=server.url, timeout=5.0)
    settings = {"executor": "batch", "batch": BatchSettings(poll=0.01), "attempts": 1}
    run_extraction(job_for(folder, teacher, settings=settings, size=3))
    return {one.id: one.status for one in load_annotations(folder, "train").values()}


@dataclass
class OddBatchServer(BatchServer):
    """Puts lines of its own into the files of results."""

    lines: tuple[bytes, ...] = ()
    changes: dict[str, Any] = field(default_factory=dict)

    def _finish(self, batch: dict[str, Any]) -> None:
        super()._finish(batch)
        name = json.loads(self.files[batch["output_file_id"]].splitlines()[0])["custom_id"].encode()
        added = b"".join(line.replace(b"NAME", name) + b"\n" for line in self.lines)
        self.files[batch["output_file_id"]] = added + self.files[batch["output_file_id"]]
        batch |= self.changes


ODD_LINES: dict[str, bytes] = {
    "a response that is a list": b'{"custom_id": "NAME", "response": []}',
    "a status that is an object": b'{"custom_id": "NAME", "response": {"status_code": {"a": []}, "body": 7}}',
    "an error code that is a list": b'{"custom_id": "NAME", "error": {"code": ["x"], "message": {"y": 1}}}',
    "a code without end": b'{"custom_id": "NAME", "error": {"code": "' + b"x" * 10**6 + b'"}}',
    "choices that are none": b'{"custom_id": "NAME", "response": {"status_code": 200, "body": {"choices": 3}}}',
}


@pytest.mark.parametrize("kind", ODD_LINES)
def test_an_odd_line_of_a_batch_is_one_failure_and_the_others_are_kept(kind: str, tmp_path: Path) -> None:
    with serve(OddBatchServer(lines=(ODD_LINES[kind],))) as server:
        statuses = collect(tmp_path, server)
    failed = [status for status in statuses.values() if status != "ok"]
    assert len(failed) == 1
    assert failed[0].startswith("request_failed: ")
    assert len(failed[0]) < 80


@pytest.mark.parametrize("line", [b"[1]", b'{"custom_id": [1]}', b"[" * 10**5, b"7"])
def test_a_line_that_is_none_costs_no_other_line(line: bytes, tmp_path: Path) -> None:
    with serve(OddBatchServer(lines=(line,))) as server, pytest.raises(TeacherError, match=r"1 lines of .* cannot be"):
        collect(tmp_path, server)
    with CompletionStore(tmp_path / "completions.sqlite") as store:
        assert store.count() == 3


ODD_BATCHES: dict[str, dict[str, Any]] = {
    "counts a list": {"request_counts": [3]},
    "counts huge": {"request_counts": {"total": 2**80, "completed": "3", "failed": None}},
    "errors a text": {"errors": "none"},
    "error lines odd": {"errors": {"data": [3, {"line": {}, "message": []}]}},
}


@pytest.mark.parametrize("kind", ODD_BATCHES)
def test_odd_fields_of_a_batch_count_as_not_told(kind: str, tmp_path: Path) -> None:
    with serve(OddBatchServer(changes=ODD_BATCHES[kind])) as server:
        assert set(collect(tmp_path, server).values()) == {"ok"}


@pytest.mark.parametrize("name", ["../../v1/models", "a/b", "x" * 1001, "a\nb", ["file"]])
def test_an_id_that_is_no_name_is_never_made_an_address(name: Any, tmp_path: Path) -> None:
    with serve(OddBatchServer(changes={"output_file_id": name})) as server:
        with pytest.raises(TeacherError, match=r"not a completion: .output_file_id:"):
            collect(tmp_path, server)
        assert not server.calls["content"]
