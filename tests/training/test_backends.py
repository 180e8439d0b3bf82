"""What a training sets up around the Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from row_files import write_rows
from trained import train_tiny

from dsbs.tasks import TASKS
from dsbs.training.settings import Training
from dsbs.training.trainer import LIKELIHOOD, DistillationTrainer


def keeps_denormals() -> bool:
    return bool(torch.full((1,), 1e-39).mul(1.0).any())


def test_a_training_alone_flushes_numbers_that_a_cpu_is_slow_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, train = [], DistillationTrainer.train

    def look(trainer: DistillationTrainer, **options: Any) -> Any:
        kept.append(keeps_denormals())
        return train(trainer, **options)

    monkeypatch.setattr(DistillationTrainer, "train", look)
    train_tiny(tmp_path, objective="finetune", training=Training(max_steps=1, eval_steps=1), test=False)
    assert kept == [False]
    assert keeps_denormals()


def test_of_texts_that_are_never_equal_it_is_known_how_probable_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainers, train = [], DistillationTrainer.train

    def look(trainer: DistillationTrainer, **options: Any) -> Any:
        trainers.append(trainer)
        return train(trainer, **options)

    monkeypatch.setattr(DistillationTrainer, "train", look)
    rows = [{"input": f"note {n}", "label": f"The thing is {n}.\nIt is good, and so is {n + 1}."} for n in range(40)]
    data = write_rows(tmp_path / "texts.jsonl", rows)
    task = TASKS["table"](name="texts", path=str(data), answer_kind="text", test_share=0.2)  # type: ignore[call-arg]
    train_tiny(tmp_path, task, "finetune", training=Training(max_steps=4, eval_steps=2, warmup_steps=0), test=False)
    found = [
        (one["eval_accuracy"], one[f"eval_{LIKELIHOOD}"])
        for one in trainers[0].state.log_history
        if "eval_accuracy" in one
    ]
    assert [score for score, _ in found] == [0.0, 0.0]
    assert found[0][1] < found[1][1] < 0
    assert trainers[0].account()["best_step"] == 4
