"""Task prefixes: where they are, and their names in the data, where they are text and no tokens."""

import re
from collections.abc import Iterable

PREFIXES = ("target", "input")  # where they are: before the target, or before the input
_PREFIX = re.compile(r"\[(?=(?:label|rationale|answer)\])")


def without_prefixes(texts: Iterable[str]) -> list[str]:
    """Return texts in which no tokenizer finds the token of a task prefix, which a teacher may have written.

    >>> without_prefixes(["[rationale] It broke. [label] bad", "[1] a label"])
    ['[ rationale] It broke. [ label] bad', '[1] a label']
    """
    return [_PREFIX.sub("[ ", text) for text in texts]
