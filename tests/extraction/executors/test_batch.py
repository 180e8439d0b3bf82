"""``executor=batch``: half the price, from one process to the next, nothing sent twice."""

import io
import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from batch_server import BatchServer
from fault_server import FaultServer, serve
from scripted import ScriptedTeacher, extract_from, job_for, load_annotations

from dsbs.core.errors import ConfigError, TeacherError
from dsbs.extraction.engine import estimate_extraction, run_extraction
from dsbs.extraction.executors import EXECUTORS
from dsbs.extraction.job import Job
from dsbs.extraction.progress import ProgressLine
from dsbs.extraction.settings import BatchSettings, Budget
from dsbs.store import CompletionStore
from dsbs.store.__main__ import main as store_main
from dsbs.teachers.openai import OpenAITeacher

PRICES = {"prompt_price": 1e6, "completion_price": 2e6, "max_tokens": 10}  # dollars a token: 1 read, 2 written
BATCH: dict[str, Any] = {"poll": 0.01}
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["scripted", "openai", "aiohttp", "pyarrow.parquet"])


def job_at(folder: Path, server: FaultServer, *, batch: dict[str, Any] = {}, **changes: Any) -> Job:  # noqa: B006
    teacher = OpenAITeacher(name="openai", model="m", base_url=server.url, timeout=5.0, **changes.pop("teacher", {}))
    settings = {"executor": "batch", "batch": BatchSettings(**(BATCH | batch))} | changes.pop("settings", {})
    return job_for(folder, teacher, settings=settings, **changes)


def run(folder: Path, server: FaultServer, **changes: Any) -> dict[str, Any]:
    summary: dict[str, Any] = run_extraction(job_at(folder, server, **changes))["splits"]["train"]
    return summary


def fault_at(*numbers: int, kind: str) -> Callable[[int, str], str | None]:
    return lambda number, question: kind if int(question.split()[-1]) in numbers else None


def test_the_result_is_that_of_single_requests_at_half_the_price(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path / "single", ScriptedTeacher()))
    with serve(BatchServer(looks=2)) as server:
        split = run(tmp_path / "batch", server, teacher=PRICES)
        again = run(tmp_path / "batch", server, teacher=PRICES)
    assert load_annotations(tmp_path / "batch", "train") == load_annotations(tmp_path / "single", "train")
    assert (split["requests"], split["cached"], split["parsed"], split["cost_usd"]) == (10, 0, 10, 200.0)
    assert (again["requests"], again["cached"], again["cost_usd"]) == (0, 10, 200.0)
    assert (len(server.batches), server.calls["create"]) == (1, 1)


def test_single_requests_and_batches_each_count_at_their_price(tmp_path: Path) -> None:
    with serve(BatchServer()) as server:
        run(tmp_path, server, teacher=PRICES, settings={"executor": "local"}, limit=4)
        split = run(tmp_path, server, teacher=PRICES)
        assert (split["requests"], split["cost_usd"]) == (6, 4 * 40.0 + 6 * 20.0)
        budget = {"budget": Budget(usd=290.0)}  # room for half of one request more
        split = run(tmp_path, server, teacher=PRICES, size=20, settings=budget)
    assert split["requests"] == 0


@pytest.mark.parametrize(("limits", "batches"), [({"requests": 4}, 3), ({"megabytes": 0.0008}, 5)])
def test_what_is_too_much_for_one_batch_is_cut_into_several(
    tmp_path: Path, limits: dict[str, Any], batches: int
) -> None:
    with serve(BatchServer()) as server:
        assert run(tmp_path, server, batch=limits | {"at_once": 2})["parsed"] == 10
    assert len(server.batches) == batches
    assert set(server.asked.values()) == {1}
    assert all(len(content) <= 800 for content in list(server.files.values())[:1] if "megabytes" in limits)


def test_with_log_probabilities_batches_are_small_enough_for_their_results_to_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsbs.teachers.endpoint.batches.MAX_FILE", 100_000)
    with serve(BatchServer()) as server:
        assert run(tmp_path, server, teacher={"top_logprobs": 20, "max_tokens": 15})["parsed"] == 10
    assert [len(batch["lines"]) for batch in server.batches.values()] == [3, 3, 3, 1]


def test_failed_lines_are_listed_with_their_reason_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    kinds = {1: "400", 2: "malformed", 3: "missing", 4: "twice", 5: "expired"}
    script = lambda number, question: kinds.get(int(question.split()[-1]))  # noqa: E731
    with serve(BatchServer(script=script)) as server:
        split = run(tmp_path, server)
        statuses = {one.id: one.status for one in load_annotations(tmp_path, "train").values() if one.status != "ok"}
        assert statuses == {
            "train-1": "request_failed: HTTP 400",
            "train-2": "request_failed: no choices",
            "train-3": "request_failed: no answer in the batch",
            "train-5": "request_failed: batch expired",
        }
        assert (split["examples"], split["parsed"], split["completion_tokens"]) == (10, 6, 60)
        server.script = lambda number, question: None
        split = run(tmp_path, server)
    assert (split["requests"], split["cached"], split["parsed"]) == (4, 6, 10)
    assert max(server.answered.values()) == 1


def test_the_long_ids_of_a_gateway_are_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = BatchServer._keep

    def keep_as(server: BatchServer, content: bytes) -> str:
        name = f"{keep(server, content)}-{'bGl0ZWxsbV9wcm94eTph' * 20}=="
        server.files[name] = content
        return name

    monkeypatch.setattr(BatchServer, "_keep", keep_as)
    with serve(BatchServer()) as server:
        assert run(tmp_path, server)["parsed"] == 10


def test_a_line_that_a_filter_rejects_and_a_state_in_capitals_are_known(tmp_path: Path) -> None:
    words = "Your prompt was flagged by the content filter."
    refuses = lambda body: words if body["messages"][-1]["content"].endswith(" 3") else None  # noqa: E731
    with serve(BatchServer(refuses=refuses, ends=("COMPLETED",))) as server:
        split = run(tmp_path, server)
    assert split["statuses"] == {"ok": 9, "request_failed: content filter": 1}


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_of_a_batch_that_did_not_end_well_what_came_is_kept_and_the_rest_is_asked_by_the_next_run(
    tmp_path: Path, end: str
) -> None:
    server = BatchServer(looks=0, ends=(end, "completed"), script=fault_at(*range(5), kind="missing"))
    with serve(server):
        assert run(tmp_path, server, batch={"wait": False})["statuses"] == {f"request_failed: batch {end}": 5, "ok": 5}
        server.script = lambda number, question: None
        assert run(tmp_path, server)["requests"] == 5
    assert set(server.answered.values()) == {1}


@pytest.mark.parametrize("kind", ["missing", "expired"])
def test_who_waits_sends_again_what_expired_while_anything_is_answered(tmp_path: Path, kind: str) -> None:
    server = BatchServer(ends=("expired", "completed"), script=lambda number, question: kind if number < 5 else None)
    with serve(server):
        split = run(tmp_path / "some", server)
        assert (split["parsed"], split["requests"], len(server.batches)) == (10, 10, 2)
        server.ends, server.script = ("expired",), lambda number, question: kind
        with pytest.raises(TeacherError, match="None of 10 requests was answered"):
            run(tmp_path / "none", server)
    assert set(server.answered.values()) == {1}


def test_a_batch_that_is_refused_as_a_whole_is_told_and_sent_again_by_the_next_run(tmp_path: Path) -> None:
    with serve(BatchServer(most_lines=5)) as server:
        with pytest.raises(TeacherError, match="Enqueued token limit") as caught:
            run(tmp_path / "folder", server)
        assert "batch.requests" in str(caught.value)
        assert list(tmp_path.iterdir()) == []
        assert run(tmp_path / "folder", server, batch={"requests": 5, "at_once": 1})["parsed"] == 10


def test_what_the_endpoint_rejects_in_all_lines_is_changed_and_they_are_sent_again(tmp_path: Path) -> None:
    def refuses(body: dict[str, Any]) -> str | None:
        if "max_tokens" in body:
            return "Unsupported parameter: 'max_tokens' is not supported with this model."
        return "Unsupported value: only the default temperature (1) is supported." if "temperature" in body else None

    with serve(BatchServer(refuses=refuses)) as server:
        summary = run_extraction(job_at(tmp_path / "one", server, batch={"requests": 7}, size=20))
        split = summary["splits"]["train"]
        assert (split["parsed"], split["requests"], set(server.answered.values())) == (20, 20, {1})
        assert [note.partition(" (")[0] for note in summary["notes"]] == [
            "The endpoint rejects max_tokens", "The endpoint rejects temperature"
        ]  # fmt: skip
        server.looks = 1
        run(tmp_path / "two", server, batch={"wait": False})
        with pytest.raises(TeacherError, match=r"max_tokens.* Try teacher.max_tokens=null \+teacher.extra"):
            run(tmp_path / "two", server, batch={"wait": False})


def test_batches_beyond_the_limit_on_pending_ones_are_sent_when_others_have_ended(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serve(BatchServer(looks=3, most_pending=2)) as server:
        assert run(tmp_path, server, batch={"requests": 2})["parsed"] == 10
    assert set(server.asked.values()) == {1}
    assert "2 batches are pending; it is sent again when one of them has ended" in caplog.text


def test_an_endpoint_that_cannot_be_reached_for_a_while_does_not_end_the_waiting(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trouble = lambda name, number: "drop" if name == "retrieve" and 2 <= number < 20 else None  # noqa: E731
    with serve(BatchServer(looks=3, trouble=trouble)) as server:
        assert run(tmp_path, server, settings={"attempts": 3})["parsed"] == 10
    assert (len(server.batches), caplog.text.count("polling continues")) == (1, 1)


def test_results_that_appear_later_than_the_end_of_the_batch_are_waited_for(tmp_path: Path) -> None:
    class Late(BatchServer):
        async def _retrieve(self, request: web.Request) -> web.Response:
            response = await super()._retrieve(request)
            state = json.loads(response.text or "")
            if self.calls["retrieve"] < 4:
                state.pop("output_file_id", None)
            return web.json_response(state)

    with serve(Late(looks=0)) as server:
        assert run(tmp_path, server)["parsed"] == 10
    assert set(server.asked.values()) == {1}


def test_answers_without_a_file_of_results_are_not_given_up(tmp_path: Path) -> None:
    class Hiding(BatchServer):
        hides = True

        async def _retrieve(self, request: web.Request) -> web.Response:
            state = json.loads((await super()._retrieve(request)).text or "")
            return web.json_response(state | ({"output_file_id": ""} if self.hides else {}))

    with serve(Hiding(looks=0)) as server:
        with pytest.raises(TeacherError, match=r"hold 0 lines; the endpoint says 10\..* abandon "):
            run(tmp_path, server, settings={"attempts": 2})
        server.hides = False
        assert run(tmp_path, server)["parsed"] == 10
    assert set(server.asked.values()) == {1}


def test_when_no_line_is_answered_nothing_more_is_sent(tmp_path: Path) -> None:
    with serve(BatchServer(script=lambda number, question: "400")) as server, pytest.raises(TeacherError) as caught:
        run(tmp_path, server, size=100, batch={"requests": 20, "at_once": 1})
    assert "None of the 20 requests of batch batch_0 was answered; the last of them: HTTP 400: Fault 400" in str(
        caught.value
    )
    assert len(server.batches) == 1


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        ("upload", "500"), ("upload", "drop"), ("upload", "lost"), ("create", "503"), ("create", "drop"),
        ("create", "lost"), ("retrieve", "429"), ("retrieve", "drop"), ("content", "500"), ("content", "drop"),
        ("content", "cut"),
    ],
)  # fmt: skip
def test_a_passing_fault_costs_nothing_twice(tmp_path: Path, call: str, kind: str) -> None:
    trouble = lambda name, number: kind if (name, number) == (call, 0) else None  # noqa: E731
    with serve(BatchServer(trouble=trouble)) as server:
        assert run(tmp_path, server)["parsed"] == 10
    assert len(server.batches) == 1
    assert server.calls[call] + server.calls["list"] >= 2


@pytest.mark.parametrize("metadata", [True, False], ids=["found by metadata", "found by file"])
def test_a_batch_whose_id_never_came_is_found_among_many(tmp_path: Path, metadata: bool) -> None:
    with serve(BatchServer(metadata=metadata)) as server:
        run(tmp_path / "others", server, size=40, batch={"requests": 5})
        server.trouble = lambda name, number: "lost" if name == "create" else None
        with pytest.raises(TeacherError, match="No connection"):
            run(tmp_path / "ours", server, settings={"attempts": 1})
        server.trouble = lambda name, number: None
        for number in range(7):  # others are made meanwhile
            server.batches[f"other-{number}"] = {"id": f"other-{number}", "created_at": 2_100_000_000}
        before = server.calls["create"]
        assert run(tmp_path / "ours", server)["parsed"] == 10
    assert server.calls["create"] == before
    assert server.calls["list"] > 2


def test_a_file_of_results_that_stays_broken_ends_the_run_and_its_other_lines_are_kept(tmp_path: Path) -> None:
    with serve(BatchServer(script=fault_at(3, kind="broken"))) as server:
        with pytest.raises(TeacherError, match="1 lines of file-1") as caught:
            run(tmp_path, server, settings={"attempts": 2})
        assert len(load_annotations(tmp_path, "train")) == 9
        command = str(caught.value).split("python -m dsbs.store ")[1].split()
        assert store_main(command) == 0
        server.script = lambda number, question: None
        assert run(tmp_path, server)["requests"] == 1


def test_separators_of_lines_within_an_answer_do_no_harm(tmp_path: Path) -> None:
    says = lambda question: f"It\u2028has\x85letters. So the answer is {len(question)}."  # noqa: E731
    with serve(BatchServer(answer=says)) as server:
        assert run(tmp_path, server)["teacher_accuracy"] == 1.0


def test_a_wrong_key_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted")
    with serve(BatchServer(key="another")) as server, pytest.raises(TeacherError, match="does not accept the key"):
        run(tmp_path / "folder", server)
    assert list(tmp_path.iterdir()) == []


def test_an_endpoint_without_a_batch_api_is_named(tmp_path: Path) -> None:
    with serve(FaultServer()) as server, pytest.raises(TeacherError, match="no batch API"):
        run(tmp_path / "folder", server)
    assert list(tmp_path.iterdir()) == []


def test_a_teacher_without_a_batch_api_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="teacher=openai"):
        run_extraction(job_for(tmp_path / "folder", ScriptedTeacher(), settings={"executor": "batch"}))
    assert list(tmp_path.iterdir()) == []


def test_without_waiting_it_sends_and_collects_in_one_run_after_the_other(tmp_path: Path) -> None:
    with serve(BatchServer(looks=3)) as server:
        summary = run_extraction(job_at(tmp_path, server, batch={"wait": False}))
        assert summary["stopped"].startswith("10 requests are pending in batches at the endpoint")
        survey, estimate = estimate_extraction(job_at(tmp_path, server))
        assert (survey.in_batches, survey.to_ask, survey.stored, estimate.requests) == (10, 0, 0, 0)
        for _ in range(3):
            summary = run_extraction(job_at(tmp_path, server, batch={"wait": False}))
    assert (summary["stopped"], summary["splits"]["train"]["parsed"]) == (None, 10)
    assert len(server.batches) == 1


def test_who_asks_for_the_rest_by_single_requests_leaves_alone_what_is_in_a_batch(tmp_path: Path) -> None:
    with serve(BatchServer(looks=3)) as server:
        run(tmp_path, server, batch={"wait": False}, limit=4)
        summary = run_extraction(job_at(tmp_path, server, settings={"executor": "local"}))
        assert "executor=batch collects them" in summary["stopped"]
        assert (summary["splits"]["train"]["requests"], summary["splits"]["train"]["cached"]) == (6, 0)
        assert run(tmp_path, server)["parsed"] == 10
    assert set(server.asked.values()) == {1}


def test_what_was_sent_is_collected_whatever_is_selected_now(tmp_path: Path) -> None:
    with serve(BatchServer(looks=1)) as server:
        run(tmp_path, server, batch={"wait": False})
        assert run(tmp_path, server, limit=1)["examples"] == 10


@pytest.mark.parametrize("bound", [{"requests": 35}, {"tokens": 35 * 30}, {"usd": 35 * 20.0}])
def test_a_budget_is_kept_to_with_what_is_under_way(tmp_path: Path, bound: dict[str, float]) -> None:
    with serve(BatchServer()) as server:
        budget = {"budget": Budget(**bound)}  # type: ignore[arg-type]
        job = job_at(tmp_path, server, size=100, teacher=PRICES, settings=budget, batch={"requests": 10})
        summary = run_extraction(job)
        assert "is reached" in summary["stopped"]
        assert 30 <= summary["splits"]["train"]["parsed"] <= 36
        assert run(tmp_path, server, size=100, teacher=PRICES)["parsed"] == 100
    assert set(server.asked.values()) == {1}


def test_a_dry_run_reckons_with_the_price_of_a_batch(tmp_path: Path) -> None:
    with serve(BatchServer()) as server:
        _, single = estimate_extraction(job_at(tmp_path / "a", server, teacher=PRICES, settings={"executor": "local"}))
        _, batch = estimate_extraction(job_at(tmp_path / "a", server, teacher=PRICES))
    assert single.usd is not None
    assert batch.usd == single.usd / 2
    assert batch.seconds == 24 * 3600
    assert (server.calls, list(tmp_path.iterdir())) == ({}, [])


@pytest.mark.parametrize("knows", [True, None, False])
def test_samples_share_a_line_where_the_endpoint_knows_how(tmp_path: Path, knows: bool | None) -> None:
    changes: dict[str, Any] = {"teacher": {"temperature": 1.0}, "settings": {"samples": 3}, "size": 5}
    with serve(BatchServer(knows_n=knows)) as server:
        runs = [run(tmp_path, server, **changes) for _ in range(2)]
    if knows:
        assert [len(batch["lines"]) for batch in server.batches.values()] == [5]
        assert (runs[0]["requests"], runs[0]["completion_tokens"]) == (15, 150)
    else:
        assert runs[1]["completion_tokens"] == 150
    assert {one.agreement for one in load_annotations(tmp_path, "train").values()} == {1.0}


def test_another_address_is_refused_while_batches_are_open(tmp_path: Path) -> None:
    with serve(BatchServer(looks=9)) as server, serve(BatchServer()) as other:
        run(tmp_path, server, batch={"wait": False})
        with pytest.raises(ConfigError, match=f"teacher.base_url={server.url}"):
            run(tmp_path, other)


def test_a_batch_that_the_endpoint_forgot_can_be_given_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serve(BatchServer(looks=9)) as server:
        run(tmp_path, server, batch={"wait": False})
        assert store_main(["show", str(tmp_path)]) == 0
        assert "batch_0, sent to" in capsys.readouterr().out
        server.batches.clear()
        server.looks = 0
        with pytest.raises(TeacherError, match="10 requests") as caught:
            run(tmp_path, server)
        command = str(caught.value).split("python -m dsbs.store ")[1].split()
        assert store_main(command) == 0
        assert "10 requests will be asked again" in capsys.readouterr().out
        assert store_main(command) == 1
        assert run(tmp_path, server)["parsed"] == 10


def test_a_live_line_tells_how_far_the_batches_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.extraction.progress.PLAIN_SECONDS", 0.0)
    monkeypatch.setattr("dsbs.extraction.engine.TICK", 0.005)
    said = io.StringIO()
    watch = partial(ProgressLine, stream=said)
    with serve(BatchServer(looks=3)) as server:
        run_extraction(job_at(tmp_path, server, teacher=PRICES, batch={"poll": 0.02}), watch)
    lines = said.getvalue().splitlines()
    assert "batch_0 at the endpoint (in_progress): 0 of 10 done there" in said.getvalue()
    assert len([line for line in lines if "in_progress" in line]) == 1, "only what is news"
    assert lines[-1] == "extract: 10/10, 300 tokens, $200.00, 0.0% unparsed"


def start(folder: Path, server: FaultServer, size: int = 10) -> BaseProcess:
    settings = {"executor": "batch", "batch": BatchSettings(**BATCH)}
    process = PROCESSES.Process(target=extract_from, args=(server.url, str(folder), size, settings))
    process.start()
    return process


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.parametrize("call", ["upload", "create", "retrieve", "content"])
def test_killed_at_any_step_nothing_is_lost_and_nothing_is_sent_twice(tmp_path: Path, call: str) -> None:
    with serve(BatchServer(trouble=lambda name, number: "hang" if name == call else None)) as server:
        process = start(tmp_path, server)
        wait_until(lambda: server.calls[call] > 0)
        time.sleep(0.05)
        process.kill()
        process.join()
        server.trouble = lambda name, number: None
        assert run(tmp_path, server)["parsed"] == 10
    assert set(server.asked.values()) == {1}
    assert len(server.batches) == 1


def test_killed_while_it_collects_it_takes_in_the_rest(tmp_path: Path) -> None:
    with serve(BatchServer()) as server:
        run(tmp_path, server, batch={"wait": False}, size=1200)
        process = start(tmp_path, server, size=1200)
        wait_until(lambda: server.calls["content"] > 0)
        time.sleep(0.02)
        process.kill()
        process.join()
        assert run(tmp_path, server, size=1200)["completion_tokens"] == 12_000
    assert set(server.asked.values()) == {1}


def test_ctrl_c_leaves_the_batch_running_and_says_how_to_come_back(tmp_path: Path) -> None:
    with serve(BatchServer(looks=10**6)) as server:
        process = start(tmp_path, server)
        wait_until(lambda: server.calls["retrieve"] > 1)
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(30)
        assert process.exitcode == 1
        said = (tmp_path / "error").read_text()
        assert "10 requests are pending in batches at the endpoint; the same command collects them" in said
        server.looks = 0
        assert run(tmp_path, server)["parsed"] == 10
    assert len(server.batches) == 1


def test_merged_stores_collect_what_one_of_them_sent(tmp_path: Path) -> None:
    one, whole = tmp_path / "one", tmp_path / "whole"
    with serve(BatchServer()) as server:
        run(one, server, batch={"wait": False, "requests": 5, "at_once": 1})
        for _ in range(2):
            assert store_main(["merge", str(whole), str(one)]) == 0
        run(whole, server)
        assert run(whole, server)["parsed"] == 10
        assert store_main(["merge", str(one), str(whole)]) == 0
        assert run(one, server)["requests"] == 0
    assert set(server.asked.values()) == {1}
    with CompletionStore(one / "completions.sqlite") as first, CompletionStore(whole / "completions.sqlite") as second:
        totals = [store.batch_totals(store.origins()[0]) for store in (first, second)]
    assert totals == [(10, 200, 100)] * 2


def test_an_executor_says_itself_that_it_asks_in_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is said of batches follows the executor that asks so, whatever its name."""
    monkeypatch.setitem(EXECUTORS, "overnight", EXECUTORS["batch"])
    job = job_for(tmp_path, ScriptedTeacher(), settings={"executor": "overnight"})
    with pytest.raises(ConfigError, match=r"executor=overnight: teacher=scripted has no batch API"):
        run_extraction(job)
    with serve(BatchServer()) as server:
        teacher = {"prompt_price": 2.0, "completion_price": 4.0}
        one, two = (
            estimate_extraction(job_at(tmp_path / name, server, teacher=teacher, settings={"executor": name}))[1]
            for name in ("overnight", "local")
        )
    assert one.usd == pytest.approx((two.usd or 0.0) / 2)
