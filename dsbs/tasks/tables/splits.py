"""The names of splits: train, validation and test, and the other words for them."""

import re
from collections.abc import Iterable

# Words for each split, its own name first.
WORDS = {
    "train": ["train", "training", "trainset"],
    "validation": ["validation", "valid", "val", "dev", "eval", "evaluation", "development",
                   "validset", "valset", "devset"],
    "test": ["test", "testing", "testset"],
}  # fmt: skip
SPLITS = tuple(WORDS)
SPLIT_WORDS = {word: split for split, words in WORDS.items() for word in words}


def split_of(name: str) -> str | None:
    """Return the split that a name (of a file, folder or split) contains; the last such word counts. None: none.

    >>> split_of("svamp_valid.json"), split_of("train-00000-of-00002.parquet"), split_of("latest.csv")
    ('validation', 'train', None)
    """
    words = [word for word in re.split(r"[^a-z]+", name.lower()) if word in SPLIT_WORDS]
    return SPLIT_WORDS[words[-1]] if words else None


def choose_names(names: Iterable[str]) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return split -> its name, and split -> candidates where several might be.

    The split's own name wins, else the only name that is a word for it, else the only one that contains such a word.

    >>> choose_names(["train", "train_extra", "dev_r1", "dev_r2"])
    ({'train': 'train'}, {'validation': ['dev_r1', 'dev_r2']})
    """
    found: dict[str, list[str]] = {}
    for name in sorted(names):
        if split := split_of(name):
            found.setdefault(split, []).append(name)
    chosen, unclear = {}, {}
    for split, candidates in found.items():
        plain = [name for name in candidates if name.lower() in SPLIT_WORDS]
        own = [name for name in candidates if name.lower() == split]
        best = next((names for names in (own, plain, candidates) if len(names) == 1), None)
        if best is None:
            unclear[split] = candidates
        else:
            chosen[split] = best[0]
    return chosen, unclear
