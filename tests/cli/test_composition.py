"""What the user types wins over every preset, whether it is a key or an option of a group."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.default_element import ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import OmegaConf

from dsbs.cli.composition import _log_renamed, composing, conf_dir, find_mode, list_options, rank_defaults
from dsbs.cli.config import PARTS, register_schemas
from dsbs.cli.keys import default_values
from dsbs.cli.sweeps import PLUGINS
from dsbs.training.settings import Training

register_schemas()
GROUPS = {group: options for group, options in list_options("train").items() if group in PARTS}
NAMING = ("task", "student", "objective")  # they choose the file of `tuned`


def composed(*words: str, also: Path | None = None) -> dict[str, Any]:
    with initialize_config_dir(str(conf_dir()), version_base=None):
        search = [f"hydra.searchpath=[file://{also}]"] if also else []
        config = OmegaConf.to_container(compose("train", [*words, *search]), resolve=False)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


def leaves(node: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in node.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def other(value: Any) -> Any:
    """Another value of the same type."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return value + 3
    return "elsewhere" if isinstance(value, str) else value


def written_by(group: str, option: str) -> dict[str, Any]:
    """What the file of an option says itself, with what it inherits from files beside it."""
    file = OmegaConf.to_container(OmegaConf.load(conf_dir() / group / f"{option}.yaml"))
    assert isinstance(file, dict)
    said: dict[str, Any] = {}
    for part in file.pop("defaults", []):
        if isinstance(part, str) and part != "_self_":
            said |= written_by(group, part)
    return said | {str(key): value for key, value in file.items()}


def rounds() -> Iterator[dict[str, str]]:
    """Yield an option for each group, until all have been there that set other keys than those before them."""
    distinct = {
        group: list({frozenset(written_by(group, option)): option for option in options}.values())
        for group, options in GROUPS.items()
    }
    for place in range(max(map(len, distinct.values()))):
        yield {group: options[place % len(options)] for group, options in distinct.items()}


@pytest.mark.parametrize("chosen", rounds(), ids=lambda chosen: "+".join(chosen.values()))
def test_options_that_are_typed_win_over_experiments_and_tuned(chosen: dict[str, str], tmp_path: Path) -> None:
    said = {group: written_by(group, option) for group, option in chosen.items()}
    contrary = {
        group: {key: other(value) for key, value in keys.items() if other(value) != value}
        for group, keys in said.items()
    }
    for folder, name in (("experiment", "mine"), ("tuned", "all")):
        (tmp_path / folder).mkdir()
        text = f"# @package _global_\n{OmegaConf.to_yaml(OmegaConf.create(contrary))}"
        (tmp_path / folder / f"{name}.yaml").write_text(text, encoding="utf-8")
    words = [f"{group}={option}" for group, option in chosen.items()]
    typed = composed(*words, "experiment=mine", "tuned=all", also=tmp_path)
    for group, keys in contrary.items():
        assert {key: typed[group][key] for key in keys} == {key: said[group][key] for key in keys}


def test_a_training_preset_is_taken_whole_and_not_half_of_what_was_tuned_with_another() -> None:
    for option, rate, batch in (("gpu", 3e-4, 64), ("paper", 5e-5, 64), ("cpu", 1e-3, 32)):
        typed = composed(f"training={option}", "objective=finetune")["training"]
        assert typed == default_values(Training) | written_by("training", option)
        assert (typed["learning_rate"], typed["per_device_train_batch_size"]) == (rate, batch)


def test_options_that_are_typed_although_they_are_the_usual_ones_change_nothing_that_they_do_not_say() -> None:
    usual = composed()
    assert composed(*(f"{group}={GROUPS[group][0]}" for group in NAMING)) == usual


@pytest.mark.parametrize(
    ("words", "rate"),
    [
        *(([f"student={name}"], 1e-4) for name in ("encoder", "pretrained", "bart_base", "auto")),
        *(([f"student={name}"], 3e-4) for name in ("t5_small", "flan_t5_small")),
        (["student=encoder", "training=gpu"], 3e-4),
        (["student=t5_scratch"], 1e-3),
        (["experiment=paper/svamp"], 5e-5),
        (["experiment=paper/svamp", "student=flan_t5_base"], 5e-5),
    ],
)
def test_a_pretrained_student_has_a_learning_rate_for_its_weights(words: list[str], rate: float) -> None:
    assert composed("objective=finetune", "task=svamp", *words)["training"]["learning_rate"] == rate


def test_an_experiments_choice_of_a_preset_wins_over_tuned_as_well(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\ndefaults: [override /training: gpu]\nseed: 5\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    mine = composed("experiment=mine", "objective=finetune", also=tmp_path)
    assert mine["training"] == default_values(Training) | written_by("training", "gpu")
    assert mine["student"]["dropout_rate"] == 0.0  # of which the preset says nothing
    assert composed("experiment=mine", "training=cpu", also=tmp_path)["training"]["max_steps"] == 4000


@pytest.mark.parametrize("experiment", ["one_eighth", "paper/cqa"])
def test_every_key_that_is_typed_wins(experiment: str) -> None:
    words = [f"experiment={experiment}", "objective=finetune"]
    before = dict(leaves(composed(*words)))
    wanted = {
        key: other(value)
        for key, value in before.items()
        if other(value) != value and not key.endswith(".kind") and value != "???" and not key.startswith("prompt.")
    }
    typed = composed(*words, *(f"{key}={str(value).lower()}" for key, value in wanted.items()))
    assert {key: value for key, value in dict(leaves(typed)).items() if key in wanted} == wanted
    assert len(wanted) > 40


def test_the_order_of_parts_is_hydras_but_for_what_was_typed() -> None:
    parts = [
        ResultDefault("schema/training", "training/gpu", "training"),
        ResultDefault("training/gpu", "train", "training", is_self=True),
        ResultDefault("tuned/a-b-c", "train", ""),
        ResultDefault("experiment/mine", "train", ""),
    ]
    paths = [part.config_path for part in rank_defaults(parts, [], {"training": "gpu"})]
    assert paths == [part.config_path for part in parts]
    typed = [part.config_path for part in rank_defaults(parts, ["training"], {"training": "gpu"})]
    assert typed == [*paths[:3], *paths[:2], "experiment/mine", "training/gpu"]


def test_a_dictionary_takes_the_users_own_keys_as_the_docs_word_it() -> None:
    config = composed("task=table", "task.path=a", "task.synonyms={pos: positive}", "task.synonyms.neg=negative")
    assert config["task"]["synonyms"] == {"pos": "positive", "neg": "negative"}
    config = composed("training.lr_scheduler_kwargs.num_decay_steps=10", "+training.lr_scheduler_kwargs.x=1")
    assert config["training"]["lr_scheduler_kwargs"] == {"num_decay_steps": 10, "x": 1}


def test_a_filter_is_found_by_its_earlier_name_which_is_told(caplog: pytest.LogCaptureFixture) -> None:
    _log_renamed.cache_clear()
    with initialize_config_dir(str(conf_dir()), version_base=None):
        config = compose("extract", ["gate=strict", "gate.max_words=9"])
    assert (config.filter.name, config.filter.min_words, config.filter.max_words) == ("strict", 4, 9)
    assert caplog.messages == ["gate= is called filter= now."]


@pytest.mark.parametrize("executor", ["local", "batch", "ray"])
def test_an_executor_is_an_option_and_its_keys_are_where_they_were(executor: str) -> None:
    with initialize_config_dir(str(conf_dir()), version_base=None):
        config = compose("extract", [f"executor={executor}", "batch.poll=2", "ray.actors=3"])
    assert (config.executor, config.batch.poll, config.ray.actors) == (executor, 2, 3)


def test_a_task_without_a_prompt_of_its_name_gets_the_tables(tmp_path: Path) -> None:
    (tmp_path / "task").mkdir()
    text = "defaults: [/schema/task@_here_: table, _self_]\nname: mine\npath: mine.csv\n"
    (tmp_path / "task" / "mine.yaml").write_text(text, encoding="utf-8")
    assert composed("task=mine", also=tmp_path)["prompt"]["name"] == "table"
    assert composed("task=mine", "prompt=nli", also=tmp_path)["prompt"]["name"] == "nli"


def test_the_usual_option_is_listed_first_and_the_sweeps_options_are_there() -> None:
    options = list_options("train")
    assert [options[group][0] for group in ("task", "prompt", "training")] == ["triage", "triage", "cpu"]
    assert {f"{group}/{option}" for group in ("launcher", "search") for option in options[group]} == {*PLUGINS}
    assert "paper/cqa" in options["experiment"]


def test_the_config_is_composed_for_its_mode_only_where_it_may_name_one(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    text = "# @package _global_\nhydra: {mode: MULTIRUN}\n"
    (tmp_path / "experiment" / "mine.yaml").write_text(text, encoding="utf-8")
    found = []
    for folder, words in ((None, []), (None, ["hydra.mode=MULTIRUN"]), (str(tmp_path), ["experiment=mine"])):
        with composing(folder):
            found.append(find_mode(GlobalHydra.instance().hydra, "train", words))
    assert found == [None, RunMode.MULTIRUN, RunMode.MULTIRUN]


@pytest.mark.parametrize(
    ("word", "key", "value"),
    [
        ("task.labels=[1.10, 1e3,true,007]", "task.labels", ["1.10", "1e3", "true", "007"]),
        ("task.label=2024_01", "task.label", "2024_01"),
        ("task.synonyms={1.10: 1.1, 2_0: no}", "task.synonyms", {"1.10": "1.1", "2_0": "no"}),
        ("task.synonyms.pos=1.0", "task.synonyms", {"pos": "1.0"}),
        ("task.label=null", "task.label", None),
        ("task.test_share=.20", "task.test_share", 0.2),
        ("training.max_steps=1_000", "training.max_steps", 1000),
        ("data_fraction=1e-1", "data_fraction", 0.1),
    ],
)
def test_keys_of_texts_get_numbers_and_truth_values_as_they_are_typed(word: str, key: str, value: Any) -> None:
    assert OmegaConf.select(OmegaConf.create(composed("task=table", word)), key) == value


def test_a_job_of_a_sweep_gets_its_words_as_they_are_typed() -> None:
    read = OverridesParser.create().parse_override
    assert read("task.labels=[1.10,a]").get_value_element_as_str() == "[1.10,a]"
    assert read("teacher.base_url=http://localhost:1/v1").get_value_element_as_str() == "http://localhost:1/v1"
