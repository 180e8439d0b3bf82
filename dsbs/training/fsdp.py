"""A student sharded over processes (FSDP 2): each keeps a part of its weights, gradients and optimizer state.

``torch.distributed.checkpoint.state_dict`` could gather too, but keys the optimizer's state by parameter names; here it
keeps the numbers of ``optimizer.pt`` without FSDP, so that a checkpoint resumes with and without it.
"""

import copy
import dataclasses
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME

from dsbs.core.distributed import is_main
from dsbs.core.errors import ConfigError
from dsbs.students.collator import Row
from dsbs.students.loading import load_weights
from dsbs.students.model import StudentModel
from dsbs.students.tensors import IGNORED
from dsbs.training.checkpointing import best_checkpoint
from dsbs.training.launching import wants_fsdp
from dsbs.training.microbatches import PassTrainer

logger = logging.getLogger(__name__)


def prepare_sharding() -> None:
    """Set the environment variables of accelerate's FSDP; call it before a student is built."""
    # Each process builds the whole student: with empty weights the tokens of task prefixes could not be initialized.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    # By default accelerate would shard the weights but gather them all at once.
    os.environ.setdefault("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")


class ShardingTrainer(PassTrainer):
    """Trains a replicated or sharded student; the checkpoints are the same either way.

    Attributes:
        student: the whole student in every process, which is evaluated, saved and loaded. With FSDP a sharded copy is
            trained, ``self.model``.
    """

    model: Any
    optimizer: Any
    lr_scheduler: Any

    def __init__(self, student: StudentModel, **arguments: Any) -> None:
        super().__init__(model=student, **arguments)
        self.student = student
        if self.is_fsdp_enabled:
            check_layers(student, os.environ.get("FSDP_TRANSFORMER_CLS_TO_WRAP", ""))
            sum_in_fp32(self.accelerator.state.fsdp_plugin)
            self.model = self.model_wrapped = copy.deepcopy(student)
            # Logits are views of what a network returns; the loss only reads them.
            warnings.filterwarnings("ignore", "FSDP2-wrapped module .* returned a view tensor")
        elif wants_fsdp() and is_main():
            logger.warning("FSDP needs accelerators; on this machine each process holds the full student.")

    @contextmanager
    def whole_student(self) -> Iterator[StudentModel]:
        """Yield the student with its current weights, for evaluation; all processes must call it."""
        self._gather()
        yield self.student.to(self.args.device)
        if self.is_fsdp_enabled:
            self.student.cpu()  # room for the training

    def _gather(self) -> None:
        if self.is_fsdp_enabled:
            gather_weights(self.model, self.student)

    def _cut(self, rows: list[Row], counts: Any) -> list[list[Row]]:
        """Split a microbatch into passes so that all processes call each layer equally often.

        FSDP gathers a layer and reduces its gradients once all processes call it. So all make the same number of
        passes, each with every kind of target of the step. Without FSDP each only has to make one: the last batch of an
        epoch may hold no row for some of them.
        """
        passes = super()._cut(rows, counts)
        if not self.is_fsdp_enabled:
            return passes if rows else [[silent_row(self.student, self.parts)]]
        longest = int(self.accelerator.gather(torch.tensor([len(passes)], device=self.args.device)).max())
        passes += [[] for _ in range(longest - len(passes))]
        silent = silent_row(self.student, self.parts)
        return [[*part, silent] for part in passes]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Save the whole student; with FSDP the Trainer would save shards, in another format."""
        self._save(output_dir)

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        assert output_dir is not None
        self._gather()
        if is_main():
            self.student.save_training(Path(output_dir))

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_fsdp_enabled:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        state = gather_state(self.optimizer.state_dict())
        if is_main():
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            torch.save(self.lr_scheduler.state_dict(), Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        load_weights(self.student, Path(resume_from_checkpoint))
        if self.is_fsdp_enabled:
            scatter_weights(self.student, self.model)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.is_fsdp_enabled:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        state = torch.load(folder / OPTIMIZER_NAME, map_location="cpu", weights_only=True, mmap=True)
        self.optimizer.load_state_dict(scatter_state(state, self.optimizer))
        self.lr_scheduler.load_state_dict(torch.load(folder / SCHEDULER_NAME, weights_only=True))

    def _load_best_model(self) -> None:
        best = best_checkpoint(Path(str(self.args.output_dir)), self.state)
        assert best is not None
        load_weights(self.student, best)
        self.student.to(self.args.device)


def check_layers(student: StudentModel, names: str) -> None:
    """Check that the student has layers of the classes that the user wants sharded one by one.

    Args:
        names: class names, separated by commas; empty: transformers' own choice.

    Raises:
        ConfigError: it has no layer of one of these classes.
    """
    wanted = {name.strip() for name in names.split(",") if name.strip()}
    missing = wanted - {type(module).__name__ for module in student.modules()}
    if missing:
        raise ConfigError(
            f"FSDP_TRANSFORMER_CLS_TO_WRAP={names}: no layer of the student is a {' or a '.join(sorted(missing))}. "
            "Leave it out (accelerate launch without --fsdp_transformer_layer_cls_to_wrap), and the sharded "
            f"layers are: {', '.join(student._no_split_modules)}."
        )


def sum_in_fp32(plugin: Any) -> None:
    """Reduce gradients over processes in float32, as without FSDP, also where layers compute in bfloat16."""
    policy = plugin.mixed_precision_policy
    if policy is not None:
        plugin.mixed_precision_policy = dataclasses.replace(policy, reduce_dtype=torch.float32)


def silent_row(student: StudentModel, parts: Sequence[tuple[str, str]]) -> Row:
    """Return a row whose targets add nothing to loss and gradients.

    It has two of each kind, so that each kind takes a forward pass of its own, as in a process with several targets of
    one input.

    Args:
        parts: (kind of target, name of its input).
    """
    targets = [(kind, name, [IGNORED], 0.0) for kind, name in parts]
    return Row({name: [student.pad_id] for _, name in parts}, [*targets, *targets])


@torch.no_grad()
def gather_weights(sharded: torch.nn.Module, whole: torch.nn.Module) -> None:
    """Copy the weights of a sharded student into a whole one; all processes must call it."""
    for ours, theirs in zip(whole.parameters(), sharded.parameters(), strict=True):
        ours.copy_(theirs.full_tensor() if isinstance(theirs, DTensor) else theirs)


@torch.no_grad()
def scatter_weights(whole: torch.nn.Module, sharded: torch.nn.Module) -> None:
    """Copy the weights of a whole student into a sharded one; each process takes its shard."""
    for ours, theirs in zip(whole.parameters(), sharded.parameters(), strict=True):
        theirs.copy_(_cut_like(ours, theirs))


def gather_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return a sharded optimizer state with whole tensors, None outside the main process; all must call it."""
    whole = {
        number: {name: _gather_tensor(value) for name, value in part.items()} for number, part in state["state"].items()
    }
    return {**state, "state": whole}


def scatter_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return a whole optimizer state with its tensors sharded like the weights they belong to."""
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    parts = {
        number: {
            name: _cut_like(value, weights[number]) if getattr(value, "shape", None) == weights[number].shape else value
            for name, value in part.items()
        }
        for number, part in state["state"].items()
    }
    return {**state, "state": parts}


def _gather_tensor(value: Any) -> Any:
    if not isinstance(value, DTensor):
        return value
    whole = value.full_tensor()
    return whole.cpu() if is_main() else None  # the others only took part in gathering


def _cut_like(whole: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not isinstance(weight, DTensor):
        return whole
    return distribute_tensor(whole.detach(), weight.device_mesh, weight.placements, src_data_rank=None)
