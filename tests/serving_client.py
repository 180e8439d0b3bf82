"""A server with a scripted student, in this process: no weights, no socket."""

import contextlib
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import uvicorn
from starlette.testclient import TestClient

from dsbs.core.records import Example, Prediction
from dsbs.inference.checkpoint import Remembered
from dsbs.objectives import Finetune, StepByStep
from dsbs.serving.answering import Answerer, Referee
from dsbs.serving.app import App
from dsbs.serving.metrics import Metrics
from dsbs.serving.service import Service, Student
from dsbs.serving.settings import ServeConfig
from dsbs.tasks import TASKS


class Scripted:
    """Answers with the first choice; `slow` sleeps, `broken` fails, `endless` is too long; counts what it was asked."""

    def __init__(self, seconds: float = 0.0, label: str = "refund") -> None:
        self.seconds, self.label = seconds, label
        self.batches: list[int] = []
        self.threads: set[int] = set()

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        self.batches.append(len(examples))
        self.threads.add(threading.get_ident())
        time.sleep(self.seconds)
        if any("broken" in example.input for example in examples):
            raise ZeroDivisionError("secret text of a request")
        scores = {"refund": -0.1, "repair": -2.4}
        return [Prediction(one.id, None, self.label, score=-0.1, scores=scores, confidence=0.9) for one in examples]

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        return [replace(one, rationale=f"It says {of.input}") for one, of in zip(predictions, examples, strict=True)]

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        return {"inputs": len(examples), "inputs_cut": sum("endless" in example.input for example in examples)}


def student(predictor: Any, rationales: bool = True) -> Student:
    """Return a scripted student of the built-in task."""
    task = TASKS["triage"](name="triage")
    remembered = Remembered(choices=["refund", "repair"])
    objective = StepByStep(name="step_by_step") if rationales else Finetune(name="finetune")
    return Student(predictor, remembered, task, objective, "triage-test")


def build(
    predictor: Any = None,
    config: ServeConfig | None = None,
    token: str | None = None,
    rationales: bool = True,
    referee: Referee | None = None,
) -> App:
    """Return an app over a scripted student."""
    config = config or ServeConfig()
    service = Service(student(predictor or Scripted(), rationales))
    return App(Answerer(service, config.limits, Metrics(), referee), config, token)


def client(*parts: Any, **named: Any) -> TestClient:
    """Return a client of such an app; to be used with ``with``."""
    return TestClient(build(*parts, **named).build(), raise_server_exceptions=False)


@contextlib.contextmanager
def serve_in_thread(app: App) -> Iterator[str]:
    """Serve an app on a free loopback port, and give its address."""
    server = uvicorn.Server(uvicorn.Config(app.build(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
