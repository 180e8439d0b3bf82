"""Names that become folders and files, and the sentence that comes out for those that may not."""

from pathlib import Path
from typing import Any

import pytest
from scripted import load_annotations
from trained import small_triage, train_tiny

from dsbs.core.errors import ConfigError, DsbsError
from dsbs.core.names import is_name, name_faults, path_part
from dsbs.extraction.annotations import rationales_dir, write_annotations
from dsbs.extraction.prompts import Prompt
from dsbs.objectives import Finetune
from dsbs.students import T5Scratch
from dsbs.tasks import TASKS
from dsbs.teachers import TEACHERS
from dsbs.training.run_folder import name_run

GOOD = ["triage", "t5_v1_1-base", "gpt-4.1", "_mine", "7", "A" * 100, "anli1", "console", "comet"]
BAD: dict[str, Any] = {
    "up": "..", "up and away": "../../../elsewhere", "here": ".", "nothing": "", "a blank": " ", "absolute": "/etc",
    "a folder": "a/b", "a folder on Windows": "a\\b", "a drive": "C:", "a stream": "a:b", "home": "~", "hidden": ".ssh",
    "an option": "-x", "a device": "con", "a device with an ending": "NUL.txt", "another device": "Com1",
    "a newline": "a\n", "a newline before": "\na", "NUL": "a\0b", "an escape": "a\x1b[2J", "too long": "a" * 101,
    "a full stop last": "a.", "a blank last": "a ", "a slash of mathematics": "a\u2215b", "a wide slash": "a\uff0fb",
    "a wide full stop": "\uff0e\uff0e", "two dots in one": "\u2025", "right to left": "a\u202eb", "accents": "\u00e9",
    "Cyrillic": "\u0430", "wide digits": "\uff11", "a half surrogate": "\ud800", "a shell": "$(touch x)", "a glob": "*",
    "an interpolation": "${oc.env:HOME}", "markup": "<b>", "a number": 7, "a list": ["a"], "nobody": None, "true": True,
}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_a_name_is_letters_digits_and_some_signs(name: str) -> None:
    assert is_name(name)
    assert name_faults("task.name", name) == []
    assert path_part(name, "task.name") == name


@pytest.mark.parametrize("kind", BAD)
def test_another_is_told_with_its_key_and_what_was_expected(kind: str) -> None:
    (fault,) = name_faults("task.name", BAD[kind])
    assert fault.startswith("task.name=")
    assert "expected letters" in fault
    assert fault.isprintable()
    assert len(fault) < 300
    with pytest.raises(ConfigError, match=r"task\.name="):
        path_part(BAD[kind], "task.name")


@pytest.mark.parametrize("name", [BAD["up and away"], BAD["hidden"], BAD["a device"], BAD["a newline"]])
def test_every_part_of_a_config_checks_its_name(name: str) -> None:
    teachers = [kind(name=name) for kind in TEACHERS.values()]
    tasks = [kind(name=name) for kind in TASKS.values()]
    for part in (*tasks, *teachers, T5Scratch(name=name), Finetune(name=name)):
        assert any(".name=" in fault for fault in part.faults()), type(part)


def test_no_path_is_made_of_another_name(tmp_path: Path) -> None:
    task, teacher = small_triage(), TEACHERS["handbook"](name="handbook")
    sound = {
        "task": {"name": "t"}, "student": {"name": "s"}, "objective": {"name": "o"}, "data_fraction": 1.0, "seed": 0
    }  # fmt: skip
    assert name_run(str(tmp_path), sound).folder.is_relative_to(tmp_path)
    for group in ("task", "student", "objective"):
        with pytest.raises(ConfigError, match=rf"{group}\.name="):
            name_run(str(tmp_path), sound | {group: {"name": "../.."}})
    teacher.name = "../x"
    with pytest.raises(ConfigError, match=r"teacher\.name='../x'"):
        rationales_dir(tmp_path, task, teacher, Prompt(name="p"))
    teacher.name, task.name = "handbook", "../x"
    with pytest.raises(ConfigError, match=r"task\.name='../x'"):
        rationales_dir(tmp_path, task, teacher, Prompt(name="p"))
    with pytest.raises(ConfigError, match="split="):
        write_annotations(tmp_path, "../x", [])
    with pytest.raises(ConfigError, match="split="):
        load_annotations(tmp_path, "/etc/passwd")


def test_nothing_is_written_for_a_task_that_leaves(tmp_path: Path) -> None:
    task = small_triage()
    task.name = "../../elsewhere"
    with pytest.raises(DsbsError, match=r"task\.name="):
        train_tiny(tmp_path / "here", task=task)
    assert not (tmp_path / "elsewhere").exists()
