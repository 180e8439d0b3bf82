"""Settings of a training that cannot stand."""

import importlib.util

import pytest

from dsbs.training import Training


def test_the_defaults_have_no_fault() -> None:
    assert Training().faults() == []


def test_all_faults_are_told_at_once() -> None:
    found = Training(max_steps=0, learning_rate=float("nan"), warmup_steps=-1, tokens_per_pass=0).faults()
    assert [fault.split("=")[0] for fault in found] == [
        *("training.max_steps", "training.learning_rate", "training.warmup_steps", "training.tokens_per_pass")
    ]


def test_fp16_is_refused_with_the_reason() -> None:
    (fault,) = Training(fp16=True).faults()
    assert "T5's activations exceed 65,504" in fault
    assert "training.bf16=true" in fault


def test_an_unknown_order_of_batches_is_refused() -> None:
    (fault,) = Training(train_sampling_strategy="by_size").faults()
    assert fault == "training.train_sampling_strategy=by_size: expected one of random, group_by_length."


@pytest.mark.skipif(importlib.util.find_spec("bitsandbytes") is not None, reason="the package is there")
def test_an_8_bit_optimiser_names_its_extra() -> None:
    (fault,) = Training(optim="adamw_bnb_8bit").faults()
    assert "pip install 'dsbs[8bit]'" in fault


@pytest.mark.parametrize("name", ["FSDP", "DEEPSPEED"])
def test_a_student_that_would_be_cut_up_over_processes_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{name}", "true")
    (fault,) = Training().faults()
    assert f"ACCELERATE_USE_{name} is set" in fault
