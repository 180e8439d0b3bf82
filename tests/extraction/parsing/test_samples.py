"""Self-consistency: several completions of one question, and a vote."""

import json
from collections import Counter
from pathlib import Path

import pytest
from fault_server import FaultServer, serve
from scripted import ScriptedTeacher, count_prompt, job_for, load_annotations

from dsbs.core.records import Request
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.filters import Filter
from dsbs.teachers.openai import OpenAITeacher


def two_of_three(request: Request) -> str:
    """Answer 7 twice and 8 once."""
    answer = 8 if request.sample == 0 else 7
    return f"Sample {request.sample} says so. So the answer is {answer}."


def test_the_majority_is_the_label_and_its_rationale_argues_for_it(tmp_path: Path) -> None:
    run_extraction(job_for(tmp_path, ScriptedTeacher(says=two_of_three), size=3, settings={"samples": 3}))
    annotation = load_annotations(tmp_path, "train")["train-1"]
    assert (annotation.label, annotation.rationale) == ("7", "Sample 1 says so.")
    assert annotation.agreement == pytest.approx(2 / 3)


def test_more_samples_ask_for_the_rest_alone(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=two_of_three)
    run_extraction(job_for(tmp_path, teacher, size=3))
    summary = run_extraction(job_for(tmp_path, teacher, size=3, settings={"samples": 3}))["splits"]["train"]
    assert (summary["requests"], summary["cached"], teacher.asked) == (6, 3, 9)


def test_a_filter_can_ask_for_agreement(tmp_path: Path) -> None:
    job = job_for(
        tmp_path, ScriptedTeacher(says=two_of_three), settings={"samples": 3}, filter=Filter(min_agreement=0.7)
    )
    assert run_extraction(job)["splits"]["train"]["statuses"] == {"filter: min_agreement": 10}


@pytest.mark.parametrize(("knows", "requests"), [(True, 20), (None, 61), (False, 61)])
def test_samples_come_together_where_the_endpoint_can(tmp_path: Path, knows: bool | None, requests: int) -> None:
    teacher = OpenAITeacher(name="openai", model="m", temperature=1.0)
    with serve(FaultServer(knows_n=knows)) as server:
        teacher.base_url = server.url
        job = job_for(tmp_path, teacher, size=20, settings={"samples": 3, "concurrency": 1})
        summary = run_extraction(job)["splits"]["train"]
    assert server.requests in (requests, requests - 1)
    assert (summary["requests"], summary["parsed"], summary["completion_tokens"]) == (60, 20, 600)
    assert Counter(one.agreement for one in load_annotations(tmp_path, "train").values()) == {1.0: 20}


def test_json_answers_are_read(tmp_path: Path) -> None:
    says = lambda question: json.dumps({"rationale": "Counted.", "answer": str(len(question))})  # noqa: E731
    teacher = OpenAITeacher(name="openai", model="m")
    with serve(FaultServer(answer=says)) as server:
        teacher.base_url = server.url
        job = job_for(tmp_path, teacher, prompt=count_prompt(answer_format="json"))
        assert run_extraction(job)["splits"]["train"]["teacher_accuracy"] == 1.0
    assert load_annotations(tmp_path, "train")["train-1"].rationale == "Counted."
