"""Checkpoints on SIGTERM and Ctrl-C, and finding the last or best one that is complete."""

import json
import logging
import signal
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerState

from dsbs.core.distributed import count_processes
from dsbs.core.errors import RunError, Terminated

logger = logging.getLogger(__name__)


class StopCallback(TrainerCallback):
    """On SIGTERM and Ctrl-C, finishes the current step, saves a checkpoint and stops the training.

    A second Ctrl-C stops at once, except where several processes share the run, since `torchrun` forwards the first as
    a second one. SIGUSR2 is handled too if it has a handler: submitit's, which has Slurm queue the job again.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._by = signal.SIGTERM
        self._requeue: Callable[[], object] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Handle these signals within the context; only in the main thread, as Python allows no handlers in others."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {signal.SIGTERM: signal.signal(signal.SIGTERM, self._want)}
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # as in a job in the background
            before[signal.SIGINT] = signal.signal(signal.SIGINT, self._want)
        listener = signal.getsignal(signal.SIGUSR2)
        if callable(listener):
            before[signal.SIGUSR2] = signal.signal(signal.SIGUSR2, partial(self._want, listener=listener))
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _want(self, number: int, frame: Any, listener: Callable[[int, Any], object] | None = None) -> None:
        if number == signal.SIGINT and count_processes() == 1:
            if self.wanted:
                raise KeyboardInterrupt
            logger.info("Stopping after this step is saved; Ctrl-C again stops at once.")
        self.wanted = True
        self._by = signal.Signals(number)
        self._requeue = partial(listener, number, frame) if listener else None

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Ask for a checkpoint where a process got a signal; all processes stop at the same step."""
        if count_processes() > 1:
            wanted = torch.tensor(int(self.wanted), device=args.device)
            torch.distributed.all_reduce(wanted, op=torch.distributed.ReduceOp.MAX)
            self.wanted = bool(wanted)
        if self.wanted:
            control.should_save = True
            control.should_log = True  # a checkpoint knows seconds and tokens from the log

    def on_save(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Stop after the checkpoint that was asked for.

        Raises:
            Terminated: always, where a signal came and no handler of SIGUSR2 ends the process.
        """
        if self.wanted and self._requeue is not None:
            self._requeue()  # which ends this process
        if self.wanted:
            what = f"by {self._by.name}, with a checkpoint of step {state.global_step} of {state.max_steps}"
            raise Terminated(what, self._by)


def last_checkpoint(folder: Path) -> str | None:
    """Return the path of the last complete checkpoint in a folder, or None; incomplete ones are logged."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    for path in steps:
        if is_complete(path):
            return str(path)
        logger.warning("%s is incomplete; resuming from the checkpoint before it.", path)
    return None


def is_complete(checkpoint: Path) -> bool:
    """Return whether a checkpoint has all its files, each complete: a process may have been killed while writing."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # written last
        random = list(checkpoint.glob("rng_state*.pth"))  # one of every process that there was
        for path in (checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # reads all of it, against its checksums
                    return False
    except (OSError, ValueError, zipfile.BadZipFile, SafetensorError):
        return False
    return has_weights(checkpoint) and bool(random)


def has_weights(checkpoint: Path) -> bool:
    """Return whether a checkpoint has its weights, complete by the sizes that their headers name."""
    weights = list(checkpoint.glob("model*.safetensors"))
    try:
        for path in weights:
            with safe_open(path, framework="pt"):  # checks the file's size against its header
                pass
    except (OSError, SafetensorError):
        return False
    return bool(weights)


def best_checkpoint(folder: Path, state: TrainerState) -> Path | None:
    """Return the best checkpoint so far, or None before the first evaluation.

    Args:
        folder: of the checkpoints; it may have been moved since ``state`` was saved.

    Raises:
        RunError: its weights are missing or broken.
    """
    if state.best_model_checkpoint is None:
        return None
    path = folder / Path(state.best_model_checkpoint).name
    if not has_weights(path):
        raise RunError(
            f"{path}: the best checkpoint is missing or corrupt, and the run cannot finish without it. Delete "
            f"{folder.parent}, and the same command trains again."
        )
    return path
