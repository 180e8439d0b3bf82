"""A student sharded over processes (FSDP 2): each keeps a part of its weights, gradients and optimizer state.

``torch.distributed.checkpoint.state_dict`` would gather as well, but names an optimizer's state by weights; ours has
the numbers that ``optimizer.pt`` has without FSDP, so that a checkpoint resumes either way.
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
    """Set what accelerate reads from the environment, before a student is built."""
    # Each process builds the whole student; with empty weights it could not give the task prefixes their first values.
    os.environ["FSDP_CPU_RAM_EFFICIENT_LOADING"] = "false"
    # By itself accelerate would cut up the weights but gather them all at once.
    os.environ.setdefault("FSDP_AUTO_WRAP_POLICY", "TRANSFORMER_BASED_WRAP")


class ShardingTrainer(PassTrainer):
    """Trains a student and keeps its checkpoints, replicated or sharded; checkpoints are the same.

    Attributes:
        student: whole in every process: what is read, saved and loaded. Where accelerate cuts up, a copy is trained,
            ``self.model``.
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
        """Give the student as it stands, to read its answers; all processes together."""
        self._gather()
        yield self.student.to(self.args.device)
        if self.is_fsdp_enabled:
            self.student.cpu()  # room for the training

    def _gather(self) -> None:
        if self.is_fsdp_enabled:
            gather_weights(self.model, self.student)

    def _cut(self, rows: list[Row], counts: Any) -> list[list[Row]]:
        """Cut a microbatch so that all processes call the layers equally often: a layer is gathered, and its gradients
        are added up, when all ask for it. They make as many passes, each with every kind of target that the step has.
        Without FSDP they only have to make one: an epoch's last batch may hold nothing for some of them.
        """
        passes = super()._cut(rows, counts)
        if not self.is_fsdp_enabled:
            return passes if rows else [[silent_row(self.student, self.parts)]]
        most = int(self.accelerator.gather(torch.tensor([len(passes)], device=self.args.device)).max())
        passes += [[] for _ in range(most - len(passes))]
        silent = silent_row(self.student, self.parts)
        return [[*part, silent] for part in passes]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the student; the Trainer would write the parts of one that is cut up, in a form of their own."""
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
    """Check that the student has the layers that the user wants gathered one at a time.

    Args:
        student: what is cut up.
        names: their classes, with commas; empty: transformers' own choice.

    Raises:
        ConfigError: where it has none of such a class.
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
    """Have gradients added up over processes in float32, as without FSDP, where layers are computed in bfloat16."""
    policy = plugin.mixed_precision_policy
    if policy is not None:
        plugin.mixed_precision_policy = dataclasses.replace(policy, reduce_dtype=torch.float32)


def silent_row(student: StudentModel, parts: Sequence[tuple[str, str]]) -> Row:
    """Return a row with targets that add nothing to loss and gradients.

    There are two of each, so that the student reads every kind in a pass of its own, as it does where another process
    has several targets of one input.

    Args:
        student: whose padding is read.
        parts: kinds of targets, each with the name of its input.
    """
    targets = [(kind, name, [IGNORED], 0.0) for kind, name in parts]
    return Row({name: [student.pad_id] for _, name in parts}, [*targets, *targets])


@torch.no_grad()
def gather_weights(sharded: torch.nn.Module, whole: torch.nn.Module) -> None:
    """Copy the weights of a student that is cut up into a whole one; all processes together."""
    for ours, theirs in zip(whole.parameters(), sharded.parameters(), strict=True):
        ours.copy_(theirs.full_tensor() if isinstance(theirs, DTensor) else theirs)


@torch.no_grad()
def scatter_weights(whole: torch.nn.Module, sharded: torch.nn.Module) -> None:
    """Copy the weights of a whole student into one that is cut up; each process takes its part."""
    for ours, theirs in zip(whole.parameters(), sharded.parameters(), strict=True):
        theirs.copy_(_cut_like(ours, theirs))


def gather_state(state: dict[str, Any]) -> dict[str, Any]:
    """Return an optimizer's state with whole tensors, in the main process; all processes together."""
    whole = {
        number: {name: _gather_tensor(value) for name, value in part.items()} for number, part in state["state"].items()
    }
    return {**state, "state": whole}


def scatter_state(state: dict[str, Any], optimizer: torch.optim.Optimizer) -> dict[str, Any]:
    """Return a whole state with its tensors cut as the weights they belong to."""
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
    return whole.cpu() if is_main() else None  # the others only helped


def _cut_like(whole: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    if not isinstance(weight, DTensor):
        return whole
    return distribute_tensor(whole.detach(), weight.device_mesh, weight.placements, src_data_rank=None)
