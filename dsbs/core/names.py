"""Names that become folders and files: of a task, a teacher, a student, an objective, a split.

A name may come from a config or from somebody else's run, so it is checked twice: ``name_faults`` reports it among the
faults of a config, and ``path_part`` refuses it where a path is built from it. Every path with a name that is not
written in this code is built through ``path_part``.
"""

import re

from dsbs.core.errors import ConfigError
from dsbs.core.untrusted import excerpt

MOST = 100
UNSET = "???"
EXPECTED = (
    f"letters (a-z, A-Z), digits, '.', '_' and '-', at most {MOST}, with a letter, a digit or '_' first and no '.' last"
)
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]*[A-Za-z0-9_-])?", re.ASCII)
# Names of devices on Windows, whatever follows their first dot.
_DEVICES = frozenset({"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))})


def is_name(value: object) -> bool:
    """Return whether a value is a name that may become a folder or a file.

    >>> is_name("t5_v1.1-base"), is_name(".."), is_name("a/b"), is_name("con"), is_name("-x"), is_name("a\\n")
    (True, False, False, False, False, False)
    """
    return (
        isinstance(value, str)
        and len(value) <= MOST
        and _NAME.fullmatch(value) is not None
        and value.partition(".")[0].lower() not in _DEVICES
    )


def name_faults(key: str, value: object) -> list[str]:
    """Return what is wrong with a name in a setting; one that is still missing (``???``) is reported elsewhere.

    >>> name_faults("task.name", "../../elsewhere")[0].partition(":")[0]
    "task.name='../../elsewhere'"
    """
    return [] if value == UNSET or is_name(value) else [f"{key}={excerpt(value, 60)!r}: expected {EXPECTED}."]


def path_part(value: object, key: str) -> str:
    """Return a name that is to be a part of a path, unchanged.

    Raises:
        ConfigError: where it may not be one, naming the key.
    """
    if not isinstance(value, str) or not is_name(value):
        raise ConfigError(f"{key}={excerpt(value, 60)!r}: expected {EXPECTED}.")
    return value
