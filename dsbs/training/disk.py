"""Failed writes (full disk, permissions) as messages for the user."""

import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from dsbs.core.errors import RunError

MIN_FREE = 2**20  # bytes; with less room than this the disk counts as full


@contextmanager
def writing(what: str, path: Path, remainder: Path | None = None) -> Iterator[None]:
    """Raise failed writes as ``RunError`` with a message that says what to do.

    Args:
        what: what is written, for the message.
        remainder: folder to delete after a failed write.

    Raises:
        RunError: the disk is full, permission is denied, or a file is too large.
    """
    try:
        yield
    except Exception as error:
        if not _is_refused(error):
            raise
        reason = str(error).splitlines()[0]
        if _free_bytes(path) < MIN_FREE and "space" not in reason:
            reason = f"the disk is full: {reason}"
        if remainder is not None:
            shutil.rmtree(remainder, ignore_errors=True)
        raise RunError(
            f"{path}: {what} cannot be written ({reason}). Earlier checkpoints are kept: free some space or fix the "
            "permissions, and the same command resumes from the last one."
        ) from error


def _is_refused(error: Exception) -> bool:
    """Return whether an error is a failed write, be it of Python, torch, safetensors or Arrow."""
    if isinstance(error, (OSError, SafetensorError)):
        return True
    # torch.save, and tokenizers, which raises nothing more special than this.
    return "inline_container" in str(error) or (type(error) is Exception and "os error" in str(error))


def _free_bytes(path: Path) -> float:
    """Return the free bytes of the disk of a file or folder, which need not exist yet."""
    there = next((folder for folder in (path, *path.absolute().parents) if folder.exists()), Path("/"))
    try:
        return shutil.disk_usage(there).free
    except OSError:
        return math.inf
