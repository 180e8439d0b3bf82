"""Whole answers: from a file of texts to a student that writes them, scored by the task's metric."""

import json
from pathlib import Path

from row_files import write_rows
from trained import TINY, train_tiny

from dsbs.core.records import Example
from dsbs.objectives import Respond
from dsbs.tasks import TableTask
from dsbs.training.settings import TrainSettings


def test_it_learns_the_teachers_text_and_asks_for_it() -> None:
    text = "First,\n\nthen."
    [target] = Respond().targets(Example("1", "Write.", text), None)
    assert (target.kind, target.text) == ("label", text)
    [fault] = TrainSettings(objective=Respond(name="respond")).faults()
    assert "labels=teacher" in fault


def test_texts_are_trained_on_and_scored_by_the_tasks_metric(tmp_path: Path) -> None:
    for split, count in (("train", 30), ("test", 6)):
        rows = [{"input": f"say {number}", "label": f"one {number}\ntwo {number}"} for number in range(count)]
        write_rows(tmp_path / f"{split}.jsonl", rows)
    task = TableTask(name="texts", path=str(tmp_path), answer_kind="text", metric="rouge_l")
    run = train_tiny(tmp_path, task=task, objective=Respond(name="respond", teacher_labels_only=False), student=TINY)
    metrics = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    assert metrics["metric"] == "rouge_l"
    assert 0 <= metrics["test"]["rouge_l"] <= 1
    assert metrics["test"]["perplexity"] > 1
    assert metrics["test"]["perplexity_tokens"] > 6
