"""What one of two processes does that share a student by FSDP, on a CPU; runs in a process of its own."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradients
import torch
from accelerate import PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import DistributedType
from tiny import byte_tokenizer, causal_model
from torch.distributed.fsdp import FSDPModule
from trained import train_tiny

from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.lora import Lora
from dsbs.students.model import StudentModel
from dsbs.training.trainer import DistillationTrainer


def llama(prefix_on: str) -> StudentModel:
    """Return a decoder of two layers with LoRA."""
    tokenizer = byte_tokenizer()
    student = DecoderOnlyModel(causal_model("llama", len(tokenizer)), tokenizer, prefix_on)
    return Lora(r=2).apply(student)


# How each of the two cuts its step, and what the step is.
STEPS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "plain": ({"batch": 16, "accumulation": 1}, {}),
    "in_passes": ({"batch": 8, "accumulation": 2, "tokens_per_pass": 100}, {}),
    "a_rationale_in_one_of_them": (
        {"batch": 16, "accumulation": 1},
        {"prefix_on": "input", "with_rationale": {0}},  # it has an encoder pass more
    ),
    "checkpointing": ({"batch": 16, "accumulation": 1, "checkpointing": True}, {}),
    "decoder_only": ({"batch": 16, "accumulation": 1}, {"build": llama}),
    "bf16": ({"batch": 16, "accumulation": 1}, {"bf16": True}),
}


def shard_on_cpu() -> None:
    """Have accelerate use FSDP on a CPU. Torch does that, accelerate asks for accelerators."""
    begin: Callable[..., None] = AcceleratorState.__init__

    def pretend(self: AcceleratorState, *arguments: Any, **named: Any) -> None:
        if not AcceleratorState._shared_state:
            PartialState(cpu=True)
            PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
        begin(self, *arguments, **named)

    AcceleratorState.__init__ = pretend  # type: ignore[method-assign]


def work(rank: int, folder: Path) -> None:
    """Take optimiser steps and write what came; train a student, and once more from its first checkpoint."""
    os.environ |= {
        "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    }  # fmt: skip
    shard_on_cpu()
    for name, (cut, step) in STEPS.items():
        trainers: list[DistillationTrainer] = []
        result = gradients.step(folder / name, **cut, **step, patch=trainers.append)
        held = [weight.to_local().numel() for weight in trainers[0].model.parameters()]
        layers = [type(module).__name__ for module in trainers[0].model.modules() if isinstance(module, FSDPModule)]
        if rank == 0:
            kept = {key: result[key] for key in ("gradients", "tokens", "losses")}
            policy = trainers[0].accelerator.state.fsdp_plugin.mixed_precision_policy
            dtypes = [policy.param_dtype, policy.reduce_dtype] if policy else []
            torch.save({**kept, "held": sum(held), "layers": layers, "dtypes": dtypes}, folder / f"{name}.pt")
    run = train_tiny(folder)
    if rank == 0:
        shutil.copytree(run, folder / "uninterrupted")
        shutil.rmtree(run / "checkpoints" / "checkpoint-4")
        shutil.rmtree(run / "checkpoint")
        (run / "metrics.json").unlink()
    train_tiny(folder)
