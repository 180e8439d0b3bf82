"""Help and docs: every key has a meaning, and they say the same."""

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsbs.cli.command import _show_and_end
from dsbs.cli.composition import list_options
from dsbs.cli.config import GROUPS, PARTS, ROOTS, SINGLE, register_schemas
from dsbs.cli.help import read_summary, show_commands, show_help
from dsbs.cli.keys import HIDDEN, default_values, list_keys, read_meanings
from dsbs.cli.reference import write_reference

register_schemas()


def schemas() -> Iterator[Any]:
    yield from ROOTS.values()
    yield from SINGLE.values()
    for kinds in GROUPS.values():
        yield from kinds.values()


def nested(schema: Any) -> Iterator[Any]:
    yield schema
    for field in dataclasses.fields(schema):
        if isinstance(field.type, type) and dataclasses.is_dataclass(field.type):
            yield from nested(field.type)


@pytest.mark.parametrize(
    "schema",
    sorted({part for schema in schemas() for part in nested(schema)}, key=lambda it: it.__name__),
    ids=lambda it: it.__name__,
)
def test_every_key_has_a_meaning_and_every_meaning_a_key(schema: Any) -> None:
    fields = {field.name: field for field in dataclasses.fields(schema)}
    meanings = read_meanings(schema)
    parts = {name for name, field in fields.items() if name in PARTS or dataclasses.is_dataclass(field.type)}
    missing = [name for name in fields if name not in meanings and name not in parts]
    assert not missing, f"{schema.__name__}: say under Attributes: what these keys mean"
    assert not meanings.keys() - fields.keys()


@pytest.mark.parametrize("command", ROOTS)
def test_help_says_what_a_command_does_what_to_type_and_what_each_key_means(command: str) -> None:
    text = show_help(command)
    assert text.startswith(f"dsbs {command}: {read_summary(command)}")
    typed = re.findall(rf"^ +.*dsbs {command}\b", text, re.M)
    assert len(typed) >= 3, f"the docstring of dsbs/{command}.py shows three commands to type"
    assert "schema/" not in text
    assert "Hydra" not in text
    groups, keys = list_options(command), default_values(ROOTS[command])
    shown = re.findall(rf"^ +.*dsbs {command} (.*)", text, re.M)
    named = {key.partition(".")[0] for line in shown for key in re.findall(r"(?:^| )([a-z_.]+)=", line)}
    assert not named - {*groups, *keys}, "the commands that it shows have keys that there are not"
    for group, options in groups.items():
        assert re.search(rf"^  {group} +{options[0]}", text, re.M)
    for name in keys:
        assert name in PARTS or re.search(rf"^  {name}[=.]", text, re.M), name


def test_help_shows_the_keys_of_the_options_that_were_chosen() -> None:
    text = show_help("train", ["student=causal", "task=nosuch,table", "seed=3"])
    assert "student.lora.r=0" in text
    assert "student.lora.target_modules=[]" in text
    assert "student.model=(to be given)" in text
    assert "training.learning_rate=0.0001" in text  # as it is composed: of pretrained weights
    assert "student.d_model" not in text


def test_the_help_of_dsbs_names_every_command() -> None:
    text = show_commands()
    for command in ROOTS:
        assert re.search(rf"^  {command} +{re.escape(read_summary(command))}$", text, re.M)


def test_the_page_of_all_keys_is_up_to_date() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "config.md"
    assert page.read_text(encoding="utf-8") == write_reference(), "python scripts/config_docs.py writes it anew"


def test_what_is_not_for_typing_is_not_shown() -> None:
    assert HIDDEN == ("kind",)
    schema = GROUPS["student"]["causal"]
    assert "kind" not in [key.name for key in list_keys(schema, default_values(schema))]


@pytest.mark.parametrize("flags", [["--config-name", "x"], ["--config-path=x"], ["--experimental-rerun", "x"]])
def test_flags_that_would_replace_our_configs_are_refused(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        _show_and_end("train", flags)
    assert "dsbs train has one root config. --config-dir FOLDER adds options of your own." in capsys.readouterr().err
