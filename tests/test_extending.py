"""docs/extending.md: what it shows is run, and what it names is there."""

import doctest
import importlib
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
from hydra.core.global_hydra import GlobalHydra

from dsbs.cli.main import main
from dsbs.core.registry import Registry
from dsbs.objectives import OBJECTIVES

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE, flags=re.M | re.S)
REGISTRIES = {
    "dsbs.tasks": "dsbs.tasks:TASKS",
    "dsbs.teachers": "dsbs.teachers:TEACHERS",
    "dsbs.students": "dsbs.students:STUDENTS",
    "dsbs.objectives": "dsbs.objectives:OBJECTIVES",
    "dsbs.backends": "dsbs.training.backends:BACKENDS",
    "dsbs.predictors": "dsbs.inference.predictor:PREDICTORS",
    "dsbs.exports": "dsbs.inference.exports:FORMATS",
    "dsbs.executors": "dsbs.extraction.executors:EXECUTORS",
    "dsbs.filters": "dsbs.extraction.filters:CHECKS",
}


def blocks(language: str, first_line: str = "") -> list[str]:
    """Return the page's blocks in a language that begin so."""
    return [text for name, text in BLOCKS if name == language and text.startswith(first_line)]


def dsbs(words: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> str:
    """Run ``dsbs`` and return what it prints."""
    monkeypatch.setattr(sys, "argv", ["dsbs", *words])
    monkeypatch.setenv("COLUMNS", "120")
    GlobalHydra.instance().clear()
    main()
    return capfd.readouterr().out


def test_the_objective_of_the_page_is_one_file_one_line_and_an_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    [source] = blocks("python", "# dsbs/objectives/brief.py")
    [line] = blocks("python", '    "')
    [option] = blocks("yaml", "# conf/objective/brief.yaml")
    name, place = re.findall(r'"(.+?)"', line)
    module = ModuleType(place.split(":")[0])
    monkeypatch.setitem(sys.modules, module.__name__, module)
    exec(source, module.__dict__)
    assert doctest.testmod(module).attempted == 1
    assert doctest.testmod(module).failed == 0
    monkeypatch.setitem(OBJECTIVES, name, place)
    (tmp_path / "objective").mkdir()
    (tmp_path / "objective" / "brief.yaml").write_text(option, encoding="utf-8")
    shown = dsbs(["train", "--config-dir", str(tmp_path), "objective=brief", "--help"], monkeypatch, capfd)
    assert re.search(r"^  objective .* brief,", shown, flags=re.M)
    assert re.search(r"objective.words=20 +how many words of a rationale are learned\.", shown)


def test_the_users_own_option_of_the_page_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    [option] = blocks("yaml", "# mine/")
    place, command = re.findall(r"# (\S+): +dsbs (.+)", option)[0]
    monkeypatch.chdir(tmp_path)
    Path(place).parent.mkdir(parents=True)
    Path(place).write_text(option, encoding="utf-8")
    rows = [f"Book {number},{word} book,{stars}" for number in range(30) for word, stars in (("bad", 1), ("good", 5))]
    Path("reviews.csv").write_text("title,body,stars\n" + "\n".join(rows), encoding="utf-8")
    words = [*command.split(), "student=logreg", "objective=finetune", "tracking.mode=disabled"]
    assert "reviews · logreg · finetune" in dsbs(words, monkeypatch, capfd)


def test_the_package_of_the_page_is_the_one_that_tests_install() -> None:
    entry_points = tomllib.loads((ROOT / "tests/plugin/pyproject.toml").read_text(encoding="utf-8"))["project"]
    [shown] = blocks("toml")
    for group, points in tomllib.loads(shown)["project"]["entry-points"].items():
        assert points.items() <= entry_points["entry-points"][group].items()


def test_all_groups_of_entry_points_are_named() -> None:
    named = set(re.findall(r"`(dsbs\.\w+)`", PAGE.partition("The groups of entry points are")[2].partition(";")[0]))
    assert named == REGISTRIES.keys()
    for group, place in REGISTRIES.items():
        module, _, name = place.partition(":")
        registry = getattr(importlib.import_module(module), name)
        assert isinstance(registry, Registry)
        assert registry.group == group


def test_every_registry_of_the_table_is_where_it_says() -> None:
    rows = [line.split("|") for line in PAGE.splitlines() if line.startswith("| ")][1:]
    assert len(rows) > len(REGISTRIES)
    for row in rows:
        place = ROOT / re.findall(r"`(dsbs/\S+\.py)`", row[3])[0]
        assert re.search(r"Registry|^ROOTS\b", place.read_text(encoding="utf-8"), re.M)
