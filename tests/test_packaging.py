"""The wheel: what a user gets who has no checkout of ours."""

import os
import re
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel of this checkout, built without the network."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return next(folder.glob("dsbs-*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of a new environment that holds the wheel; what dsbs depends on comes from the tests' own."""
    home = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(home, with_pip=False)
    interpreter = home / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--python", str(interpreter), "install", "--no-deps", "--no-index", str(wheel)]
    done = subprocess.run(pip, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    library = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    # A line in a .pth file adds a folder, but not the .pth files in it: the editable dsbs stays out.
    (library / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return interpreter


@pytest.fixture
def run(python: Path, tmp_path: Path) -> Run:
    """Run the new environment's Python in an empty folder."""

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(python), *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
        )

    return run


def test_every_config_file_travels_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    ours = {f"dsbs/conf/{path.relative_to(ROOT / 'conf').as_posix()}" for path in (ROOT / "conf").rglob("*.yaml")}
    assert ours
    assert ours <= packed


def test_the_wheel_carries_licence_and_type_information_but_no_tests(wheel: Path) -> None:
    packed = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith("licenses/LICENSE") for name in packed)
    assert "dsbs/py.typed" in packed
    assert not [name for name in packed if name.startswith(("tests/", "scripts/", "conf/"))]


HELP = """
import runpy, sys
for command in sys.argv[1:]:
    sys.argv = [command, "--help"]
    runpy.run_module(f"dsbs.{command}", run_name="__main__")
"""


def test_every_command_of_the_wheel_shows_its_help_anywhere(run: Run) -> None:
    commands = ["extract", "train", "evaluate", "report", "predict"]
    done = run("-c", HELP, *commands)
    assert done.returncode == 0, done.stderr
    _, *told = re.split(r"^dsbs (\w+): ", done.stdout, flags=re.M)
    assert told[::2] == commands
    assert all("output" in said for said in told[1::2])


def test_the_wheel_brings_the_command_dsbs(python: Path) -> None:
    script = python.with_name("dsbs")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([str(script), "--help"], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "  train " in done.stdout


def test_the_installed_extract_runs_in_any_folder_and_writes_only_outputs(run: Run, tmp_path: Path) -> None:
    done = run("-m", "dsbs.extract", "limit=4")
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert len(list(tmp_path.glob("outputs/rationales/triage/handbook-*/summary.json"))) == 1
    place = run("-c", "import dsbs; print(dsbs.__file__)").stdout
    assert str(ROOT) not in place


def test_a_users_own_config_folder_adds_a_task(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "task" / "little_triage.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "defaults:\n  - /schema/task@_here_: triage\n  - _self_\n"
        "name: little_triage\ntrain: 6\nvalidation: 3\ntest: 3\nseed: 7\n",
        encoding="utf-8",
    )
    done = run("-m", "dsbs.extract", "--config-dir", "mine", "task=little_triage", "prompt=triage")
    assert done.returncode == 0, done.stderr
    assert len(list(tmp_path.glob("outputs/rationales/little_triage/handbook-*/train.parquet"))) == 1


def test_extract_and_report_start_without_torch() -> None:
    heavy = ("torch", "transformers", "datasets", "openai", "matplotlib", "wandb")
    code = f"import sys, dsbs.extract, dsbs.report; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[]", done.stdout + done.stderr
