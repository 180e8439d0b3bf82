"""In which order examples are seen: at random, or in batches of about equal length; and which process sees which."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import BatchSampler, DataLoader, Sampler
from transformers import TrainingArguments

POOL = 50  # batches that are sorted together: enough for little padding, few enough for batches that differ by epoch
GROUP = 10  # batches of a pool that have targets of about equal length; they are sorted by input


class LengthGroups(Sampler[int]):
    """Yields all positions once an epoch, so that those of a batch have inputs and targets of about equal length.

    Examples are drawn into pools at random, sorted there, and cut into batches; the batches come in random order, so
    that long and short ones follow each other by chance. What is left over makes the last, smaller batch.
    (``transformers.LengthGroupedSampler`` knows one length, and goes through each pool from long to short.)

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


class ProcessBatches(BatchSampler):
    """Yields the part of each batch that one of several processes takes.

    All processes together see every example once an epoch. The last batch, which may be smaller, is shared out as
    evenly as it can be; there may be nothing in it for some of them. (accelerate's way repeats examples there, so that
    the step would not be that of one process.)

    Args:
        sampler: yields positions, the same in all processes.
        batch_size: examples of a batch, over all processes.
        rank: the number of this process.
        processes: how many there are.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, rank: int, processes: int) -> None:
        super().__init__(sampler, batch_size, drop_last=False)
        self.rank, self.processes = rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield np.array_split(np.array(batch), self.processes)[self.rank].tolist()


def load_in_one_process(rows: Any, batches: BatchSampler, collate: Any, args: TrainingArguments) -> Any:
    """Return the loader of batches that are those of this process already; accelerate would cut them up once more."""
    loader: DataLoader[Any] = DataLoader(
        rows, batch_sampler=batches, collate_fn=collate, pin_memory=args.dataloader_pin_memory
    )
    return prepare_data_loader(
        loader, args.device, num_processes=1, process_index=0, put_on_device=True, rng_types=["generator"],
        use_seedable_sampler=True, data_seed=args.data_seed,
    )  # fmt: skip
