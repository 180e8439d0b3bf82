"""FSDP: a student that two processes share, each holding half of it."""

import json
from pathlib import Path
from typing import Any

import gradients
import pyarrow.parquet as pq
import pytest
import sharded
import torch
from forked import in_two_processes
from safetensors.torch import load_file
from tiny import tiny_t5
from trained import train_tiny
from training.test_trainer import assert_same_step

from dsbs.core.errors import ConfigError
from dsbs.students.loading import load_student
from dsbs.training import fsdp as sharding


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What two processes that share a student leave behind."""
    folder = tmp_path_factory.mktemp("sharded")
    train_tiny(folder)  # asks the teacher; beside it lie the runs of the two
    in_two_processes(sharded.work, folder)
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[Path]:
    """The run that was trained at one go, and the same one, trained from its first checkpoint."""
    (again,) = (
        path.parent
        for path in (folder / "outputs").rglob("metrics.json")
        if list(path.parent.glob("checkpoints/*/rng_state_1.pth"))
    )
    return [folder / "uninterrupted", again]


@pytest.mark.parametrize("name", [name for name in sharded.STEPS if name != "bf16"])
def test_a_batch_of_32_is_two_halves_of_a_student_with_16_each(folder: Path, tmp_path: Path, name: str) -> None:
    one = gradients.step(tmp_path, 32, 1, **sharded.STEPS[name][1])
    assert_same_step(one, torch.load(folder / f"{name}.pt"))


def test_bf16_computes_layers_in_it_and_adds_gradients_up_in_fp32(folder: Path, tmp_path: Path) -> None:
    one, two = gradients.step(tmp_path, 32, 1)["gradients"], torch.load(folder / "bf16.pt")
    assert two["dtypes"] == [torch.bfloat16, torch.float32]
    for name, gradient in two["gradients"].items():
        assert gradient.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(gradient.flatten(), one[name].flatten(), dim=0) > 0.99


def test_a_layer_that_the_student_does_not_have_cannot_be_cut_up() -> None:
    sharding.check_layers(tiny_t5("target"), " T5Block,")
    with pytest.raises(ConfigError, match=r"no layer of the student is a BertLayer\..* are: T5Block"):
        sharding.check_layers(tiny_t5("target"), "BertLayer,T5Block")


def test_each_process_holds_half_of_the_weights_which_are_gathered_layer_by_layer(folder: Path) -> None:
    found = torch.load(folder / "plain.pt")
    weights = sum(gradient.numel() for gradient in found["gradients"].values())
    assert found["held"] == pytest.approx(weights / 2, rel=0.05)
    assert found["layers"] == ["FSDPSeq2SeqModel", "FSDPT5Block", "FSDPT5Block"]


def test_a_resumed_run_ends_as_if_nothing_had_been(runs: list[Path]) -> None:
    found: list[dict[str, Any]] = [json.loads((run / "metrics.json").read_text(encoding="utf-8")) for run in runs]
    for metrics in found:
        for key in ("seconds", "examples_per_second", "milliseconds_per_example", "evaluation_seconds", "history"):
            del metrics[key]
    assert found[0] == found[1]
    weights = [load_file(run / "checkpoints/checkpoint-4/model.safetensors") for run in runs]
    for name, weight in weights[0].items():
        torch.testing.assert_close(weights[1][name], weight)
    states = [torch.load(run / "checkpoints/checkpoint-4/optimizer.pt")["state"] for run in runs]
    for number, part in states[0].items():
        torch.testing.assert_close(states[1][number], part)


def test_the_checkpoint_is_whole_and_the_student_in_it_answered(runs: list[Path]) -> None:
    student = load_student(runs[0] / "checkpoint")
    best = json.loads((runs[0] / "metrics.json").read_text(encoding="utf-8"))["best_step"]
    trained = load_file(runs[0] / f"checkpoints/checkpoint-{best}/model.safetensors")
    for name, weight in student.model.state_dict().items():
        assert torch.equal(weight, trained.get(name, weight))
    assert len(pq.read_table(runs[0] / "predictions.parquet")) == 16
