"""Context distillation: the teacher reads a prompt that the student does not."""

from pathlib import Path

import pytest
import torch
from objectives.steps import BUILDS, assert_same_however_cut, loss_of, rows_of, some_data
from objectives.test_teacher import plainly
from tiny import causal_folder

from dsbs.objectives import Context
from dsbs.students import Causal

CPU = torch.device("cpu")
PROMPT = "Answer in one word.\n{input}\nAnswer:\n"


def context(student: object, **settings: object) -> Context:
    objective = Context(name="context", teacher_input=PROMPT, teacher_bf16=False, **settings)  # type: ignore[arg-type]
    assert objective.faults() == []
    objective.prepare(student, CPU)  # type: ignore[arg-type]
    return objective


@pytest.mark.parametrize("kind", ["t5", "llama"])
@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_the_student_before_its_training_reads_the_prompt_and_the_student_the_input(kind: str, prefix_on: str) -> None:
    student = BUILDS[kind](prefix_on).eval()
    objective = context(student)
    [row] = rows_of(student, objective, some_data(1))
    texts = {one: student.tokenizer.decode(row.inputs[name]) for one, name, _, _ in row.targets}
    assert "Answer" in texts["teacher label"]
    assert "Answer" not in texts["label"]
    assert "label" not in texts["teacher label"]  # it knows no task prefixes
    _, terms = loss_of(student.requires_grad_(False), objective, some_data())
    total, tokens = plainly(student, objective)
    assert terms["soft"] == pytest.approx(total / tokens, rel=1e-3)


def test_the_teacher_stays_as_it_was_while_the_student_learns() -> None:
    student = BUILDS["llama"]()
    objective = context(student)
    before = [weight.clone() for weight in objective.teacher.student.parameters()]
    loss, _ = loss_of(student, objective, some_data())
    loss.backward()
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    for one, two in zip(objective.teacher.student.parameters(), before, strict=True):
        assert torch.equal(one, two)
    assert loss_of(student, objective, some_data())[0].item() < loss.item()


def test_however_a_step_is_cut_and_padded_it_is_the_same() -> None:
    student = BUILDS["llama"]()
    objective = context(student, soft_weight=0.7)
    assert_same_however_cut(student, objective, rows_of(student, objective, some_data()))


def test_another_teacher_is_checked_before_it_is_loaded_and_the_student_is_not(tmp_path: Path) -> None:
    place = causal_folder(tmp_path / "llama")
    context(BUILDS["llama"](), teacher_model=str(place)).check(Causal(name="mine", model=str(place)))
    Context(name="context", teacher_input=PROMPT).check(Causal(name="mine", model="./nowhere"))


def test_without_a_prompt_there_is_no_context() -> None:
    [fault] = Context(name="context").faults()
    assert "add objective.teacher_input=" in fault
    [fault] = Context(name="context", teacher_input=PROMPT, source="votes").faults()
    assert "objective.source=votes" in fault
