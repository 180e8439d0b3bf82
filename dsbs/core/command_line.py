"""Words of the command line: flags before overrides, and which texts inside lists and mappings need quotes."""

import json
import re
from collections.abc import Sequence

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NO_TEXTS = ("null", "true", "false", "nan", "inf")  # words that Hydra takes for other values
CONFIG_DIR = "--config-dir"  # the flag of a folder with options of the user's own


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the flags that words begin with (``--config-dir FOLDER``, or none), and the overrides after them.

    >>> split_flags(["--config-dir", "mine", "task=reviews"]), split_flags(["seed=1"])
    ((['--config-dir', 'mine'], ['task=reviews']), ([], ['seed=1']))
    """
    count = 2 if words[:1] == [CONFIG_DIR] else 0
    return list(words[:count]), list(words[count:])


def is_bare(text: str) -> bool:
    """Return whether Hydra reads a text without quotes as that text, as an element of a list or a key of a mapping."""
    return bool(_BARE.fullmatch(text)) and text.lower() not in _NO_TEXTS


def quoted(text: str) -> str:
    """Return a text as it may be typed there, in quotes where it needs them.

    >>> quoted("pos"), quoted("not good")
    ('pos', '"not good"')
    """
    return text if is_bare(text) else json.dumps(text, ensure_ascii=False)
