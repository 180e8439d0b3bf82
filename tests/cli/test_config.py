"""Every YAML under ``conf/`` composes, and its faults are told as a user would want to hear them."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from dsbs.cli.composition import conf_dir
from dsbs.cli.config import GROUPS, ROOTS, collect_faults, register_schemas, to_object
from dsbs.cli.keys import default_values
from dsbs.cli.saved_settings import build_part, build_settings
from dsbs.cli.sweeps import PLUGINS
from dsbs.core.errors import ConfigError, DataError
from dsbs.students import T5Scratch
from dsbs.tasks.triage import TriageTask
from dsbs.training.settings import Training

NAMES = sorted(path.relative_to(conf_dir()).with_suffix("").as_posix() for path in conf_dir().rglob("*.yaml"))
OPTIONS = [name.split("/", 1) for name in NAMES if "/" in name]
# What an option cannot know and the user has to say.
NEEDS = {
    "student/causal": ["student.model=a-folder"],
    "student/pretrained": ["student.model=a-folder"],
    "task/table": ["task.path=rows.csv", "prompt=table"],
    "teacher/recorded": ["teacher.path=a-folder"],
    "teacher/openai": ["teacher.model=a-model"],
    "objective/distill": ["labels=teacher"],
    "objective/respond": ["labels=teacher"],
    "objective/context": ["objective.teacher_input='Say: {input}'"],
    "objective/gkd": ["objective.teacher_model=a-folder"],
    "objective/minillm": ["objective.teacher_model=a-folder"],
    "student/logreg": ["objective=finetune"],
    "student/embedding": ["objective=finetune"],
    "student/encoder": ["objective=finetune"],
}


def build(command: str, *overrides: str) -> Any:
    register_schemas()
    with initialize_config_dir(str(conf_dir()), version_base=None):
        return to_object(compose(command, list(overrides)))


def faults_of(settings: Any) -> list[str]:
    return collect_faults(settings) + (settings.faults() if hasattr(settings, "faults") else [])


@pytest.mark.parametrize("command", ROOTS)
def test_every_command_composes_with_its_defaults(command: str) -> None:
    required = [f"{key}=a" for key, value in default_values(ROOTS[command]).items() if value == "???"]
    required += {"defer": ["accuracy=0.9"], "serve": ["checkpoint=a"]}.get(command, [])
    settings = build(command, *required)
    assert type(settings) is ROOTS[command]
    assert faults_of(settings) == []


def test_every_command_has_a_root_file() -> None:
    assert {name for name in NAMES if "/" not in name} == {*ROOTS, "common"}


@pytest.mark.parametrize(("group", "option"), OPTIONS)
def test_every_option_composes_and_has_no_fault(group: str, option: str) -> None:
    if plugin := PLUGINS.get(f"{group}/{option}"):
        pytest.importorskip(f"hydra_plugins.{plugin[0]}", reason=f"{group}={option} needs an extra")
    command = "extract" if group in ("filter", "executor") else "train"
    overrides = [f"{group}={option}", *NEEDS.get(f"{group}/{option}", [])]
    settings = build(command, *overrides)
    assert faults_of(settings) == []
    part = getattr(settings, group, None)
    if group in GROUPS or group == "filter":
        assert part.name == option
    if group in GROUPS:
        assert type(part) is GROUPS[group][part.kind]
    if group == "task" and option in ("svamp", "cqa", "esnli", "anli1", "asdiv", "triage"):
        assert settings.prompt.name == option
        assert settings.prompt.exemplars
    if option.startswith("paper/") and option != "paper/base":
        check_that_it_is_the_papers(settings, option.removeprefix("paper/"))


def check_that_it_is_the_papers(settings: Any, benchmark: str) -> None:
    assert (settings.task.name, settings.student.name) == (benchmark, "t5_v1_1_base")
    assert (settings.objective.prefix_on, settings.decoding) == ("input", "generate")
    assert (settings.training.per_device_train_batch_size, settings.training.learning_rate) == (64, 5e-5)
    assert (settings.training.max_steps, settings.training.eval_steps) == (10000, 250)
    assert (settings.student.max_input_tokens, settings.student.max_new_tokens) == (1024, 64)
    assert (settings.training.lr_scheduler_type, settings.training.warmup_steps) == ("linear", 0)
    assert (settings.task.reading, settings.task.validation_fraction, settings.also_measure) == (
        "paper",
        True,
        ["last"],
    )


@pytest.mark.parametrize("search", ["experiment=equal_search", "search=optuna", "search=optuna_rate"])
def test_no_search_reads_the_test_split(search: str) -> None:
    if search.startswith("search"):
        pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra optuna")
    assert build("train", search).test is False


def test_what_a_search_chose_is_taken_and_what_is_typed_wins() -> None:
    assert build("train").student.dropout_rate == 0.2
    assert build("train", "objective=finetune").student.dropout_rate == 0.0
    assert build("train", "student.dropout_rate=0.1", "objective.alpha=0.4").objective.alpha == 0.4


def test_one_half_is_the_papers_lambda_of_one() -> None:
    objective = build("train", "student=t5_small").objective
    assert (objective.name, objective.alpha, objective.prefix_on) == ("step_by_step", 0.5, "target")


def test_what_hydra_hands_over_is_the_dataclasses_themselves() -> None:
    settings = build("train", "student.d_model=64", "task.train=100", "data_fraction=1/8", "rationales=null")
    assert type(settings.student) is T5Scratch
    assert settings.student.d_model == 64
    assert type(settings.task) is TriageTask
    assert settings.data_fraction == "1/8"
    again = OmegaConf.to_yaml(OmegaConf.structured(settings))
    assert "d_model: 64" in again


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("+task.nme=1", r"task\.nme: there is no such key\. Did you mean task\.name\?"),
        ("+training.learning_rat=1", r"Did you mean training\.learning_rate\?"),
        ("+sed=1", r"sed: there is no such key\. Did you mean seed\?"),
        ("+qqqq=1", r"qqqq: there is no such key\. Known keys: task, teacher"),
    ],
)
def test_a_key_that_was_added_by_force_is_told_with_the_nearest(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        build("train", override)


def test_a_value_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"student\.model is not given: add student\.model="):
        build("train", "student=pretrained")


def test_all_faults_of_all_parts_are_told_at_once_and_each_once() -> None:
    settings = build(
        "train", "task.products=7", "objective.alpha=2", "student.d_model=0", "training.max_steps=0",
        "labels=silver", "data_fraction=2", "decoding=guess", "tracking.mode=on", "without_annotation=maybe",
    )  # fmt: skip
    faults = faults_of(settings)
    keys = [
        "task.products", "objective.alpha", "student.d_model", "training.max_steps", "labels", "data_fraction",
        "decoding", "tracking.mode", "without_annotation",
    ]  # fmt: skip
    assert sorted(fault.split("=")[0] for fault in faults) == sorted(keys)


def test_the_kind_of_a_part_follows_from_the_option() -> None:
    [fault] = collect_faults(build("train", "task.kind=table"))
    assert "task.kind=table: choose with task=<option>" in fault


@pytest.mark.parametrize(("command", "name"), [("extract", "filter"), ("train", "gate")])
def test_what_goes_by_gold_labels_goes_without_labels_of_the_teacher(command: str, name: str) -> None:
    [fault] = collect_faults(build(command, f"{name}=gold", "labels=teacher"))
    assert "it needs the gold labels that such a run does not use" in fault
    assert collect_faults(build(command, f"{name}=gold")) == []


def test_training_settings_out_of_range_are_clear_messages() -> None:
    told = {
        "validation.limit=0": "expected at least 1",
        "training.learning_rate=nan": "expected above 0",
        "training.warmup_steps=-1": "expected 0 or more",
        "training.early_stopping_patience=0": "expected at least 1, or null for never",
        "training.threads=0": "expected at least 1, or null for torch's default",
        "training.eval_steps=0": "expected at least 1",
        "training.max_grad_norm=nan": "expected",
    }
    faults = dict(fault.split(": ", 1) for fault in faults_of(build("train", *told)))
    assert faults.keys() == told.keys()
    assert all(faults[key].startswith(says) for key, says in told.items()), faults
    assert Training(learning_rate=0.0).faults()


def test_a_part_is_read_back_from_a_file_as_what_it_was() -> None:
    task = TriageTask(name="triage", train=7)
    assert build_part("task", dataclasses.asdict(task), "config.json") == task


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "nosuch"}, "expected one of"),
        ({"kind": "triage", "train": "many"}, "many"),
        ({"kind": "triage", "nosuch": 1}, "nosuch"),
        ({"kind": "triage", "name": "${oc.env:HOME}"}, "expected plain keys and values"),
        ([], "expected one of"),
    ],
)
def test_a_file_that_says_something_else_builds_nothing(values: Any, says: str) -> None:
    with pytest.raises(DataError, match=says):
        build_part("task", values, "config.json")


def test_a_root_is_read_back_whole() -> None:
    with pytest.raises(DataError, match="expected plain keys and values"):
        build_settings(T5Scratch, None, "config.json")


def test_the_configs_are_found_whatever_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert (conf_dir() / "train.yaml").is_file()
