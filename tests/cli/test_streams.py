"""Standard streams that are closed or full end in a sentence, if in anything."""

import errno
import os
import sys
from io import TextIOWrapper

import pytest

from dsbs.cli.streams import lost_output, open_streams


def fail_to_write(monkeypatch: pytest.MonkeyPatch, descriptor: int) -> str | None:
    stream = TextIOWrapper(os.fdopen(descriptor, "wb"), encoding="utf-8")
    monkeypatch.setattr(sys, "stdout", stream)
    stream.write("answer\n")
    with pytest.raises(OSError, match=r"No space|Broken pipe") as raised:
        stream.flush()
    told = lost_output(raised.value)
    stream.close()  # as at exit: it must not fail again
    return told


def test_a_full_disk_below_standard_output_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = fail_to_write(monkeypatch, os.open("/dev/full", os.O_WRONLY))
    assert told == "standard output cannot be written: No space left on device."


def test_a_reader_that_has_ended_is_told_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    read, write = os.pipe()
    os.close(read)
    assert fail_to_write(monkeypatch, write) == ""


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), OSError(errno.ENOENT, "no"), BrokenPipeError()])
def test_other_errors_are_not_about_it(error: OSError) -> None:
    assert lost_output(error) is None


def test_streams_that_are_closed_are_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    open_streams()
    assert sys.stdin.read() == ""
    assert sys.stdout.write("x") == sys.stderr.write("x") == 1
