"""The gradient of one optimiser step, however the step is cut into batches; can run in a process of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tiny import annotated, tiny_t5
from torch.distributed.tensor import DTensor
from transformers import TrainerCallback

from dsbs.objectives import StepByStep
from dsbs.students.collator import tokenize
from dsbs.students.memory import checkpoint_activations
from dsbs.students.model import StudentModel
from dsbs.training.arguments import build_arguments
from dsbs.training.checkpointing import last_checkpoint
from dsbs.training.settings import Training
from dsbs.training.trainer import DistillationTrainer

# Missing unevenly: the first micro-batches in the order of the data are full, the last ones empty.
WITH_RATIONALE = {*range(11), 13, 20}


# How each of two processes cuts its step, and what the step is; the last ones end an epoch, with a smaller batch.
EPOCHS = {"remainder": 44, "nothing_for_one": 33}
CUT_IN_TWO: dict[str, tuple[tuple[Any, ...], dict[str, Any]]] = {
    "plain": ((16, 1), {}),
    "accumulated": ((8, 2, "target", 100), {}),
    **{name: ((16, 1), {"examples": examples, "steps": 2}) for name, examples in EPOCHS.items()},
    "accumulated_remainder": ((8, 2, "target", 100), {"examples": EPOCHS["remainder"], "steps": 2}),
}


class Keep(TrainerCallback):
    """Keeps the gradients of the step."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def on_pre_optimizer_step(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        named = getattr(model, "module", model).named_parameters()
        found = {name: weight.grad for name, weight in named if weight.grad is not None}
        self.gradients = {
            name: grad.full_tensor() if isinstance(grad, DTensor) else grad.clone() for name, grad in found.items()
        }


def step(
    folder: Path, batch: int, accumulation: int, prefix_on: str = "target", tokens_per_pass: int | None = None,
    patch: Callable[[DistillationTrainer], None] = lambda trainer: None, checkpointing: bool = False,
    build: Callable[[str], StudentModel] = tiny_t5, with_rationale: set[int] = WITH_RATIONALE, bf16: bool = False,
    examples: int = 32, steps: int = 1,
) -> dict[str, Any]:  # fmt: skip
    """Take one step over 32 examples, or several; return gradients and loss of the last one, and the target tokens."""
    student = build(prefix_on)
    if checkpointing:
        checkpoint_activations(student)
    objective = StepByStep(name="step_by_step", alpha=0.3, prefix_on=prefix_on)
    data = annotated(examples, with_rationale)
    targets = [objective.targets(example, annotation) for example, annotation in data]
    rows, _ = tokenize(student, [example.input for example, _ in data], targets, 64, 64)
    settings = Training(
        max_steps=steps, eval_steps=steps, logging_steps=1, warmup_steps=0, max_grad_norm=0.0,
        per_device_train_batch_size=batch, gradient_accumulation_steps=accumulation, bf16=bf16,
    )  # fmt: skip
    keep = Keep()
    arguments = build_arguments(settings, 0, folder)
    trainer = DistillationTrainer(
        student, objective, rows, lambda model: {"accuracy": 0.0}, arguments, [keep], tokens_per_pass
    )
    patch(trainer)
    trainer.train()
    losses = [entry for entry in trainer.state.log_history if "loss" in entry][-1]
    return {"gradients": keep.gradients, "tokens": int(trainer.effort.target_tokens), "losses": losses, "rows": rows,
            "tokens_per_pass": trainer.tokens_per_pass}  # fmt: skip


def train(folder: Path, batch: int) -> list[float]:
    """Train for four steps, or go on from the last checkpoint in the folder; return the loss of each step."""
    student, objective, data = tiny_t5(), StepByStep(name="step_by_step"), annotated(72, WITH_RATIONALE)
    targets = [objective.targets(example, annotation) for example, annotation in data]
    rows, _ = tokenize(student, [example.input for example, _ in data], targets, 64, 64)
    settings = Training(
        max_steps=4, eval_steps=1, logging_steps=1, warmup_steps=0, per_device_train_batch_size=batch,
        save_total_limit=9,
    )  # fmt: skip
    arguments = build_arguments(settings, 0, folder)
    trainer = DistillationTrainer(student, objective, rows, lambda model: {"accuracy": 0.0}, arguments, [])
    trainer.train(resume_from_checkpoint=last_checkpoint(folder))
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def step_of_one_of_two(rank: int, folder: Path) -> None:
    """Take the step as one of two processes; the first writes what came."""
    for name, (arguments, named) in CUT_IN_TWO.items():
        result = step(folder / name, *arguments, **named)
        if rank == 0:
            torch.save({key: result[key] for key in ("gradients", "tokens", "losses")}, folder / f"{name}.pt")
    for name in ("begun by two", "begun by one"):
        losses = train(folder / name, 16)
        if rank == 0:
            torch.save(losses, folder / f"{name}.pt")
