"""Out of memory, on whatever device."""

import torch
from accelerate.utils.memory import should_reduce_batch_size


def is_out_of_memory(error: RuntimeError) -> bool:
    """Tell whether an error says that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or should_reduce_batch_size(error)
