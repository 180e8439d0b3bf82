"""Checkpoints that outlive what happens to a training: SIGTERM, a full disk, a file that is broken."""

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
    """On SIGTERM and Ctrl-C the step that is under way is finished and saved, then the training stops.

    A second Ctrl-C stops at once, except where several processes share the run: there `torchrun` passes on the first.
    So it is on SIGUSR2 where somebody listens to that: submitit, which then has Slurm queue the job again.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._by = signal.SIGTERM
        self._requeue: Callable[[], object] | None = None

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take these signals as a wish to stop; only the main thread can."""
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
        """Have a checkpoint saved. All processes stop at the same step, whichever of them was told."""
        if count_processes() > 1:
            wanted = torch.tensor(int(self.wanted), device=args.device)
            torch.distributed.all_reduce(wanted, op=torch.distributed.ReduceOp.MAX)
            self.wanted = bool(wanted)
        if self.wanted:
            control.should_save = True
            control.should_log = True  # a checkpoint knows seconds and tokens from the log

    def on_save(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Stop."""
        if self.wanted and self._requeue is not None:
            self._requeue()  # which ends this process
        if self.wanted:
            what = f"by {self._by.name}, with a checkpoint of step {state.global_step} of {state.max_steps}"
            raise Terminated(what, self._by)


def last_checkpoint(folder: Path) -> str | None:
    """Return the last whole checkpoint of a folder, or None; broken ones are told about."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    for path in steps:
        if is_whole(path):
            return str(path)
        logger.warning("%s is incomplete; resuming from the checkpoint before it.", path)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Return whether the files of a checkpoint are there and complete; whoever was stopped while writing left half."""
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
    """Return whether the weights of a checkpoint are there and complete."""
    weights = list(checkpoint.glob("model*.safetensors"))
    try:
        for path in weights:
            with safe_open(path, framework="pt"):  # its header tells how long the file has to be
                pass
    except (OSError, SafetensorError):
        return False
    return bool(weights)


def best_checkpoint(folder: Path, state: TrainerState) -> Path | None:
    """Return the best checkpoint so far, None where there was no validation yet.

    It lies among the others, wherever the run lay when it was made.

    Raises:
        RunError: where it is gone or broken.
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
