"""Keys that settings may not hold, and lines without end: and the sentence that comes out."""

import asyncio
import io
from dataclasses import replace
from typing import Any

import pytest
from omegaconf import OmegaConf

from dsbs.cli.config import to_object
from dsbs.core import terminal
from dsbs.core.errors import ConfigError, DataError
from dsbs.core.terminal import visible
from dsbs.core.untrusted import MAX_LINE
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.inputs import read_inputs
from dsbs.tasks import TASKS
from dsbs.teachers.openai import OpenAITeacher

KEY = "sk-proj-0123456789abcdefghij"


@pytest.mark.parametrize(
    "extra", [{"api_key": "x"}, {"headers": {"Authorization": "Bearer x"}}, {"user": KEY}, {"a": {"password": "x"}}]
)
def test_a_setting_that_looks_like_a_key_is_refused_and_not_repeated(extra: dict[str, object]) -> None:
    (fault,) = OpenAITeacher(model="m", extra=extra).faults()
    assert "looks like a key" in fault
    assert KEY not in fault


@pytest.mark.parametrize("part", [f"{KEY}/v1", f"v1#{KEY}", f"v1?key={KEY}", "v1#x"])
def test_an_address_holds_no_key(part: str) -> None:
    (fault,) = OpenAITeacher(model="m", base_url=f"https://host.io/{part}").faults()
    assert "put no key or password into the address" in fault
    assert KEY not in fault


def test_settings_do_not_take_in_the_environment() -> None:
    for value in ("${oc.env:HOME}", "a ${oc.env:HOME,x}", ["${oc.env:HOME}"]):
        with pytest.raises(ConfigError, match=r"prompt\.instruction: reads an environment variable"):
            to_object(OmegaConf.create({"prompt": {"instruction": value}}))


@pytest.mark.parametrize(
    "changes",
    [{"instruction": f"Use {KEY} and end with: {{cue}} ANSWER."}, {"exemplars": [Exemplar(f"My key: {KEY}", "r", "a")]},
     {"exemplars": [Exemplar("q", f"because of Bearer {KEY}", "a")]}],
)  # fmt: skip
def test_a_prompt_holds_no_key(changes: dict[str, Any]) -> None:
    (fault,) = Prompt(**({"name": "p", "exemplars": [Exemplar("q", "r", "a")]} | changes)).faults()
    assert "contain something like a key" in fault
    assert KEY not in fault


@pytest.mark.parametrize("name", [KEY, "hf_0123456789abcdefghijklmnopqrst", "", "A B", "A=B", "x" * 101, "A\nB"])
def test_the_name_of_a_variable_is_no_key(name: str) -> None:
    (fault,) = OpenAITeacher(name="o", model="m", api_key_env=name).faults()
    assert "expected the name of an environment variable" in fault
    assert name not in fault or not name


def told(teacher: OpenAITeacher, caplog: pytest.LogCaptureFixture) -> str:
    terminal.log_once.cache_clear()
    caplog.clear()
    caplog.set_level("INFO", terminal.logger.name)

    async def connect() -> None:
        async with teacher.connect(TASKS["triage"]()), teacher.connect_batches():
            pass

    asyncio.run(connect())
    return caplog.text


def test_where_a_key_goes_is_told_once_before_the_first_request(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEY)
    theirs = OpenAITeacher(
        name="o", model="m", base_url="https://collect.example:8443/v1", api_key_env="AWS_SECRET_ACCESS_KEY"
    )
    said = told(theirs, caplog)
    assert said.count("variable AWS_SECRET_ACCESS_KEY goes to collect.example:8443 (teacher.base_url)") == 1
    assert KEY not in said
    for quiet in (
        replace(theirs, base_url=None),
        replace(theirs, base_url="http://127.0.0.1:8000/v1"),
        replace(theirs, api_key_env=None),
    ):
        assert "goes to" not in told(quiet, caplog)


def test_a_line_without_end_is_told_with_its_number() -> None:
    text = b"one\n" + b"x" * (MAX_LINE + 5) + b"\n"
    with pytest.raises(DataError, match="standard input:2: a line of more than"):
        list(read_inputs("-", "text", Remembered(), io.BytesIO(text)))


def test_escapes_are_shown_and_not_obeyed() -> None:
    assert visible("a\x1b]0;t\x07\n") == "a\\x1b]0;t\\x07\n"
