"""What happens to a training, and what is left of it: SIGTERM, a full disk, broken checkpoints."""

import os
import resource
import shutil
import signal
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from tiny import tiny_t5
from training.test_trainer import trainer_on
from transformers import TrainerCallback

from dsbs.core.errors import RunError, Terminated
from dsbs.training.checkpointing import is_complete, last_checkpoint
from dsbs.training.disk import writing
from dsbs.training.trainer import DistillationTrainer


class At(TrainerCallback):
    """Does something when a step begins."""

    def __init__(self, step: int, act: Any) -> None:
        self.step, self.act = step, act

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.step - 1:
            self.act()


def weights(trainer: Any) -> list[torch.Tensor]:
    return [weight.detach().clone() for weight in trainer.student.parameters()]


def test_sigterm_saves_the_step_under_way_and_the_resumed_run_ends_as_if_nothing_had_been(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    whole = trainer_on(tmp_path / "whole", eval_steps=4)
    whole.train()
    stopped = trainer_on(tmp_path / "cut", eval_steps=4)
    stopped.add_callback(At(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Terminated, match="by SIGTERM, with a checkpoint of step 3 of 6"):
        stopped.train()
    assert signal.getsignal(signal.SIGTERM) == before
    checkpoint = last_checkpoint(tmp_path / "cut")
    assert checkpoint == str(tmp_path / "cut" / "checkpoint-3")
    again = trainer_on(tmp_path / "cut", eval_steps=4)
    again.train(checkpoint)
    assert again.account()["target_tokens"] == whole.account()["target_tokens"]
    assert again.state.global_step == 6
    for ours, theirs in zip(weights(again), weights(whole), strict=True):
        assert torch.equal(ours, theirs)


def test_ctrl_c_saves_the_step_under_way_too_and_a_second_one_stops_at_once(tmp_path: Path) -> None:
    stopped = trainer_on(tmp_path / "once", eval_steps=4)
    stopped.add_callback(At(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(Terminated, match="by SIGINT, with a checkpoint of step 3 of 6") as told:
        stopped.train()
    assert told.value.number == signal.SIGINT
    assert last_checkpoint(tmp_path / "once") == str(tmp_path / "once" / "checkpoint-3")
    impatient = trainer_on(tmp_path / "twice", eval_steps=4)
    for _ in range(2):
        impatient.add_callback(At(3, lambda: os.kill(os.getpid(), signal.SIGINT)))
    with pytest.raises(KeyboardInterrupt) as bare:
        impatient.train()
    assert not isinstance(bare.value, Terminated)
    assert last_checkpoint(tmp_path / "twice") is None


def ended(folder: Path) -> None:
    """Train to the end; the best checkpoint is that of step 3."""
    trainer = trainer_on(folder, [0.1, 0.2, 0.9, 0.4, 0.5, 0.6])
    trainer.train()
    assert trainer.account()["best_step"] == 3


def test_a_run_that_was_moved_finds_its_best_checkpoint(tmp_path: Path) -> None:
    ended(tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    moved = trainer_on(tmp_path / "there")
    moved.train(last_checkpoint(tmp_path / "there"))
    best = load_file(tmp_path / "there" / "checkpoint-3" / "model.safetensors")
    assert torch.equal(moved.student.model.shared.weight, best["shared.weight"])


@pytest.mark.parametrize("broken", [True, False], ids=["broken", "gone"])
def test_a_run_without_its_best_checkpoint_says_so(broken: bool, tmp_path: Path) -> None:
    ended(tmp_path / "checkpoints")
    best = tmp_path / "checkpoints" / "checkpoint-3"
    if broken:
        weights = best / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:1000])
    else:
        shutil.rmtree(best)
    with pytest.raises(RunError, match=r"checkpoint-3: the best checkpoint is missing or corrupt.*Delete") as told:
        trainer_on(tmp_path / "checkpoints").train(last_checkpoint(tmp_path / "checkpoints"))
    assert f"Delete {tmp_path}, and" in str(told.value)


def test_what_tokenizers_raises_over_a_full_disk_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"the student cannot be written .No space left on device"):  # noqa: SIM117
        with writing("the student", tmp_path):
            raise Exception("No space left on device (os error 28)")
    with pytest.raises(Exception, match="another"):  # noqa: SIM117
        with writing("the student", tmp_path):
            raise Exception("another matter")


def test_an_optimiser_with_8_bits_goes_on_from_its_moments(tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")

    def trainer(name: str) -> DistillationTrainer:
        return trainer_on(tmp_path / name, student=tiny_t5(d_ff=128), optim="adamw_bnb_8bit")

    whole = trainer("whole")
    whole.train()
    # Embeddings stay in 32 bits, as bitsandbytes has it, and so do matrices of fewer than 4,096 numbers.
    kinds = {state["state1"].dtype for state in whole.optimizer.state.values()}
    assert kinds == {torch.uint8, torch.float32}
    stopped = trainer("cut")
    stopped.add_callback(At(3, lambda: os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Terminated):
        stopped.train()
    again = trainer("cut")
    again.train(last_checkpoint(tmp_path / "cut"))
    for ours, theirs in zip(weights(again), weights(whole), strict=True):
        assert torch.equal(ours, theirs)


def test_no_checkpoint_is_made_of_weights_that_are_no_numbers(tmp_path: Path) -> None:
    trainer = trainer_on(tmp_path, logging_steps=50)
    trainer.add_callback(At(3, lambda: next(trainer.student.parameters()).data.fill_(float("nan"))))
    with pytest.raises(
        RunError, match=r"The student's weights contain NaN or infinity at step 3\. .*training\.learning_rate"
    ):
        trainer.train()
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


def test_who_listens_to_sigusr2_hears_of_it_after_the_step_is_saved(tmp_path: Path) -> None:
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, frame: heard.append((number, last_checkpoint(tmp_path))))
    listener = signal.getsignal(signal.SIGUSR2)
    try:
        stopped = trainer_on(tmp_path, eval_steps=4)
        stopped.add_callback(At(3, lambda: os.kill(os.getpid(), signal.SIGUSR2)))
        with pytest.raises(Terminated, match="by SIGUSR2, with a checkpoint of step 3 of 6"):
            stopped.train()
        assert signal.getsignal(signal.SIGUSR2) is listener
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [(signal.SIGUSR2, str(tmp_path / "checkpoint-3"))]


@pytest.fixture
def small_files() -> Iterator[Any]:
    """Let no file grow beyond some bytes, as a disk that is full does, from when it is called."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 2_000, 60_000], ids=["nothing", "no weights", "no optimiser"])
def test_a_full_disk_is_told_and_the_checkpoint_before_stays(size: int, tmp_path: Path, small_files: Any) -> None:
    trainer = trainer_on(tmp_path)
    trainer.add_callback(At(3, lambda: small_files(size)))
    with pytest.raises(RunError, match=r"checkpoint-3: the checkpoint of step 3 cannot be written .*Earlier") as told:
        trainer.train()
    small_files(resource.RLIM_INFINITY)
    assert "\n" not in str(told.value)
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")
    assert not (tmp_path / "checkpoint-3").exists()
    again = trainer_on(tmp_path)
    again.train(last_checkpoint(tmp_path))
    assert again.state.global_step == 6


def test_a_place_that_was_closed_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = trainer_on(tmp_path)

    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(trainer.student, "save_training", refuse)
    with pytest.raises(RunError, match=r"cannot be written .*Permission denied.*fix the permissions"):
        trainer.train()


def test_a_broken_last_checkpoint_is_told_and_the_one_before_is_taken(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer_on(tmp_path, [0.5], max_steps=2).train()
    files = ("model.safetensors", "optimizer.pt", "scheduler.pt", "trainer_state.json", "rng_state.pth")
    for file, damage in [*product(files, ("cut", "missing")), ("optimizer.pt", "a byte that turned over")]:
        broken = tmp_path / "checkpoint-2" / file
        content = broken.read_bytes()
        if damage == "missing":
            broken.unlink()
        elif damage == "cut":
            broken.write_bytes(content[: len(content) // 2])
        else:
            place = len(content) // 2
            broken.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        assert not is_complete(broken.parent), (file, damage)
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-1")
        assert "checkpoint-2 is incomplete" in caplog.text
        broken.write_bytes(content)
        caplog.clear()
        assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoint-2")


def test_without_any_whole_checkpoint_the_training_starts_again(tmp_path: Path) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    assert last_checkpoint(tmp_path) is None
    assert last_checkpoint(tmp_path / "nowhere") is None
