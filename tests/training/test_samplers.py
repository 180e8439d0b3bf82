"""The order of the examples."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny import tiny_t5
from torch.utils.data import SequentialSampler
from training.test_tokenized import texts
from training.test_trainer import trainer_on

from dsbs.students.collator import Row
from dsbs.training import tokenized as rows
from dsbs.training.samplers import LengthGroups, ProcessBatches
from dsbs.training.tokenized import prepare_rows


def lengths(count: int) -> np.ndarray:
    return np.random.default_rng(0).integers(5, 80, size=(2, count))


def padded(order: list[int], sizes: np.ndarray, batch: int) -> int:
    """Tokens of inputs and targets, each batch padded to its longest."""
    return sum(
        int(sizes[:, order[start : start + batch]].max(1).sum()) * batch
        for start in range(0, len(order) - batch + 1, batch)
    )


@pytest.mark.parametrize("count", [3, 20, 203, 2000])
def test_every_example_comes_once_an_epoch_in_another_order_each(count: int) -> None:
    sampler = LengthGroups(lengths(count), batch_size=8, seed=1)
    first = list(sampler)
    assert sorted(first) == list(range(count)) == list(range(len(sampler)))
    sampler.set_epoch(1)
    second = list(sampler)
    assert sorted(second) == sorted(first)
    assert second != first
    again = LengthGroups(lengths(count), batch_size=8, seed=1)
    again.set_epoch(1)
    assert list(again) == second  # so a resumed run goes on where it was


def test_the_batches_are_mostly_tokens_and_come_in_any_order() -> None:
    sizes = lengths(3200)
    order = list(LengthGroups(sizes, batch_size=32, seed=0))
    at_random = np.random.default_rng(0).permutation(3200).tolist()
    tokens = int(sizes.sum())
    assert padded(order, sizes, 32) < 1.25 * tokens < 1.7 * tokens < padded(at_random, sizes, 32)
    means = sizes.sum(0)[order].reshape(-1, 32).mean(1)
    assert abs(np.corrcoef(means[1:], means[:-1])[0, 1]) < 0.35  # neither rising nor falling through an epoch


def test_lengths_are_read_from_the_file_of_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "CHUNK", 4)
    found = prepare_rows(tiny_t5(), list(texts()), 25, 64, 64, tmp_path)

    def count(row: Row) -> tuple[int, int]:
        return sum(map(len, row.inputs.values())), sum(len(target[2]) for target in row.targets)

    assert found.lengths().T.tolist() == [[*count(found[place])] for place in range(25)]


def test_a_training_takes_its_batches_so(tmp_path: Path) -> None:
    def order(strategy: str) -> list[Any]:
        trainer = trainer_on(tmp_path / strategy, train_sampling_strategy=strategy)
        student = trainer.student
        trainer.train_dataset = trainer.rows = prepare_rows(student, list(texts(40)), 40, 64, 64, tmp_path)
        seen: list[Any] = []
        collate = trainer.collate
        trainer.collate = lambda batch: seen.append([len(row.inputs["shared"]) for row in batch]) or collate(batch)  # type: ignore[func-returns-value]
        trainer.train()
        return seen

    def spread(batches: list[Any]) -> int:
        return sum(max(batch) - min(batch) for batch in batches)

    assert spread(order("group_by_length")) < spread(order("random"))


@pytest.mark.parametrize(("count", "processes"), [(360, 2), (33, 2), (64, 4), (35, 4)])
def test_processes_share_every_batch_and_no_example_is_seen_twice(count: int, processes: int) -> None:
    parts = [list(ProcessBatches(SequentialSampler(range(count)), 32, rank, processes)) for rank in range(processes)]
    for step, batches in enumerate(zip(*parts, strict=True)):
        assert [place for batch in batches for place in batch] == list(range(count))[step * 32 : (step + 1) * 32]
        sizes = [len(batch) for batch in batches]
        assert max(sizes) - min(sizes) <= 1
    assert len(ProcessBatches(SequentialSampler(range(count)), 32, 0, processes)) == len(parts[0])
