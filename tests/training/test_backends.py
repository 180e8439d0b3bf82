"""What a training sets up around the Trainer."""

from pathlib import Path
from typing import Any

import pytest
import torch
from trained import train_tiny

from dsbs.training.settings import Training
from dsbs.training.trainer import DistillationTrainer


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
