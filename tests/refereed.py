"""A server whose student has a teacher behind it, in this process."""

from pathlib import Path
from typing import Any

from scripted import ScriptedTeacher
from serving_client import Scripted, build

from dsbs.core.records import Completion
from dsbs.deferral.calibration import Calibration
from dsbs.deferral.policy import Policy
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.extraction.settings import Budget
from dsbs.serving.app import App
from dsbs.serving.referee import Referee
from dsbs.serving.settings import Deferral

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
        mode,
        Deferral(attempts=1, budget=budget, **changes),
        folder / "served.sqlite",
        made.answerer.metrics,
    )
    made.answerer.referee = referee
    return made
