"""Contamination: inputs of the test split that also occur in the splits that a student learned from.

Two inputs are the same where they are equal up to case and whitespace, and near duplicates where the Jaccard index of
their sets of words is 0.9 or more. Words with digits do not count, so templates filled with other numbers are near
duplicates.
"""

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from heapq import nsmallest
from itertools import islice
from typing import Any

from dsbs.data.subsets import rank_of
from dsbs.tasks.cells import fold
from dsbs.tasks.equal_inputs import input_key

TENTHS = 9  # of the words of two inputs together that near duplicates share
FEWEST_WORDS = 4  # of inputs of fewer different words only equal ones are counted
MAX_COMPARED = 5_000  # test inputs that are compared word by word; of more, so many are drawn
_CHUNK = 10_000  # others that are looked up together
MAX_PAIRS = 5_000_000  # pairs that are compared word by word, a second or two a million

_WORDS = re.compile(r"\w+")


@dataclass(frozen=True)
class Overlap:
    """How many inputs of one split occur in others.

    Attributes:
        examples: inputs of the split.
        same: those that occur there, up to case and whitespace.
        near: of those that were compared, the others that are near duplicates.
        compared: inputs that were compared word by word.
        complete: whether all candidate pairs were compared; else there may be more near duplicates.
    """

    examples: int
    same: int
    near: int
    compared: int
    complete: bool = True

    def figures(self) -> dict[str, Any]:
        """Return the fields by name, as ``metrics.json`` and ``summary.json`` have them."""
        return dict(vars(self))


def describe_overlap(figures: Mapping[str, Any] | None, there: str = "train") -> list[str]:
    """Return a sentence about inputs of test that occur elsewhere; an empty list where there are none.

    Args:
        figures: of an ``Overlap``; None: not counted.

    >>> describe_overlap(Overlap(200, 2, 112, 200).figures())
    ['Of 200 test inputs, 2 also occur in train, 112 are near duplicates of one there (90% of the words, \
ignoring numbers).']
    """
    if not figures:
        return []
    parts = []
    if figures["same"]:
        parts.append(f"{figures['same']:,} also occur in {there}")
    if figures["near"]:
        of = f" of {figures['compared']:,} that were compared" * (figures["compared"] < figures["examples"])
        least = "" if figures.get("complete", True) else "at least "
        where = "there" if parts else f"in {there}"
        near = f"{least}{figures['near']:,}{of} are near duplicates of one {where}"
        parts.append(f"{near} (90% of the words, ignoring numbers)")
    return [f"Of {figures['examples']:,} test inputs, {', '.join(parts)}."] if parts else []


def count_overlap(inputs: Iterable[str], others: Iterable[str]) -> Overlap:
    """Count the inputs that also occur among others; memory holds eight bytes of each and a few thousand texts.

    >>> count_overlap(["Tim has 3 red apples.", "Is it?", "Why ever not?"], ["tim has 5 red apples.", "is  it?"])
    Overlap(examples=3, same=1, near=1, compared=1, complete=True)
    """
    import numpy as np

    keys = array("Q")
    drawn = nsmallest(MAX_COMPARED, _noting(inputs, keys), key=lambda text: rank_of(text, 0, "overlap"))
    index = _Index(drawn)
    own = np.frombuffer(keys, dtype=np.uint64)
    known = np.unique(own)
    there = np.zeros(len(known), dtype=bool)
    rest = iter(others)
    while known.size and (chunk := list(islice(rest, _CHUNK))):
        for text in chunk:
            index.look_up(text)
        found = np.array([_number(text) for text in chunk], dtype=np.uint64)
        there |= np.isin(known, found)
    same = there[np.searchsorted(known, own)]
    equal = set(known[there].tolist())
    near = sum(_number(text) not in equal for text in index.found())
    return Overlap(len(keys), int(same.sum()), near, index.size, index.budget > 0)


def _noting(texts: Iterable[str], keys: "array[int]") -> Iterator[str]:
    for text in texts:
        keys.append(_number(text))
        yield text


def _number(text: str) -> int:
    return int.from_bytes(input_key(text))


def words_of(text: str) -> frozenset[str]:
    """Return the set of words of a text, case folded, without those that contain a digit.

    >>> sorted(words_of("The 2nd of 3 dogs, THE big one")) == ["big", "dogs", "of", "one", "the"]
    True
    """
    return frozenset(word for word in _WORDS.findall(fold(text)) if not any(map(str.isdigit, word)))


class _Index:
    """Finds the near duplicates of some texts among others.

    Of two sets of which nine tenths are shared, one word at least is among the rarest few of both (prefix filtering,
    Chaudhuri et al. 2006), so only texts are compared that have such a word.

    Attributes:
        size: texts of enough words.
        budget: pairs that may still be compared.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts: dict[frozenset[str], list[str]] = {}
        for text in texts:
            if len(words := words_of(text)) >= FEWEST_WORDS:
                self._texts.setdefault(words, []).append(text)
        self.size = sum(map(len, self._texts.values()))
        self.budget = MAX_PAIRS
        self._sets = list(self._texts)
        self._found: set[int] = set()
        counts = Counter(word for words in self._sets for word in words)
        self._rarity = {word: place for place, word in enumerate(sorted(counts, key=lambda word: (counts[word], word)))}
        self._holders: dict[str, list[int]] = {}
        for number, words in enumerate(self._sets):
            for word in sorted(words, key=self._rarity.__getitem__)[: _prefix(len(words))]:
                self._holders.setdefault(word, []).append(number)

    def look_up(self, text: str) -> None:
        """Mark the texts that are near duplicates of another one."""
        words = words_of(text)
        known = [word for word in words if word in self._rarity]
        first = _prefix(len(words)) - (len(words) - len(known))  # words that are nowhere here are the rarest
        if first <= 0 or self.budget <= 0:
            return
        known.sort(key=self._rarity.__getitem__)
        numbers = {number for word in known[:first] for number in self._holders.get(word, ())} - self._found
        self.budget -= len(numbers)
        for number in numbers:
            mine = self._sets[number]
            shared = len(words & mine)
            if 10 * shared >= TENTHS * (len(words) + len(mine) - shared):
                self._found.add(number)

    def found(self) -> list[str]:
        """Return the texts that have a near duplicate."""
        return [text for number in sorted(self._found) for text in self._texts[self._sets[number]]]


def _prefix(size: int) -> int:
    """Return how many of the rarest words of a set have to be looked up."""
    return size - -(-TENTHS * size // 10) + 1
