"""Settings of a training that cannot stand."""

import pytest

from dsbs.objectives import Finetune
from dsbs.training.settings import Training, TrainSettings


def test_the_defaults_have_no_fault() -> None:
    assert Training().faults() == []


def test_settings_that_came_later_are_no_part_of_a_runs_name_where_they_change_nothing() -> None:
    assert not {"train_sampling_strategy", "adam_beta2", "lr_scheduler_kwargs"} & Training().identity().keys()
    assert Training(train_sampling_strategy="group_by_length").identity()["train_sampling_strategy"]
    assert Training(adam_beta2=0.95).identity()["adam_beta2"] == 0.95


def test_all_faults_are_told_at_once() -> None:
    found = Training(
        max_steps=0, learning_rate=float("nan"), warmup_steps=-1, adam_beta2=1.0, tokens_per_pass=0
    ).faults()
    assert [fault.split("=")[0].removeprefix("training.") for fault in found] == [
        *("max_steps", "learning_rate", "warmup_steps", "adam_beta2", "tokens_per_pass")
    ]


def test_fp16_is_refused_with_the_reason() -> None:
    (fault,) = Training(fp16=True).faults()
    assert "T5's activations exceed 65,504" in fault
    assert "training.bf16=true" in fault


def test_an_unknown_order_of_batches_is_refused() -> None:
    (fault,) = Training(train_sampling_strategy="by_size").faults()
    assert fault == "training.train_sampling_strategy=by_size: expected one of random, group_by_length."


def test_an_8_bit_optimiser_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    (fault,) = Training(optim="adamw_bnb_8bit").faults()
    assert "pip install 'dsbs[8bit]'" in fault


@pytest.mark.parametrize(
    ("asked", "bf16", "says"),
    [
        ("fp16", False, "it is not supported"),
        ("fp8", True, "it is not supported"),
        ("bf16", False, "add training.bf16=true"),
        ("bf16", True, None),
        ("no", True, None),
    ],
)
def test_a_precision_that_accelerate_launch_sets_has_to_be_that_of_the_settings(
    asked: str, bf16: bool, says: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", asked)
    faults = Training(bf16=bf16).faults()
    assert [says in fault for fault in faults if says] == ([True] if says else [])


def test_a_seed_is_a_number_that_all_generators_take() -> None:
    settings = TrainSettings(objective=Finetune(name="finetune"), seed=-1, split_seed=2**32)
    assert [fault.split("=")[0] for fault in settings.faults()] == ["seed", "split_seed"]


def test_deepspeed_is_refused_with_what_there_is_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    (fault,) = Training().faults()
    assert "accelerate launch --use_fsdp --fsdp_version 2" in fault


def test_fsdp_2_is_fine_as_accelerate_launch_sets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_OFFLOAD_PARAMS": "false",
        "FSDP_ACTIVATION_CHECKPOINTING": "false", "FSDP_CPU_RAM_EFFICIENT_LOADING": "true",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    assert Training().faults() == []


def test_what_does_not_go_with_fsdp_is_told_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    monkeypatch.setenv("FSDP_OFFLOAD_PARAMS", "true")
    monkeypatch.setenv("FSDP_ACTIVATION_CHECKPOINTING", "true")
    found = Training(optim="adafactor").faults()
    for fault, word in zip(
        found,
        ("--fsdp_version 2", "FSDP_OFFLOAD_PARAMS", "training.gradient_checkpointing=true", "optim=adafactor"),
        strict=True,
    ):
        assert word in fault
