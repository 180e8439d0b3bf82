"""Which examples a run uses. Subsets of one seed are nested: those at 1/8 are among those at 1/4."""

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.terminal import log_once
from dsbs.core.units import pluralize
from dsbs.tasks.base import Task
from dsbs.tasks.equal_inputs import first_id, input_key


def parse_fraction(value: float | str) -> float:
    """Return a share of the data, ``0 < f <= 1``, also written as a fraction.

    Raises:
        ConfigError: for anything else.

    >>> parse_fraction("1/8"), parse_fraction(0.25), parse_fraction("1")
    (0.125, 0.25, 1.0)
    """
    try:
        fraction = float(Fraction(str(value).strip()))
    except (ValueError, ZeroDivisionError, OverflowError):
        fraction = math.nan
    if not 0 < fraction <= 1:
        raise ConfigError(f"data_fraction={value}: expected a share above 0 and up to 1, such as 0.125 or 1/8.")
    return fraction


def rank_of(id: str, seed: int, purpose: str) -> bytes:
    """Return a sort key of an id: a random order that depends on seed and purpose, not on the other ids."""
    return hashlib.blake2b(f"{purpose}\0{seed}\0{id}".encode(), digest_size=8).digest()


def sample_ids(ids: Iterable[str], count: int, seed: int, purpose: str = "fraction") -> set[str]:
    """Draw ``count`` ids, or all; a smaller draw of the same seed and purpose is a subset of a larger one."""
    return set(sorted(ids, key=lambda id: rank_of(id, seed, purpose))[:count])


def sample_fraction(ids: Iterable[str], fraction: float, seed: int) -> set[str]:
    """Draw a share of the ids, at least one.

    >>> ids = [str(i) for i in range(80)]
    >>> eighth, quarter = sample_fraction(ids, 1 / 8, seed=0), sample_fraction(ids, 1 / 4, seed=0)
    >>> len(eighth), len(quarter), eighth < quarter
    (10, 20, True)
    """
    ids = list(ids)
    return sample_ids(ids, max(1, round(fraction * len(ids))) if ids else 0, seed)


def cut_validation(inputs: Mapping[str, bytes], share: float, split_seed: int) -> set[str]:
    """Draw the ids that become the validation split where the source has none; the same at every fraction.

    Examples of equal input stay on one side, unless all inputs are equal.

    Args:
        inputs: id -> a key that equal inputs share (``dsbs.tasks.equal_inputs.input_key``).

    >>> inputs = {"1": b"a", "2": b"b", "3": b"a", "4": b"c", "5": b"d"}
    >>> [sorted(cut_validation(inputs, 0.4, seed)) for seed in (0, 1, 2)]
    [['4', '5'], ['1', '3'], ['1', '3']]
    """
    groups: dict[bytes, list[str]] = {}
    for id, key in inputs.items():
        groups.setdefault(key, []).append(id)
    wanted, cut = round(share * len(inputs)), set[str]()
    if len(groups) == 1:
        return sample_ids(inputs, wanted, split_seed, "validation")
    drawn = sorted(groups, key=lambda key: rank_of(first_id(groups[key]), split_seed, "validation"))
    for key in drawn:
        if len(cut) + len(groups[key]) <= wanted:
            cut.update(groups[key])
    if wanted and not cut:
        cut.update(groups[min(drawn, key=lambda key: len(groups[key]))])  # no group is small enough
    return cut


@dataclass(frozen=True)
class Selection:
    """Which examples a training run uses.

    Attributes:
        train: ids of the train split to learn from.
        validation: ids to validate on.
        validation_split: the source's split that holds them: ``validation``, or ``train`` where they were cut off.
    """

    train: frozenset[str]
    validation: frozenset[str]
    validation_split: str

    def by_split(self, with_validation: bool) -> dict[str, frozenset[str]]:
        """Return split of the source -> the ids to annotate.

        Args:
            with_validation: whether validation is annotated, too (``labels=teacher`` or ``mixed``).
        """
        ids = {"train": self.train}
        if with_validation:
            ids[self.validation_split] = ids.get(self.validation_split, frozenset()) | self.validation
        return ids


def default_splits(task: Task) -> list[str]:
    """Return the splits that are annotated by default: those of train and test that exist, or else all."""
    there = task.splits()
    return [split for split in ("train", "test") if split in there] or [*there]


def select(task: Task, fraction: float, seed: int, split_seed: int) -> Selection:
    """Choose the examples of a run: validation by ``split_seed``, the same at every fraction, train by ``seed``.

    Args:
        fraction: share of train; of validation, too, where the task says so (``validation_fraction``).

    Raises:
        DataError: where the source has no train split or too few examples.
    """
    splits = task.splits()
    if "train" not in splits:
        raise DataError(f"task={task.name}: the data has no train split; it has {', '.join(splits) or 'none'}.")
    if "validation" in splits:
        validation_split = "validation"
        train = [example.id for example in task.examples("train")]
        validation = {example.id for example in task.examples("validation")}
    else:
        validation_split = "train"
        inputs = {example.id: input_key(example.input) for example in task.examples("train")}
        different = len({*inputs.values()})
        if repeated := len(inputs) - different if different > 1 else 0:
            other = _count_other_labels(task, inputs)
            log_once(
                f"{pluralize(repeated, 'row')} of train with the input of another row"
                f"{f', {other:,} of them with another label' if other else ''}; rows with equal inputs stay on "
                "the same side of the split into train and validation."
            )
        validation = cut_validation(inputs, task.validation_share, split_seed)
        train = [id for id in inputs if id not in validation]
    if not train or not validation:
        both = len(train) + len(validation)
        advice = "Give more rows."
        if both > 1 and validation_split == "train":
            advice = f"task.validation_share={math.ceil(100 / both) / 100:g} splits one off train."
        raise DataError(
            f"task={task.name}: {len(train)} examples to train on and {len(validation)} to validate on; at least one "
            f"of each is needed. {advice}"
        )
    if task.validation_fraction:
        validation = sample_fraction(validation, fraction, split_seed)
    return Selection(frozenset(sample_fraction(train, fraction, seed)), frozenset(validation), validation_split)


def _count_other_labels(task: Task, inputs: Mapping[str, bytes]) -> int:
    """Return how many examples of train have another label than the first one of equal input."""
    counts = Counter(inputs.values())
    first: dict[bytes, str] = {}
    labelled = (example for example in task.examples("train") if counts[inputs[example.id]] > 1 and example.label)
    return sum(first.setdefault(inputs[example.id], example.label or "") != example.label for example in labelled)
