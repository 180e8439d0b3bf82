"""In which order examples are seen: at random, or at random in batches of about equal length."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

POOL = 50  # batches that are sorted together: enough for little padding, few enough for batches that differ by epoch
GROUP = 10  # batches of a pool that have targets of about equal length; they are sorted by input


class LengthGroups(Sampler[int]):
    """Yields all positions once an epoch, so that those of a batch have inputs and targets of about equal length.

    Examples are drawn into pools at random, sorted there, and cut into batches; the batches come in random order, so
    that long and short ones follow each other by chance. What is left over makes the last, smaller batch.

    Args:
        lengths: tokens of inputs and of targets [2, N].
        batch_size: examples of a batch.
        seed: of all that is drawn; an epoch's order depends on nothing else.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.read, self.written = lengths
        self.batch_size, self.seed = batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch comes; accelerate does."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.read)

    def __iter__(self) -> Iterator[int]:
        draw = np.random.default_rng([self.seed, self.epoch])
        order = draw.permutation(len(self))
        whole = len(order) - len(order) % self.batch_size
        pools = np.split(order[:whole], range(POOL * self.batch_size, whole, POOL * self.batch_size))
        batches = np.concatenate([self._sort(pool) for pool in pools]).reshape(-1, self.batch_size)
        yield from draw.permutation(batches).ravel().tolist()
        yield from order[whole:].tolist()

    def _sort(self, pool: np.ndarray) -> np.ndarray:
        ranks = self.written[pool].argsort(kind="stable").argsort(kind="stable")
        return pool[np.lexsort((self.read[pool], ranks // (GROUP * self.batch_size)))]
