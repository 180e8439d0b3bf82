"""Processes that are forked from the one that runs the tests: they need not import torch anew."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from hydra.core.global_hydra import GlobalHydra

# A process whose autograd knows a GPU cannot be forked.
METHOD = "forkserver" if torch.cuda.is_available() else "fork"


def run(work: Callable[..., None], *arguments: Any, processes: int = 1) -> None:
    """Run ``work(rank, *arguments)`` in processes of their own; raises what one of them raised."""
    torch.multiprocessing.start_processes(_begin, (work, *arguments), nprocs=processes, start_method=METHOD)


def in_two_processes(work: Callable[..., None], *arguments: Any) -> None:
    """Run ``work(rank, *arguments)`` in two processes that share a run, as ``torchrun`` starts them."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    run(_share, port, work, *arguments, processes=2)


def _begin(rank: int, work: Callable[..., None], *arguments: Any) -> None:
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()
    work(rank, *arguments)


def _share(rank: int, port: int, work: Callable[..., None], *arguments: Any) -> None:
    os.environ |= {
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    work(rank, *arguments)
    torch.distributed.destroy_process_group()


def killed(step: int, words: Sequence[str], folder: Path) -> None:
    """Run ``dsbs.train`` in a folder, and kill it where an optimiser step begins: it gets to write nothing more."""
    with pytest.raises(torch.multiprocessing.ProcessExitedException) as ended:
        run(_train_up_to, step, words, folder)
    assert ended.value.signal_name == "SIGKILL"


def _train_up_to(rank: int, step: int, words: Sequence[str], folder: Path) -> None:
    from dsbs.training.checkpointing import StopCallback

    def kill(self: Any, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == step:
            os.kill(os.getpid(), signal.SIGKILL)

    StopCallback.on_step_begin = kill  # type: ignore[method-assign]
    train(rank, words, folder)


def train(rank: int, words: Sequence[str], folder: Path) -> None:
    """Run ``dsbs.train`` in a folder, whose files ``out`` and ``err``, with the rank behind, get what it says."""
    from dsbs.train import main

    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / f"{name}{rank}", os.O_WRONLY | os.O_CREAT), number)
    sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
    sys.argv = ["dsbs.train", *words]
    GlobalHydra.instance().clear()
    main()
