"""Rows whose inputs are equal up to case and whitespace; a cut between splits keeps them on one side."""

import hashlib
from array import array
from collections.abc import Callable, Iterable, Mapping

from dsbs.core.records import Example
from dsbs.tasks.cells import fold


def input_key(text: str) -> bytes:
    """Return eight bytes that two inputs share if they are equal up to case and whitespace.

    >>> input_key("Is it  so?") == input_key("is it so? ")
    True
    """
    return hashlib.blake2b(fold(text).encode(errors="surrogatepass"), digest_size=8).digest()


def first_id(ids: Iterable[str]) -> str:
    """Return the id that represents rows of equal input: the first by length, then alphabetically.

    >>> first_id(["train-10", "train-9"])
    'train-9'
    """
    return min(ids, key=lambda id: (len(id), id))


def find_leaders(read: Callable[[], Iterable[Example]]) -> dict[bytes, str]:
    """Return, for each input that several rows have, its ``input_key`` -> the id that represents them.

    Args:
        read: returns the examples; called twice where there are such inputs. Eight bytes of each are kept.
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
    """Return a number from 0 to 1 that a row's id alone decides, uniform over ids; the same for equal inputs."""
    id = leaders.get(input_key(example.input), example.id) if leaders else example.id
    return int.from_bytes(hashlib.blake2b(f"test\0{id}".encode(), digest_size=8).digest()) / 2**64
