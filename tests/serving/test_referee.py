"""What the student is unsure of is the teacher's; where the teacher fails, the student answers and says so."""

import math
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedTeacher
from serving_client import Scripted, build
from starlette.testclient import TestClient

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.deferral.calibration import Calibration
from dsbs.deferral.policy import Policy
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.extraction.settings import Budget, ExtractionSettings
from dsbs.serving.app import App
from dsbs.serving.metrics import Metrics
from dsbs.serving.referee import Referee, Settings
from dsbs.store import CompletionStore

PROMPT = Prompt(name="triage", exemplars=[Exemplar("I bought a kettle. It leaks.", "It wears out.", "refund")])


def says(label: str) -> Any:
    return lambda request: Completion(f"It is worn. So the answer is {label}.", "stop", "llm", 10, 5)


def app(folder: Path, teacher: ScriptedTeacher, threshold: float, **changes: Any) -> App:
    """Return a server whose student is 91% sure of 'refund'."""
    mode, budget = changes.pop("mode", "defer"), changes.pop("budget", Budget())
    made = build(Scripted())
    referee = Referee(
        Policy(Calibration(), threshold, labels={"refund": 1.0}),
        teacher,
        made.answerer.service.student.task,
        PROMPT,
        Settings(mode, **changes),
        ExtractionSettings(attempts=1, budget=budget),
        folder / "served.sqlite",
        made.answerer.metrics,
    )
    made.answerer.referee = referee
    return made


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
    assert 'dsbs_compared_total{outcome="other"} 1.0' in text


def down(request: Request) -> Completion:
    raise TeacherError("HTTP 503", retryable=True)


@pytest.mark.parametrize(
    ("teacher", "changes", "note"),
    [
        (ScriptedTeacher(says=down), {}, "the teacher is not available"),
        (ScriptedTeacher(says=says("repair"), delay=5.0), {"timeout_s": 0.1}, "did not answer in time"),
        (ScriptedTeacher(says=lambda request: Completion("Hm.", "stop")), {}, "could not be read"),
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
    assert 'dsbs_compared_total{outcome="same"} 3.0' in made.answerer.metrics.show().decode()


def test_some_sure_answers_are_compared(tmp_path: Path) -> None:
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.0, compare=1.0)
    assert answer(made, 2)["source"] == "student"
    assert 'dsbs_compared_total{outcome="other"} 2.0' in made.answerer.metrics.show().decode()


def test_drift_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr("dsbs.serving.referee.WINDOW", 3)
    made = app(tmp_path, ScriptedTeacher(says=says("repair")), 0.99)
    made.answerer.referee.policy = Policy(Calibration(), 0.99, labels={"repair": 1.0})  # type: ignore[union-attr]
    answer(made, 3)
    assert "100% of labels moved" in caplog.text
    assert "100% of the last 3 answers were deferred" in caplog.text


def test_metrics_are_of_one_server() -> None:
    assert Metrics().registry is not Metrics().registry
