"""Processes that end with the one that started them, also where that one was killed and could not end them."""

import os
import signal
import threading
from collections.abc import Callable

ENDS_WITH_STDIN = "DSBS_ENDS_WITH_STDIN"  # set for a process whose standard input is a pipe that its parent holds


def end_with(parent_is_gone: Callable[[], object]) -> None:
    """Send this process SIGTERM, on which a training saves a checkpoint, when its parent is gone.

    Args:
        parent_is_gone: waits for that; called in a thread of its own.
    """

    def watch() -> None:
        parent_is_gone()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()


def end_with_stdin() -> None:
    """Watch standard input where the parent asked for it, by the environment; its end is the parent's."""
    if os.environ.pop(ENDS_WITH_STDIN, None):
        end_with(lambda: os.read(0, 1))  # the parent never writes
