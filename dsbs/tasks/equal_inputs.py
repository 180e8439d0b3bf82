"""Rows whose inputs are equal up to case and space: a cut between splits keeps them on one side."""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping

from dsbs.core.records import Example
from dsbs.tasks.cells import fold


def input_key(text: str) -> bytes:
    """Return eight bytes that are the same for two inputs that differ in nothing but case and space.

    >>> input_key("Is it  so?") == input_key("is it so? ")
    True
    """
    return hashlib.blake2b(fold(text).encode(errors="surrogatepass"), digest_size=8).digest()


def first_id(ids: Iterable[str]) -> str:
    """Return the id that stands for rows of equal inputs: of rows that are numbered the first, whatever their order.

    >>> first_id(["train-10", "train-9"])
    'train-9'
    """
    return min(ids, key=lambda id: (len(id), id))


def find_leaders(read: Callable[[], Iterable[Example]]) -> dict[bytes, str]:
    """Return the key of each input that several rows have, with the id that stands for them.

    Args:
        read: gives the rows; called twice where there are such inputs. Eight bytes of each are kept.
    """
    import numpy as np

    keys = array("Q", (int.from_bytes(input_key(example.input)) for example in read()))
    found, counts = np.unique(np.frombuffer(keys, dtype=np.uint64), return_counts=True)
    repeated = {int(key).to_bytes(8) for key in found[counts > 1]}
    ids: dict[bytes, list[str]] = {}
    for example in read() if repeated else ():
        if (key := input_key(example.input)) in repeated:
            ids.setdefault(key, []).append(example.id)
    return {key: first_id(members) for key, members in ids.items()}


def place_of(example: Example, leaders: Mapping[bytes, str]) -> float:
    """Return where a row stands between 0 and 1 by its id, whatever the other rows are; equal inputs stand together.

    Args:
        example: the row.
        leaders: see ``find_leaders``.
    """
    id = leaders.get(input_key(example.input), example.id) if leaders else example.id
    return int.from_bytes(hashlib.blake2b(f"test\0{id}".encode(), digest_size=8).digest()) / 2**64
