"""Out-of-memory errors, and activation checkpointing."""

import torch
from accelerate.utils.memory import should_reduce_batch_size

from dsbs.students.model import StudentModel


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether an error means out of memory, on any device."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)


def checkpoint_activations(student: StudentModel) -> None:
    """Enable activation (gradient) checkpointing: the backward pass recomputes activations instead of storing them."""
    enable = getattr(student.model, "activation_checkpointing_enable", student.model.gradient_checkpointing_enable)
    enable({"use_reentrant": False})  # the other way fails where the inputs of a layer need no gradients, as in LoRA
