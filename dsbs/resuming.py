"""Checkpoints that outlive what happens to a training: SIGTERM, a full disk, a file that is broken."""

import json
import logging
import shutil
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from transformers import TrainerCallback, TrainerState

from dsbs.errors import RunError, Terminated
from dsbs.processes import count_processes

logger = logging.getLogger(__name__)


class StopCallback(TrainerCallback):
    """On SIGTERM the step that is under way is finished and saved, then the training stops."""

    def __init__(self) -> None:
        self.wanted = False
        self._before: Any = None

    def _want(self, *signal_and_frame: object) -> None:
        self.wanted = True

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Take SIGTERM as a wish to stop; only the main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = signal.signal(signal.SIGTERM, self._want)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

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
        if self.wanted:
            raise Terminated(f"by SIGTERM, with a checkpoint of step {state.global_step} of {state.max_steps}")


@contextmanager
def writing(what: str, place: Path, remainder: Path | None = None) -> Iterator[None]:
    """Turn what a disk refuses into a message.

    Args:
        what: what is written.
        place: where to.
        remainder: what is removed when it could not be written whole.

    Raises:
        RunError: where the disk is full, the place is closed, or a file would be too large.
    """
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        if isinstance(error, RuntimeError) and "inline_container" not in str(error):  # where torch.save writes
            raise
        if remainder is not None:
            shutil.rmtree(remainder, ignore_errors=True)
        raise RunError(
            f"{place}: {what} cannot be written ({reason}). Earlier checkpoints are kept: make room, or see to the "
            "permissions, and the same command goes on from the last one."
        ) from error


def last_checkpoint(folder: Path) -> str | None:
    """Return the last whole checkpoint of a folder, or None; broken ones are told about."""
    steps = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    for path in steps:
        if is_whole(path):
            return str(path)
        logger.warning("%s is not whole; the training goes on from the checkpoint before it.", path)
    return None


def is_whole(checkpoint: Path) -> bool:
    """Tell whether the files of a checkpoint are there and complete; whoever was stopped while writing left half."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))  # written last
        weights = list(checkpoint.glob("model*.safetensors"))
        for path in weights:
            with safe_open(path, framework="pt"):  # its header tells how long the file has to be
                pass
        random = list(checkpoint.glob("rng_state*.pth"))  # one of every process
        for path in (checkpoint / "optimizer.pt", checkpoint / "scheduler.pt", *random):
            with zipfile.ZipFile(path) as archive:
                if archive.testzip() is not None:  # reads all of it, against its checksums
                    return False
    except (OSError, ValueError, zipfile.BadZipFile, SafetensorError):
        return False
    return bool(weights) and len(random) >= count_processes()
