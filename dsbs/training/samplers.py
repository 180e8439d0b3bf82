"""The order of examples: batches of similar length, and the share of each process."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import BatchSampler, DataLoader, Sampler
from transformers import TrainingArguments

POOL = 50  # batches sorted together: enough to reduce padding, few enough for other batches in each epoch
GROUP = 10  # batches of a pool with targets of similar length; within a group, rows are sorted by input


class LengthGroups(Sampler[int]):
    """Yields every position once per epoch, in batches with inputs and targets of similar length.

    Positions are drawn into random pools, sorted there and cut into batches, which come in random order. The remainder
    is the last, smaller batch. (``transformers.LengthGroupedSampler`` knows one length only, and yields each pool from
    long to short.)

    Args:
        lengths: tokens of inputs and of targets [2, N].
        seed: with the number of the epoch, it decides the order.
    """

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        self.read, self.written = lengths
        self.batch_size, self.seed = batch_size, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the next epoch; accelerate calls it."""
        self.epoch = epoch

    def __len__(self) -> int:
        return len(self.read)

    def __iter__(self) -> Iterator[int]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self))
        whole = len(order) - len(order) % self.batch_size
        pools = np.split(order[:whole], range(POOL * self.batch_size, whole, POOL * self.batch_size))
        batches = np.concatenate([self._sort(pool) for pool in pools]).reshape(-1, self.batch_size)
        yield from rng.permutation(batches).ravel().tolist()
        yield from order[whole:].tolist()

    def _sort(self, pool: np.ndarray) -> np.ndarray:
        ranks = self.written[pool].argsort(kind="stable").argsort(kind="stable")
        return pool[np.lexsort((self.read[pool], ranks // (GROUP * self.batch_size)))]


class ProcessBatches(BatchSampler):
    """Yields one process's share of each batch.

    All processes together see every example once per epoch. A smaller last batch is shared as evenly as possible; some
    processes may get none of it. (accelerate would repeat examples there, so that the step would differ from that of a
    single process.)

    Args:
        sampler: yields the same positions in all processes.
        batch_size: examples per batch, over all processes.
    """

    def __init__(self, sampler: Sampler[int], batch_size: int, rank: int, processes: int) -> None:
        super().__init__(sampler, batch_size, drop_last=False)
        self.rank, self.processes = rank, processes

    def __iter__(self) -> Iterator[list[int]]:
        for batch in super().__iter__():
            yield np.array_split(np.array(batch), self.processes)[self.rank].tolist()


def load_in_one_process(rows: Any, batches: BatchSampler, collate: Any, args: TrainingArguments) -> Any:
    """Return a loader of batches that are already this process's share; accelerate would split them once more."""
    loader: DataLoader[Any] = DataLoader(
        rows, batch_sampler=batches, collate_fn=collate, pin_memory=args.dataloader_pin_memory
    )
    return prepare_data_loader(
        loader, args.device, num_processes=1, process_index=0, put_on_device=True, rng_types=["generator"],
        use_seedable_sampler=True, data_seed=args.data_seed,
    )  # fmt: skip
