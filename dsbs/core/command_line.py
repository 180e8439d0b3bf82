"""Words of the command line: flags before overrides, and which texts inside lists and mappings need quotes."""

import json
import re
from collections.abc import Sequence

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NO_TEXTS = ("null", "true", "false", "nan", "inf")  # words that Hydra takes for other values
CONFIG_DIR = "--config-dir"  # the flag of a folder with options of the user's own
_VALUED = (CONFIG_DIR, "-cd", "--cfg", "-c", "--package", "-p")  # flags of Hydra's that take a value
_INFO = ("--info", "-i")  # these may


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags, each with its value if it takes one, and the overrides.

    >>> split_flags(["seed=0,1", "-m", "--config-dir", "mine"]), split_flags(["--info", "seed=1"])
    ((['-m', '--config-dir', 'mine'], ['seed=0,1']), (['--info', 'all'], ['seed=1']))
    """
    flags: list[str] = []
    overrides: list[str] = []
    for word in words:
        last = flags[-1] if flags else ""
        follows = last in _VALUED or (last in _INFO and not word.startswith("-") and "=" not in word)
        (flags if follows or word.startswith("-") else overrides).append(word)
    if flags and flags[-1] in _INFO:
        flags.append("all")
    return flags, overrides


def is_bare(text: str) -> bool:
    """Return whether Hydra reads a text without quotes as that text, as an element of a list or a key of a mapping."""
    return bool(_BARE.fullmatch(text)) and text.lower() not in _NO_TEXTS


def quoted(text: str) -> str:
    """Return a text as it may be typed there, in quotes where it needs them.

    >>> quoted("pos"), quoted("not good")
    ('pos', '"not good"')
    """
    return text if is_bare(text) else json.dumps(text, ensure_ascii=False)
