"""Context distillation: the teacher reads a prompt that the student does not."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from objectives.steps import BUILDS, assert_same_however_cut, loss_of, rows_of, some_data
from objectives.test_teacher import plainly
from rich.console import Console
from tiny import causal_folder
from trained import small_triage

from dsbs.cli.config import CompareConfig
from dsbs.compare import compare_with_base, plan_all
from dsbs.core.errors import DataError
from dsbs.objectives import Context, SoftTargets
from dsbs.students import Causal
from dsbs.training.in_context import load_texts, predict_plainly
from dsbs.training.plan import execute
from dsbs.training.settings import Training

CPU = torch.device("cpu")
SMALL = ["task.products=12", "task.complaints=12", "task.train=64", "task.validation=8", "task.test=8"]
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


def test_a_prompt_that_the_answer_would_stick_to_is_named(caplog: pytest.LogCaptureFixture) -> None:
    glued = replace(context(BUILDS["llama"]()), teacher_input="{input}\\nAnswer:")
    assert not caplog.messages
    glued.prepare(BUILDS["t5"](), CPU)  # the decoder of another network begins anew
    assert not caplog.messages
    glued.prepare(BUILDS["llama"](), CPU)
    [message] = caplog.messages
    assert "without a space. End it with a line break" in message


def test_however_a_step_is_cut_and_padded_it_is_the_same() -> None:
    student = BUILDS["llama"]()
    objective = context(student, soft_weight=0.7)
    assert_same_however_cut(student, objective, rows_of(student, objective, some_data()))


def test_another_teacher_is_checked_before_it_is_loaded_and_the_student_is_not(tmp_path: Path) -> None:
    place = causal_folder(tmp_path / "llama")
    context(BUILDS["llama"](), teacher_model=str(place)).check(Causal(name="mine", model=str(place)))
    Context(name="context", teacher_input=PROMPT).check(Causal(name="mine", model="./nowhere"))


def test_the_student_itself_is_no_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    causal_folder(tmp_path / "student")
    monkeypatch.chdir(tmp_path)
    assert Context(name="context", teacher_input=PROMPT).identity()["teacher_model"] == "student"
    [fault] = SoftTargets(name="soft_targets", source="ranking", teacher_model="student").faults()
    assert "source=ranking needs another model" in fault


def test_a_line_break_typed_as_backslash_n_is_one() -> None:
    typed, broken = (Context(name="context", teacher_input=text) for text in (r"Decide:\n{input}", "Decide:\n{input}"))
    assert typed.word("It leaks.", None) == "Decide:\nIt leaks."
    assert typed.identity() == broken.identity()


def test_without_a_prompt_there_is_no_context() -> None:
    [fault] = Context(name="context").faults()
    assert "add objective.teacher_input=" in fault
    [fault] = Context(name="context", teacher_input=PROMPT, source="votes").faults()
    assert "objective.source=votes" in fault


def test_the_base_is_measured_without_the_prompt_and_with_it(tmp_path: Path) -> None:
    place = causal_folder(tmp_path / "llama")
    (tmp_path / "other.txt").write_text("It rains on Sunday.\n\nA sofa is furniture.\n")
    config = CompareConfig(methods=["causal:context"], output_dir=str(tmp_path), other=str(tmp_path / "other.txt"))
    config.train = [
        f"student.model={place}",
        "student.max_new_tokens=8",
        f"objective.teacher_input='{PROMPT}'",
        "training.max_steps=2",
        "training.eval_steps=1",
        "training.warmup_steps=0",
        "training.learning_rate=0.01",
    ]
    typed = [*SMALL, f"output_dir={tmp_path}"]
    [candidate] = plan_all(config, typed)
    assert candidate.fault is None
    assert candidate.plan is not None
    assert candidate.run is not None
    candidate.finished = execute(candidate.plan, "{}")
    rows = compare_with_base(config, [candidate], tmp_path / "compare", Console())
    assert [row["who"] for row in rows] == ["base", "base in context", "distilled"]
    assert all(0 <= row["score"] <= 1 for row in rows)
    before, _, after = (row["other_perplexity"] for row in rows)
    assert before != after
    assert min(before, after) > 1
    assert compare_with_base(config, [candidate], tmp_path / "compare", Console()) == rows
    [kept] = (tmp_path / "compare" / "in_context").glob("*.json")
    kept.write_text("[")
    with pytest.raises(DataError, match="not valid JSON"):
        compare_with_base(config, [candidate], tmp_path / "compare", Console())
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(DataError, match="one per line"):
        load_texts(str(tmp_path / "empty.txt"))


def test_a_model_as_it_comes_is_asked_in_the_wording(tmp_path: Path) -> None:
    """The base ranks the choices behind the prompt as the teacher of ``source=ranking`` does."""
    settings = context(BUILDS["llama"]())
    recipe: Any = SimpleNamespace(
        task=small_triage(), decoding="auto", student=Causal(name="tiny", model="x"), training=Training()
    )
    asked = list(recipe.task.examples("test"))[:3]
    model = settings.teacher.student
    found = predict_plainly(recipe, model, asked, settings)
    assert [one.id for one in found] == [one.id for one in asked]
    assert all(one.scores is not None and one.scores.keys() == {*(asked[0].choices or ())} for one in found)
    cut = predict_plainly(recipe, model, asked, replace(settings, teacher_max_input_tokens=8))
    assert all(one.scores != two.scores for one, two in zip(found, cut, strict=True))
