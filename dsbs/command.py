"""The frame of every command: Hydra around it, one message for what goes wrong, and a list of the jobs that failed."""

import logging
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from dsbs.config import conf_dir, register_schemas, to_object
from dsbs.errors import DsbsError, Terminated
from dsbs.processes import MainProcessError, is_main

# Options that need a plugin of Hydra: the plugin's package, and the extra that brings it.
PLUGINS = {
    "launcher/joblib": ("hydra_joblib_launcher", "joblib"),
    "launcher/ray": ("hydra_ray_launcher", "ray-launcher"),
    "launcher/slurm": ("hydra_submitit_launcher", "slurm"),
    "search/optuna": ("hydra_optuna_sweeper", "optuna"),
}
SWEEP_LOG = "DSBS_SWEEP_LOG"  # where the jobs of a sweep, in whatever process, list that they failed


def typed_overrides() -> list[str]:
    """Return what was typed behind the command; in a sweep, what this job got of it."""
    return list(HydraConfig.get().overrides.task)


def command(name: str) -> Callable[[Callable[[Any], float | None]], Callable[[], None]]:
    """Make a Hydra command out of a function that takes the typed root config.

    A mistake of the user ends in one message on standard error and exit code 1. In a sweep a failed job is listed at
    the end and the others go on; the exit code tells that one failed. What the function returns is what a search over
    settings goes by; None from a failed job.
    """

    def decorate(run: Callable[[Any], float | None]) -> Callable[[], None]:
        def guarded(config: DictConfig) -> float | None:
            overrides = " ".join(typed_overrides())
            _quieten()  # a job may run in another process
            try:
                return run(to_object(config))
            except MainProcessError:
                if HydraConfig.get().mode != RunMode.MULTIRUN:
                    sys.exit(1)
            except DsbsError as error:
                _fail(name, str(error), overrides)
            except Exception as error:
                traceback.print_exc()
                _fail(name, f"unexpected {type(error).__name__}: {error}", overrides)
            return None

        def main() -> None:
            _quieten()
            if missing := _missing_plugin(sys.argv[1:]):  # Hydra would say that it could not find a file
                sys.stderr.write(f"dsbs.{name}: {missing}\n")
                sys.exit(1)
            register_schemas()
            # Hydra cannot tell a folder inside a package from one beside it; an absolute path works for both.
            wrapped = hydra.main(version_base=None, config_path=str(conf_dir()), config_name=name)(guarded)
            with tempfile.TemporaryDirectory(prefix="dsbs-") as folder:
                failures = Path(folder) / "failures"
                os.environ[SWEEP_LOG] = str(failures)  # jobs in other processes inherit it
                try:
                    wrapped()
                except KeyboardInterrupt as stop:
                    how = f" {stop}" if str(stop) else ""
                    if is_main():
                        sys.stderr.write(f"\ndsbs.{name}: stopped{how}. The same command goes on where it was.\n")
                    sys.exit(143 if isinstance(stop, Terminated) else 130)
                if failures.exists():
                    text = failures.read_text(encoding="utf-8")
                    count = text.count("\n\0")
                    sys.stderr.write(f"\n{count} of this sweep's jobs failed:\n" + text.replace("\0", ""))
                    sys.exit(1)

        return main

    return decorate


def _missing_plugin(words: Iterable[str]) -> str | None:
    """Return which extra what was typed needs, where it is not installed."""
    for word in words:
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


def _fail(name: str, message: str, overrides: str) -> None:
    sys.stderr.write(f"dsbs.{name}: {message}\n")
    if HydraConfig.get().mode != RunMode.MULTIRUN:
        sys.exit(1)
    with Path(os.environ[SWEEP_LOG]).open("a", encoding="utf-8") as file:
        file.write(f"  {overrides}\n      {message}\n\0")
