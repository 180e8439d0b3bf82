"""The names of task prefixes in the data: they are text there, and no tokens."""

import re
from collections.abc import Iterable

_PREFIX = re.compile(r"\[(?=(?:label|rationale|answer)\])")


def without_prefixes(texts: Iterable[str]) -> list[str]:
    """Return texts in which no tokenizer finds the token of a task prefix, which a teacher may have written.

    >>> without_prefixes(["[rationale] It broke. [label] bad", "[1] a label"])
    ['[ rationale] It broke. [ label] bad', '[1] a label']
    """
    return [_PREFIX.sub("[ ", text) for text in texts]
