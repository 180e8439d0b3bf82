"""What all tests share: no network, no keys of the machine they run on, few threads, and where the real data lies."""

import gc
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import hypothesis
import pytest

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("dsbs", deadline=None)
hypothesis.settings.load_profile("dsbs")
# Before anything imports torch, transformers or wandb, which read these once.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "offline"
os.environ["NETRC"] = os.devnull
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
for _variable in ("WANDB_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "HYDRA_FULL_ERROR"):
    os.environ.pop(_variable, None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Import what tests import as a training does, without the packages that transformers' Trainer can do without.

    What is imported then stays to the end, so the garbage collector does not look at it again. Accelerate asks for a
    full collection twice a training, which would take longer than the training: it gets one of what is young.
    """
    from dsbs.training.backends import hidden

    collect = gc.collect
    gc.disable()
    try:
        with hidden("peft"):
            return (yield)
    finally:
        gc.freeze()
        gc.enable()
        gc.collect = lambda generation=1: collect(min(generation, 1))


@pytest.fixture
def run_dsbs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Run a command in an empty folder: its name, then its words; return its exit code, its output and its errors."""
    from hydra.core.global_hydra import GlobalHydra

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def run(name: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", [f"dsbs.{name}", *words])
        GlobalHydra.instance().clear()
        code = 0
        try:
            import_module(f"dsbs.{name}").main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        return code, *capfd.readouterr()

    return run


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder with svamp/ and cqa/ of the paper's release; tests that ask for it are skipped where it is absent."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    folder = Path(os.environ.get("DSBS_DATA", default)).resolve()
    if not (folder / "svamp").is_dir():
        pytest.skip(f"needs the paper's data: there is no {folder}/svamp; set DSBS_DATA to the folder that holds it")
    return folder


@pytest.fixture(scope="module")  # no longer: its event loop is in the way of asyncio's
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    playwright = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as started:
        found = started.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield found
        found.close()
