"""Task prefixes, which say what a student is to write: its kinds of targets, their tokens, and where these are."""

import re
from collections.abc import Iterable

KINDS = ("label", "rationale")  # of targets
ANSWER = "answer"  # the token after a decoder-only student's input that begins with its task prefix
PREFIX_ON = ("target", "input")  # where the task prefixes are


def task_prefix(kind: str) -> str:
    """Return the task prefix of a kind of target: ``[label]`` or ``[rationale]`` (paper, section 3.2)."""
    return f"[{kind}]"


PREFIXES = tuple(task_prefix(word) for word in (*KINDS, ANSWER))
_PREFIX = re.compile(rf"\[(?=(?:{'|'.join((*KINDS, ANSWER))})\])")


def without_prefixes(texts: Iterable[str]) -> list[str]:
    """Return texts in which no tokenizer finds the token of a task prefix, which a teacher may have written.

    >>> without_prefixes(["[rationale] It broke. [label] bad", "[1] a label"])
    ['[ rationale] It broke. [ label] bad', '[1] a label']
    """
    return [_PREFIX.sub("[ ", text) for text in texts]
