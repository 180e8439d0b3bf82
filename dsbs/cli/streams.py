"""Standard streams that are closed, or cannot be written."""

import contextlib
import errno
import os
import sys
from io import TextIOWrapper

_LOST = (errno.ENOSPC, errno.EDQUOT, errno.EIO)


def open_streams() -> None:
    """Open standard streams that are closed on the null device, and let none fail on a character.

    Otherwise the next file that is opened would be in their place, and get what is printed.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process
        elif isinstance(stream, TextIOWrapper) and mode == "w":
            stream.reconfigure(errors="replace")


def lost_output(error: OSError) -> str | None:
    """Return what to tell where standard output could not be written; None where the error is about something else.

    The reader of a pipe that has ended, such as ``head``, knows: the text is empty then.
    """
    if error.filename is not None or (not isinstance(error, BrokenPipeError) and error.errno not in _LOST):
        return None
    try:
        sys.stdout.flush()
        os.write(sys.stdout.fileno(), b"\n")  # what failed may be lost, so that there is nothing left to flush
    except OSError:
        pass
    else:
        return None
    with contextlib.suppress(OSError, ValueError):  # the flush at exit must not fail again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return ""
    return f"standard output cannot be written: {error.strerror}."
