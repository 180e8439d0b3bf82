"""The frame of every command: Hydra around it, one message for what goes wrong, and how the jobs of a sweep ended."""

import json
import logging
import os
import shlex
import shutil
import signal
import sys
import tempfile
import traceback
import uuid
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from dsbs.cli.config import conf_dir, register_schemas, to_object
from dsbs.core.distributed import MainProcessError, is_main
from dsbs.core.errors import DsbsError, Terminated

# Where it is installed it is imported before `main` runs, and warns of a kernel that nothing here asks for.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

# Options that need a plugin of Hydra: the plugin's package, and the extra that brings it.
PLUGINS = {
    "launcher/joblib": ("hydra_joblib_launcher", "joblib"),
    "launcher/ray": ("hydra_ray_launcher", "ray-launcher"),
    "launcher/slurm": ("hydra_submitit_launcher", "slurm"),
    "search/optuna": ("hydra_optuna_sweeper", "optuna"),
    "search/optuna_rate": ("hydra_optuna_sweeper", "optuna"),
}


def typed_overrides() -> list[str]:
    """Return what was typed behind the command; in a sweep, what this job got of it."""
    return list(HydraConfig.get().overrides.task)


def command(name: str) -> Callable[[Callable[[Any], float | None]], Callable[[], None]]:
    """Make a Hydra command out of a function that takes the typed root config.

    A mistake of the user ends in one message on standard error and exit code 1. In a sweep the other jobs go on, the
    end lists how each ended, and the exit code tells that one failed. What the function returns, an accuracy on
    validation, is what a search over settings goes by; None from a failed job.
    """

    def decorate(run: Callable[[Any], float | None]) -> Callable[[], None]:
        def main() -> None:
            _quieten()
            if fault := _sweep_fault(sys.argv[1:]):
                sys.stderr.write(f"dsbs.{name}: {fault}\n")
                sys.exit(1)
            register_schemas()
            endings = _endings_folder()

            def guarded(config: DictConfig) -> float | None:  # with a sweep's launcher in any process, on any machine
                _quieten()
                try:
                    value = run(to_object(config))
                except MainProcessError:
                    if not _sweeps():
                        sys.exit(1)
                    return None
                except DsbsError as error:
                    _fail(name, str(error), endings)
                    return None
                except Exception as error:
                    traceback.print_exc()
                    _fail(name, f"unexpected {type(error).__name__}: {error}", endings)
                    return None
                if is_main():
                    _note(endings, failure=None, value=value)
                return value

            # Hydra wants a folder for sweeps; ours are the runs' own, so what it writes goes where it is removed again.
            OmegaConf.register_new_resolver("sweep_folder", lambda: str(endings), replace=True)
            # Hydra cannot tell a folder inside a package from one beside it; an absolute path works for both.
            wrapped = hydra.main(version_base=None, config_path=str(conf_dir()), config_name=name)(guarded)
            before = signal.signal(signal.SIGTERM, _terminate)  # a sweep's launcher then ends its processes, too
            try:
                wrapped()
                failed = _list_endings(endings)
            except KeyboardInterrupt as stop:
                how = f" {stop}" if str(stop) else ""
                if is_main():
                    sys.stderr.write(f"\ndsbs.{name}: stopped{how}. The same command goes on where it was.\n")
                sys.exit(128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT))
            finally:
                signal.signal(signal.SIGTERM, before)
                shutil.rmtree(endings, ignore_errors=True)
            if failed:
                sys.exit(1)

        return main

    return decorate


def _endings_folder() -> Path:
    """Return where the jobs of a sweep note how they ended; Hydra makes it where there is a sweep.

    It lies where the command was started, because jobs on other machines see that folder, too.
    """
    here = Path.cwd() if os.access(Path.cwd(), os.W_OK) else Path(tempfile.gettempdir())
    return here / f".dsbs-sweep-{uuid.uuid4().hex[:8]}"


def _sweeps() -> bool:
    return HydraConfig.get().mode == RunMode.MULTIRUN


def _fail(name: str, message: str, endings: Path) -> None:
    sys.stderr.write(f"dsbs.{name}: {message}\n")
    if not _sweeps():
        sys.exit(1)
    _note(endings, failure=message, value=None)


def _note(endings: Path, failure: str | None, value: float | None) -> None:
    """Note how a job of a sweep ended."""
    if _sweeps():
        endings.mkdir(exist_ok=True)
        note = {"job": " ".join(typed_overrides()), "failure": failure, "value": value}
        (endings / f"{HydraConfig.get().job.num}.json").write_text(json.dumps(note), encoding="utf-8")


def _list_endings(endings: Path) -> int:
    """Tell how the jobs of a sweep ended; return how many failed."""
    files = sorted(endings.glob("*.json"), key=lambda file: int(file.stem))
    notes = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    done = [note for note in notes if note["failure"] is None]
    failed = [note for note in notes if note["failure"] is not None]
    if done:
        sys.stderr.write(f"\n{len(done)} of this sweep's jobs ended well:\n")
        for note in done:
            found = "" if note["value"] is None else f"      validation {100 * note['value']:.2f}%\n"
            sys.stderr.write(f"  {note['job']}\n{found}")
    if failed:
        sys.stderr.write(f"\n{len(failed)} of this sweep's jobs failed:\n")
        for note in failed:
            sys.stderr.write(f"  {note['job']}\n      {note['failure']}\n")
    return len(failed)


def _terminate(number: int, frame: object) -> None:
    raise Terminated(f"by {signal.Signals(number).name}", number)


def _sweep_fault(words: Sequence[str]) -> str | None:
    """Return what is wrong with what was typed about sweeps; Hydra would find no file, or say nothing."""
    for word in words:
        key, _, value = word.partition("=")
        if key in ("launcher", "search") and value != "null" and not {"-m", "--multirun"} & set(words):
            return f"{word} is for sweeps, which -m starts: python -m dsbs.train -m {shlex.join(words)}"
        objectives = [typed for typed in words if typed.startswith("objective=") and typed != "objective=step_by_step"]
        if word == "search=optuna" and objectives:
            return f"search=optuna tries objective.alpha, of step_by_step alone: {objectives[0]} search=optuna_rate"
        package, extra = PLUGINS.get(word.replace("=", "/"), ("", ""))
        try:
            if package and find_spec(f"hydra_plugins.{package}") is None:
                raise ModuleNotFoundError
        except ModuleNotFoundError:  # also where there is no plugin at all
            return f"{word} needs a plugin of Hydra: pip install 'dsbs[{extra}]'"
    return None


def _quieten() -> None:
    """Let our own log speak, and others where they warn."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    several = HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN
    job = f"job {HydraConfig.get().job.num}: " if several else ""
    logging.basicConfig(level=logging.WARNING, format=f"%(asctime)s {job}%(message)s", datefmt="%H:%M:%S", force=True)
    logging.getLogger("dsbs").setLevel(logging.INFO if is_main() else logging.ERROR)
