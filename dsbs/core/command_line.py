"""Texts inside lists and mappings of the command line: which of them need quotes."""

import json
import re

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_NO_TEXTS = ("null", "true", "false", "nan", "inf")  # words that Hydra takes for other values


def is_bare(text: str) -> bool:
    """Return whether Hydra reads a text without quotes as that text, as an element of a list or a key of a mapping."""
    return bool(_BARE.fullmatch(text)) and text.lower() not in _NO_TEXTS


def quoted(text: str) -> str:
    """Return a text as it may be typed there, in quotes where it needs them.

    >>> quoted("pos"), quoted("not good")
    ('pos', '"not good"')
    """
    return text if is_bare(text) else json.dumps(text, ensure_ascii=False)
