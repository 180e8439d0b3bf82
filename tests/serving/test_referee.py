"""What the student is unsure of is the teacher's; where the teacher fails, the student answers and says so."""

import asyncio
import math
from pathlib import Path
from typing import Any

import pytest
from refereed import app, says
from scripted import ScriptedTeacher
from serving_client import Scripted, build
from starlette.testclient import TestClient

from dsbs.core.errors import ConfigError, RunError, TeacherError
from dsbs.core.records import Annotation, Completion, Example, Request
from dsbs.deferral.calibration import Calibration
from dsbs.deferral.policy import Policy
from dsbs.extraction.prompts import Prompt
from dsbs.extraction.settings import Budget
from dsbs.serving.answering import NoAnswer
from dsbs.serving.app import App
from dsbs.serving.metrics import Metrics
from dsbs.serving.referee import Referee
from dsbs.serving.traffic import TrafficStore
from dsbs.store import CompletionStore
from dsbs.tasks import TASKS, TableTask


def answer(made: App, count: int = 1) -> dict[str, Any]:
    with TestClient(made.build()) as http:
        for _ in range(count):
            reply = http.post("/predict", json={"input": "My kettle leaks."})
            assert reply.status_code == 200
        return dict(reply.json())


def test_a_sure_student_answers_itself(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=says("repair"))
    assert answer(app(tmp_path, teacher, 0.5)) == {
        "label": "refund",
        "confidence": pytest.approx(1 / (1 + math.exp(-2.3))),
        "source": "student",
    }
    assert teacher.asked == 0


def test_an_unsure_student_leaves_it_to_the_teacher_whose_answer_is_kept(tmp_path: Path) -> None:
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99)
    assert answer(made) == {"label": "repair", "confidence": None, "source": "teacher"}
    with CompletionStore(tmp_path / "served.sqlite", read_only=True) as store:
        [row] = store.rows()
        assert "repair" in row["text"]
    text = made.answerer.metrics.show().decode()
    assert 'dsbs_deferred_total{outcome="teacher"} 1.0' in text
    assert 'dsbs_compared_total{deferred="true",outcome="other"} 1.0' in text


def test_a_prompt_without_a_cue_takes_the_teachers_whole_text(tmp_path: Path) -> None:
    text = "First, unplug it.\n\nThen call us."
    teacher = ScriptedTeacher(says=lambda request: Completion(text, "stop", "llm", 10, 5))
    referee = app(tmp_path, teacher, 0.99).answerer.referee
    assert isinstance(referee, Referee)
    referee.prompt, referee.task = Prompt(name="whole", answer_format="whole"), TableTask(answer_kind="text")

    async def ask() -> Annotation | NoAnswer:
        async with referee.running():
            return await referee.opinion(Example("1", "My kettle leaks."))

    found = asyncio.run(ask())
    assert isinstance(found, Annotation)
    assert found.label == text


def test_the_same_input_is_paid_once_also_after_a_restart(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=says("repair"))
    for _ in range(2):
        assert answer(app(tmp_path, teacher, 0.99), 3)["label"] == "repair"
    assert teacher.asked == 1
    with TestClient(app(tmp_path, teacher, 0.99).build()) as http:
        http.post("/predict", json={"input": "My toaster smokes."})
    with CompletionStore(tmp_path / "served.sqlite", read_only=True) as store:
        assert len({row["id"] for row in store.rows()}) == 2


@pytest.mark.parametrize(
    ("said", "labels"), [(says("repair"), ["repair", "repair"]), (lambda request: down(request), [])]
)
def test_equal_inputs_at_once_are_one_request_which_outlives_its_first_client(
    tmp_path: Path, said: Any, labels: list[str]
) -> None:
    teacher = ScriptedTeacher(says=said, delay=0.05)
    referee = app(tmp_path, teacher, 0.99).answerer.referee
    assert referee is not None

    async def ask() -> list[Any]:
        example = Example("1", "My kettle leaks.", choices=("refund", "repair"))
        async with referee.running():
            clients = [asyncio.create_task(referee.opinion(example)) for _ in range(3)]
            await asyncio.sleep(0.01)
            clients[0].cancel()
            found = await asyncio.gather(*clients[1:])
            await asyncio.sleep(0)
            gone = asyncio.create_task(referee.opinion(Example("2", "My toaster smokes.")))
            await asyncio.sleep(0.01)
            gone.cancel()  # the only client; its answer is paid for, so it is stored all the same
        return found

    found = asyncio.run(ask())
    assert teacher.asked == 2
    assert [one.label for one in found if isinstance(one, Annotation)] == labels
    assert [one.outcome for one in found if isinstance(one, NoAnswer)] == ["unavailable"] * (2 - len(labels))
    with CompletionStore(tmp_path / "served.sqlite", read_only=True) as store:
        assert len(list(store.rows())) == len(labels)


def test_what_cannot_be_stored_is_given_all_the_same_and_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*parts: Any) -> None:
        raise RunError("the disk is full")

    monkeypatch.setattr(CompletionStore, "add", full)
    monkeypatch.setattr(TrafficStore, "compare", full)
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99)
    made.answerer.referee.traffic = TrafficStore(tmp_path / "traffic.sqlite")  # type: ignore[union-attr]
    assert answer(made)["source"] == "teacher"
    assert "the teacher's answer was given and NOT stored: the disk is full" in caplog.text
    assert "a comparison was NOT recorded: the disk is full" in caplog.text


def test_what_came_too_late_counts_as_spent(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=says("repair"), delay=5.0)
    made = app(tmp_path, teacher, 0.99, timeout_s=0.1, budget=Budget(tokens=800))
    assert "budget is used up" in answer(made, 2)["note"]
    assert teacher.asked == 1


def test_a_bound_in_dollars_needs_a_price(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ScriptedTeacher, "rates", lambda self: None)
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99, budget=Budget(usd=1.0))
    with pytest.raises(ConfigError, match="no price is known"):
        answer(made)


def both(made: App) -> Any:
    with TestClient(made.build()) as http:
        return http.post("/predict", json={"input": "My kettle leaks.", "teacher": True, "rationale": True})


@pytest.mark.parametrize("threshold", [0.5, 0.99])
def test_whoever_answers_both_can_be_asked(tmp_path: Path, threshold: float) -> None:
    teacher = ScriptedTeacher(says=says("repair"))
    said = both(app(tmp_path, teacher, threshold)).json()
    assert said["source"] == ("student" if threshold == 0.5 else "teacher")
    assert (said["student"]["label"], said["student"]["rationale"]) == ("refund", "It says My kettle leaks.")
    assert said["teacher"] == {"label": "repair", "rationale": "It is worn."}
    assert teacher.asked == 1


def test_a_teacher_who_cannot_be_asked_is_told(tmp_path: Path) -> None:
    said = both(app(tmp_path, ScriptedTeacher(says=down), 0.5)).json()
    assert said["teacher"] == {"label": None, "rationale": None, "note": "the teacher is not available"}
    assert both(build(Scripted())).status_code == 400


def down(request: Request) -> Completion:
    raise TeacherError("HTTP 503", retryable=True, reason="HTTP 503")


def test_a_busy_teacher_is_asked_no_more_often_than_attempts_say(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=down)  # somebody waits for the answer
    assert answer(app(tmp_path, teacher, 0.99))["source"] == "student"
    assert teacher.asked == 1


@pytest.mark.parametrize(
    ("teacher", "changes", "note"),
    [
        (ScriptedTeacher(says=down), {}, "the teacher is not available"),
        (ScriptedTeacher(says=says("repair"), delay=5.0), {"timeout_s": 0.1}, "did not answer in time"),
        (ScriptedTeacher(says=lambda request: Completion("Hm.", "stop")), {}, "could not be parsed"),
        (ScriptedTeacher(says=says("repair")), {"budget": Budget(requests=0)}, "budget is used up"),
    ],
)
def test_where_the_teacher_fails_the_student_answers(
    tmp_path: Path, teacher: ScriptedTeacher, changes: dict[str, Any], note: str
) -> None:
    found = answer(app(tmp_path, teacher, 0.99, **changes))
    assert found["label"] == "refund"
    assert found["source"] == "student"
    assert note in found["note"]


def test_in_shadow_the_teacher_answers_and_both_are_compared(tmp_path: Path) -> None:
    made = app(tmp_path, ScriptedTeacher(says=says("refund")), 0.0, mode="shadow")
    assert answer(made, 3)["source"] == "teacher"
    assert 'dsbs_compared_total{deferred="false",outcome="same"} 3.0' in made.answerer.metrics.show().decode()


def test_in_shadow_the_deferral_rate_is_the_one_that_deferring_would_have(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dsbs.serving.referee.WINDOW", 3)
    made = app(tmp_path, ScriptedTeacher(says=says("refund")), 0.0, mode="shadow")
    answer(made, 3)
    assert "dsbs_deferral_rate 0.0" in made.answerer.metrics.show().decode()


def test_some_sure_answers_are_compared(tmp_path: Path) -> None:
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.0, compare=1.0)
    assert answer(made, 2)["source"] == "student"
    assert 'dsbs_compared_total{deferred="false",outcome="other"} 2.0' in made.answerer.metrics.show().decode()


def test_drift_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("dsbs.serving.referee.WINDOW", 20)
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99)
    made.answerer.referee.policy = Policy(Calibration(), 0.99, labels={"repair": 1.0})  # type: ignore[union-attr]
    with TestClient(made.build()) as http:
        for number in range(20):
            shown = http.get("/metrics").text
            assert "dsbs_deferral_rate NaN" in shown, f"it was 0 after {number} answers, though all were deferred"
            assert "dsbs_label_shift NaN" in shown
            http.post("/predict", json={"input": "My kettle leaks."})
        assert "100% of labels shifted" in caplog.text
        assert "100% of the last 20 answers were deferred" in caplog.text
        assert "dsbs_deferral_rate 1.0" in http.get("/metrics").text
        made.answerer.referee.replace(made.answerer.referee.policy, made.answerer.referee.task)  # type: ignore[union-attr]
        assert "dsbs_deferral_rate NaN" in http.get("/metrics").text


FEW = Policy(Calibration(), 0.99, 0.6, {"repair": 0.4, "refund": 0.6}, examples=20)


@pytest.mark.parametrize("policy", [FEW, Policy(Calibration(), 0.99, 0.9)])
def test_what_chance_explains_is_no_drift(
    policy: Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Few answers in validation say little of the shares; free ones have none."""
    monkeypatch.setattr("dsbs.serving.referee.WINDOW", 20)
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99)
    made.answerer.referee.policy = policy  # type: ignore[union-attr]
    answer(made, 20)
    assert caplog.text == ""


def test_another_student_starts_without_drift_and_its_task_reads_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dsbs.serving.referee.WINDOW", 20)
    made, other = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99), TASKS["triage"](name="other")
    referee = made.answerer.referee
    assert isinstance(referee, Referee)
    with TestClient(made.build()) as http:
        for number in range(20):
            if number == 19:
                referee.replace(Policy(Calibration(), 0.99, labels={"repair": 1.0}), other)
            http.post("/predict", json={"input": "My kettle leaks."})
    assert caplog.text == ""
    assert referee.task is other


def test_metrics_are_of_one_server() -> None:
    assert Metrics().registry is not Metrics().registry
