"""Every path of ``experiment=paper/*`` on shrunken data and a student of one layer: extract, train, measure."""

import json
from pathlib import Path
from typing import Any

import pytest
from row_files import to_lines

from dsbs.cli.composition import compose
from dsbs.cli.config import register_schemas, to_object
from dsbs.extract import build_job
from dsbs.extraction.engine import run_extraction
from dsbs.train import make_plan
from dsbs.training.plan import execute

LABELS = ("entailment", "neutral", "contradiction")
TINY = [
    "student=t5_scratch", "student.vocab_size=300", "student.d_model=16", "student.d_kv=8", "student.d_ff=16",
    "student.num_heads=2", "student.num_layers=1", "student.max_input_tokens=1024", "student.max_new_tokens=8",
    "training.max_steps=2", "training.eval_steps=1", "training.per_device_train_batch_size=4", "tracking.mode=disabled",
    "explain=0",
]  # fmt: skip


def nli(number: int) -> tuple[dict[str, Any], str]:
    row = {"premise": f"Number {number} runs.", "hypothesis": "It moves.", "label": number % 3}
    return row, f"To run is to move. So the answer is {LABELS[number % 3]}.\n\nPremise: Next."


def esnli(number: int) -> tuple[dict[str, Any], str]:
    row, text = nli(number)
    return row | dict.fromkeys(("explanation_1", "explanation_2", "explanation_3"), "why"), text


def anli(number: int) -> tuple[dict[str, Any], str]:
    row, text = nli(number)
    return row | {"uid": f"u{number}", "reason": "why"}, text


def cqa(number: int) -> tuple[dict[str, Any], str]:
    choices = ["bank", "park", "river", "bridge", "beach"]
    row = {"id": f"q{number}", "question": f"Where is number {number}?", "choices": choices, "answer": "park"}
    return row, "It must be green. So the answer is (b) park.\n\nQ: Next?"


def svamp(number: int) -> tuple[dict[str, Any], str]:
    row = {"input": f"Tom had {number} apples and ate 1.\nHow many are left?", "label": f"( {number}.0 - 1.0 )"}
    return row, f"{number} less 1. The answer is ({number} - 1).\n\nQ: Next?"


ROWS = {"esnli": esnli, "anli1": anli, "cqa": cqa, "svamp": svamp}
VALIDATED = ("esnli", "anli1")  # the others have a part of train cut off


def release(folder: Path, name: str) -> list[str]:
    """Write data and completions in the layout of the paper's release; the first completion cannot be read."""
    splits = {"train": 40, "test": 6} | ({"valid": 6} if name in VALIDATED else {})
    (folder / "llm").mkdir(parents=True)
    for place, (split, size) in enumerate(splits.items()):
        rows, texts = zip(*(ROWS[name](100 * place + number) for number in range(size)), strict=True)
        lines = to_lines(rows)
        (folder / f"{name}_{split}.json").write_text(lines, encoding="utf-8")
        texts = ("I do not know", *texts[1:])
        (folder / "llm" / f"{split}_CoT_0.json").write_text(json.dumps(texts), encoding="utf-8")
    return [f"task.path={folder}", "teacher=recorded", f"teacher.path={folder / 'llm'}", f"output_dir={folder / 'out'}"]


@pytest.mark.parametrize("objective", ["step_by_step", "finetune"])
@pytest.mark.parametrize("name", ROWS)
def test_the_papers_experiments_run(tmp_path: Path, name: str, objective: str) -> None:
    register_schemas()
    words = release(tmp_path / name, name)
    if objective == "step_by_step":
        summary = run_extraction(build_job(to_object(compose("extract", [f"task={name}", *words]))))
        assert summary["splits"]["train"]["parsed"] == 39
        assert summary["splits"]["test"]["teacher_accuracy"] == pytest.approx(5 / 6)
    typed = [f"experiment=paper/{name}", f"objective={objective}", "data_fraction=1/2", *words, *TINY]
    settings = to_object(compose("train", typed))
    plan = make_plan(settings, typed)
    metrics = execute(plan, "")
    cut = 0 if name in VALIDATED else 4
    assert metrics["train_examples"] == (40 - cut) // 2
    assert metrics["validation_examples"] == (6 if name in VALIDATED else cut) // 2
    assert metrics["test"]["examples"] == metrics["test_last"]["examples"] == 6
    assert (metrics["steps"], plan.recipe.decoding) == (2, "generate")
    assert metrics["counts"]["label_only"] <= 1  # where the first example is among those drawn
    assert metrics["overlap"]["examples"] == 6
    assert (metrics["target_tokens"] > metrics["label_tokens"]) == (objective == "step_by_step")
