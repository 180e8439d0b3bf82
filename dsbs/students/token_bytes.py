"""The bytes of a tokenizer's tokens, by which tokens of an endpoint are matched to a student's."""

import re
from functools import cache
from typing import Any

_BYTE = re.compile(r"<0x([0-9A-Fa-f]{2})>")
_SPACE = "\u2581"  # SentencePiece's sign for a space


def token_bytes(tokenizer: Any) -> list[bytes | None]:
    """Return the bytes of each token by id; None where no token has that id.

    Args:
        tokenizer: a byte-level BPE (GPT-2, Llama 3, SmolLM2, Qwen), or a SentencePiece-like one.
    """
    vocabulary: dict[str, int] = tokenizer.get_vocab()
    added = set(tokenizer.get_added_vocab())
    letters = _byte_letters()
    known = [token for token in vocabulary if token not in added]
    byte_level = not any(_SPACE in token for token in known) and all(set(token) <= letters.keys() for token in known)
    found: list[bytes | None] = [None] * (max(vocabulary.values()) + 1)
    for token, id in vocabulary.items():
        if token in added:
            found[id] = token.encode()
        elif byte_level:
            found[id] = bytes(letters[letter] for letter in token)
        elif byte := _BYTE.fullmatch(token):
            found[id] = bytes.fromhex(byte[1])
        else:
            found[id] = token.replace(_SPACE, " ").encode(errors="replace")
    return found


@cache
def _byte_letters() -> dict[str, int]:
    """Return the letter with which byte-level tokenizers write each byte (Radford et al., 2019): itself if printable.

    >>> _byte_letters()["a"], _byte_letters()[chr(288)]
    (97, 32)
    """
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in printable]
    letters = [*map(chr, printable), *(chr(256 + position) for position in range(len(others)))]
    return dict(zip(letters, [*printable, *others], strict=True))
