"""The arguments of a command: what was typed, in which order Hydra wants it, and how to type the command again."""

import os
import shlex
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path

from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig

from dsbs.cli.overrides import hide_all, reveal_keys
from dsbs.cli.streams import open_streams
from dsbs.core.command_line import CONFIG_DIR, split_flags

_program: list[str] = []  # how the command of this process was called, without its overrides


def read_arguments() -> list[str]:
    """Return the arguments of the command, decoded as UTF-8 whatever the locale; ``sys.argv`` is set to them.

    Flags come first, as Hydra wants them; bytes that are not UTF-8 are replaced, and keys between braces encoded
    (``hide_keys``).
    """
    open_streams()
    program, *words = (os.fsencode(word).decode("utf-8", "replace") for word in sys.argv)
    flags, overrides = split_flags(words)
    sys.argv = [program, *flags, *hide_all(overrides)]
    return sys.argv[1:]


def typed_overrides() -> list[str]:
    """Return the overrides that were typed; in a sweep, those of this job."""
    return [reveal_keys(word) for word in HydraConfig.get().overrides.task]


def typed_arguments() -> list[str]:
    """Return the overrides, after the flag that other commands for the same options need, too: ``--config-dir``."""
    return [*(_program[-2:] if CONFIG_DIR in _program else []), *typed_overrides()]


def typed_command() -> str:
    """Return the command that starts this run (in a sweep: this job), quoted for a shell."""
    return shlex.join([*_program, *typed_overrides()])


def program_of(name: str, words: Sequence[str]) -> list[str]:
    """Return how the command was called, with the flags that every run of it needs."""
    called = Path(sys.argv[0]).name
    if called.split(" ")[0] == "dsbs":
        program = ["dsbs", name]
    elif not called.endswith(".py") or Path(sys.argv[0]).resolve().parent == Path(__file__).resolve().parents[1]:
        program = ["python", "-m", f"dsbs.{name}"]
    else:  # a script of the user's own around the command
        program = ["python", sys.argv[0]]
    parser: ArgumentParser = get_args_parser()
    folder = parser.parse_known_args(list(words))[0].config_dir
    return [*program, *([CONFIG_DIR, folder] if folder else [])]


def remember_program(program: Sequence[str]) -> None:
    """Keep what ``program_of`` returned, for ``typed_command``; a sweep's jobs may run in other processes."""
    _program[:] = program
