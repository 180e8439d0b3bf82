"""Two processes, one run."""

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from forked import in_two_processes, train

from dsbs.core.distributed import count_processes, gather, is_main, main_first

SMALL = [
    "task.products=12", "task.complaints=12", "task.train=64", "task.validation=15", "task.test=17",
    "student.vocab_size=400", "student.d_model=32", "student.d_kv=16", "student.d_ff=32", "student.num_layers=1",
    "student.num_heads=2", "student.dropout_rate=0", "training.max_steps=6", "training.eval_steps=2",
    "training.logging_steps=2", "training.warmup_steps=0", "training.tokens_per_pass=200", "tracking.mode=disabled",
]  # fmt: skip


def test_two_processes_train_and_measure_as_one_with_twice_the_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dsbs: Callable[..., tuple[int, str, str]]
) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    in_two_processes(train, [*SMALL, "training.per_device_train_batch_size=4"], tmp_path / "two")
    out, err = ("".join((tmp_path / "two" / f"{name}{rank}").read_text() for rank in (0, 1)) for name in ("out", "err"))
    monkeypatch.chdir(tmp_path / "one")
    code, own, _ = run_dsbs("train", *SMALL, "training.per_device_train_batch_size=8")
    assert code == 0
    for said in (own, out):
        assert said.count("triage · t5_scratch · step_by_step on 64 examples") == 1
    assert err.count("training: 0 of 6") == 1
    runs = sorted(tmp_path.rglob("metrics.json"))
    assert len({path.parent.name for path in runs}) == 1  # the batch of all processes together names a run
    found = [json.loads(path.read_text(encoding="utf-8")) for path in runs]
    for metrics in found:
        assert (metrics["validation"].pop("examples"), metrics["test"].pop("examples")) == (15, 17)
        for key in ("seconds", "examples_per_second", "milliseconds_per_example", "evaluation_seconds", "history"):
            del metrics[key]
    assert found[0] == found[1]
    rows = [pq.read_table(path.parent / "predictions.parquet").to_pylist() for path in runs]
    for ours, theirs in zip(*rows, strict=True):
        assert (ours["id"], ours["label"]) == (theirs["id"], theirs["label"])
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-3)
    logs = [
        json.loads((path.parent / "checkpoints/checkpoint-6/trainer_state.json").read_text(encoding="utf-8"))
        for path in runs
    ]
    for ours, theirs in zip(*[log["log_history"] for log in logs], strict=True):
        for key in ("loss", "loss_label", "loss_rationale", "target_tokens", "eval_accuracy"):
            assert ours.get(key) == pytest.approx(theirs.get(key), abs=1e-3)


def test_one_process_is_the_main_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")  # as some schedulers set it; no LOCAL_RANK: nobody launched processes
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert (count_processes(), is_main(), main_first(lambda: 3), gather([1, 2])) == (1, True, 3, [1, 2])
