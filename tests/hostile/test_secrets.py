"""Keys that settings may not hold, and lines without end: and the sentence that comes out."""

import io

import pytest
from omegaconf import OmegaConf

from dsbs.cli.config import to_object
from dsbs.core.errors import ConfigError, DataError
from dsbs.core.terminal import visible
from dsbs.core.untrusted import MOST_LINE
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.inputs import read_inputs
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


def test_a_line_without_end_is_told_with_its_number() -> None:
    text = b"one\n" + b"x" * (MOST_LINE + 5) + b"\n"
    with pytest.raises(DataError, match="standard input:2: a line of more than"):
        list(read_inputs("-", "text", Remembered(), io.BytesIO(text)))


def test_escapes_are_shown_and_not_obeyed() -> None:
    assert visible("a\x1b]0;t\x07\n") == "a\\x1b]0;t\\x07\n"
