"""Several processes of one run, as ``torchrun`` and ``accelerate launch`` start them: all train, one writes."""

import atexit
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from dsbs.core.errors import DsbsError

Result = TypeVar("Result")


class MainProcessError(DsbsError):
    """The main process failed and has reported why; raised in the others, which report nothing."""


def count_processes() -> int:
    """Return how many processes share the run: ``WORLD_SIZE``, or 1 where no launcher started this one."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "LOCAL_RANK" in os.environ else 1


def rank() -> int:
    """Return the rank of this process, from 0."""
    return int(os.environ["RANK"]) if count_processes() > 1 else 0


def is_main() -> bool:
    """Return whether this is the process that writes and reports: rank 0, so also the only one."""
    return rank() == 0


def main_first(act: Callable[[], Result]) -> Result:
    """Call a function in the main process, then in all others, and return its result in each.

    Raises:
        MainProcessError: in the others, where the main process failed.
    """
    if count_processes() == 1:
        return act()
    _join()
    if not is_main():
        if not _broadcast_done(False):
            raise MainProcessError("The main process stopped.")
        return act()
    done = False
    try:
        result = act()
        done = True
    finally:
        _broadcast_done(done)
    return result


def _broadcast_done(done: bool) -> bool:
    """Send to all processes whether the main one is done; return what it sent."""
    from accelerate.utils import broadcast_object_list

    return bool(broadcast_object_list([done])[0])


def _join() -> None:
    """Join the group of processes, once."""
    import torch
    from accelerate import PartialState

    if torch.distributed.is_initialized():
        return
    if not torch.cuda.is_available():
        os.environ.setdefault("ACCELERATE_USE_CPU", "true")  # `torchrun` does not say so; the Trainer reads it, too
    PartialState(cpu=os.environ.get("ACCELERATE_USE_CPU", "").lower() in ("1", "true", "yes"))
    atexit.register(_leave)


def _leave() -> None:
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()  # else torch complains


def gather(parts: list[Result]) -> list[Result]:
    """Return the parts of all processes, in the order of their ranks, in every process."""
    if count_processes() == 1:
        return parts
    from accelerate.utils import gather_object

    return list(gather_object(parts))


def sum_counts(parts: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the sums of what several processes counted, by name; sorted, so that all processes agree on the order.

    >>> sum_counts([{"label": 3.0}, {"rationale": 5.0, "label": 1.0}])
    {'label': 4.0, 'rationale': 5.0}
    """
    names = sorted({name for part in parts for name in part})
    return {name: sum(part.get(name, 0.0) for part in parts) for name in names}
