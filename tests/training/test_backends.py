"""What a training sets up around the Trainer."""

from pathlib import Path

import torch
from trained import train_tiny

from dsbs.training.settings import Training


def test_a_training_flushes_numbers_that_a_cpu_is_slow_with(tmp_path: Path) -> None:
    torch.set_flush_denormal(False)
    train_tiny(tmp_path, objective="finetune", training=Training(max_steps=1, eval_steps=1), test=False)
    assert not torch.full((1,), 1e-39).mul(1.0).any()
