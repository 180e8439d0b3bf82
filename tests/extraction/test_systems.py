"""A pool of system prompts: each example gets one, the same one every time."""

from collections import Counter
from pathlib import Path

import pytest
from scripted import ScriptedTeacher, correct, count_prompt, job_for, load_annotations

from dsbs.core.records import Annotation, Completion, Example, Request
from dsbs.extraction.annotations import PAGE
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.prompts import Prompt
from dsbs.objectives import RationaleThenLabel

POOL = ["", "Be brief.", "Explain every step."]


def says(request: Request) -> str | Completion:
    """Be wrong where it has to be brief."""
    return "So the answer is 1." if "brief" in request.instruction else correct(request)


def test_each_example_gets_one_by_its_id_and_the_prompts_are_counted(tmp_path: Path) -> None:
    teacher = ScriptedTeacher(says=says)
    job = job_for(tmp_path, teacher, size=60, prompt=count_prompt(systems=POOL))
    systems = run_extraction(job)["splits"]["train"]["systems"]
    annotations = load_annotations(tmp_path, "train")
    drawn = Counter(one.system for one in annotations.values())
    assert min(drawn[text] for text in POOL) > 10
    assert {one["system"]: one["examples"] for one in systems} == drawn
    assert {one["system"]: one["teacher_accuracy"] for one in systems} == {"": 1.0, POOL[1]: 0.0, POOL[2]: 1.0}
    assert {one["system"]: one["parsed"] for one in systems} == drawn
    assert "By system prompt" in (tmp_path / PAGE).read_text()
    run_extraction(job_for(tmp_path, teacher, size=60, prompt=count_prompt(systems=POOL)))
    assert teacher.asked == 60


def test_the_system_prompt_stands_before_the_instruction_and_belongs_to_the_request() -> None:
    prompt = count_prompt(systems=["Be brief."], instruction="One of: {choices}.")
    example = Example("1", "x", choices=("yes", "no"))
    assert prompt.request(example, "train").messages()[0]["content"] == "Be brief.\nOne of: yes, no."
    assert count_prompt(systems=["Be brief."]).request(example, "train").instruction == "Be brief."
    assert prompt.identity() != count_prompt(instruction="One of: {choices}.").identity()
    assert "systems" not in count_prompt().identity()
    assert prompt.request(example, "train", 0).instruction == prompt.request(example, "train", 3).instruction


def test_a_duplicate_text_is_a_fault() -> None:
    assert any("duplicate" in fault for fault in Prompt("p", "{cue}", systems=["a", "a"]).faults())


@pytest.mark.parametrize(
    ("reads", "system", "read"), [(False, "Be brief.", None), (True, "Be brief.", "Be brief.\n\nx"), (True, "", None)]
)
def test_the_student_reads_the_system_prompt_on_request(reads: bool, system: str, read: str | None) -> None:
    objective = RationaleThenLabel(name="r", reads_systems=reads)
    [target] = objective.targets(Example("1", "x", "no"), Annotation("1", "no", "Hot.", system=system))
    assert (target.text, target.input) == ("Hot. So the answer is no", read)
    assert ("system" in objective.reads) is reads
    assert ("reads_systems" in objective.identity()) is reads
