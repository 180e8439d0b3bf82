"""The frame of every command: Hydra around it, help, and one message for what goes wrong."""

import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsbs import __version__
from dsbs.cli.arguments import program_of, read_arguments, remember_program
from dsbs.cli.composition import conf_dir
from dsbs.cli.config import register_schemas, to_object
from dsbs.cli.explain import explain
from dsbs.cli.overrides import reveal_keys
from dsbs.cli.streams import lost_output
from dsbs.cli.sweeps import (
    describe_results,
    in_sweep,
    is_multirun,
    read_results,
    record_result,
    results_folder,
    sweep_fault,
)
from dsbs.core.cores import limit_threads
from dsbs.core.distributed import MainProcessError, is_main
from dsbs.core.errors import DsbsError, Terminated
from dsbs.core.files import explain_refusal
from dsbs.core.parents import end_with_stdin
from dsbs.core.terminal import VisibleFormatter, visible

FULL_ERROR = "HYDRA_FULL_ERROR"
RESUMING = ("extract", "train", "compare")
# Flags of Hydra's that would put other configs, or a pickle, in the place of ours.
_REFUSED = ("--config-name", "--config-path", "--experimental-rerun")


def command(name: str) -> Callable[[Callable[[Any], float | None]], Callable[[], None]]:
    """Make a Hydra command of a function that takes the typed root config.

    A mistake of the user ends in one message on standard error and exit code 1. In a sweep the other jobs go on, the
    end lists how each ended, and the exit code is 1 where one failed. What the function returns, the score on
    validation, is what a search over settings maximizes; None from a failed job.

    Args:
        name: of the command: it has ``conf/<name>.yaml`` and a schema in ``dsbs.cli.config.ROOTS``.
    """

    def decorate(run: Callable[[Any], float | None]) -> Callable[[], None]:
        def main() -> None:
            _quieten()
            _check_environment(name)
            words = read_arguments()
            try:
                if _show_and_end(name, words):
                    return
                if fault := sweep_fault(name, words):
                    _fail(name, fault)
                register_schemas(name)
            except DsbsError as error:
                _fail(name, str(error))
            except OSError as error:
                _fail_output(name, error)
                raise
            _run(name, run, words)

        return main

    return decorate


def _run(name: str, run: Callable[[Any], float | None], words: list[str]) -> None:
    folder, program = results_folder(), program_of(name, words)

    def guarded(config: DictConfig) -> float | None:  # with a sweep's launcher in any process, on any machine
        _quieten()
        remember_program(program)
        try:
            if in_sweep():
                record_result(folder)
            limit_threads()
            value = run(to_object(config))
        except MainProcessError:
            if not in_sweep():
                sys.exit(1)
            return None
        except DsbsError as error:
            _fail_job(name, str(error), folder)
            return None
        except OmegaConfBaseException as error:  # a value that could not be filled in
            _fail_job(name, reveal_keys(explain(error, name, words)), folder)
            return None
        except Exception as error:
            if isinstance(error, OSError):
                _fail_output(name, error)
                if (message := explain_refusal(error)) is not None:
                    _fail_job(name, message, folder)
                    return None
            traceback.print_exc()
            _fail_job(name, f"unexpected {type(error).__name__}: {error}", folder)
            return None
        if is_main() and in_sweep():
            record_result(folder, failure=None, value=value)
        return value

    # Hydra wants a folder for sweeps; ours are the runs' own, so what it writes goes where it is removed again.
    OmegaConf.register_new_resolver("sweep_folder", lambda: str(folder), replace=True)
    before = signal.signal(signal.SIGTERM, _terminate)  # a sweep's launcher then ends its processes, too
    end_with_stdin()
    try:
        try:
            _start_hydra(name, guarded, words)
        finally:
            signal.signal(signal.SIGTERM, before)
            results = read_results(folder)
            shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt as stop:
        how = f" {stop}" if str(stop) else ""
        if is_main():
            again = " The same command resumes." if name in RESUMING else ""
            sys.stderr.write(f"\ndsbs.{name}: stopped{how}.{again}\n")
        sys.exit(128 + (stop.number if isinstance(stop, Terminated) else signal.SIGINT))
    except SystemExit:
        sys.stderr.write(visible(describe_results(results)))
        raise
    sys.stderr.write(visible(describe_results(results)))
    if any(result.failure is not None for result in results):
        sys.exit(1)


def _start_hydra(name: str, guarded: Callable[[DictConfig], float | None], words: list[str]) -> None:
    """Let Hydra compose the config and run the job or jobs; explain in our words what it rejects."""
    if is_multirun(words) and any(word.endswith("launcher=joblib") for word in words):
        from dsbs.cli.workers import install  # joblib takes its time

        install()
    # Hydra cannot tell a folder inside a package from one beside it; an absolute path works for both.
    wrapped = hydra.main(version_base=None, config_path=str(conf_dir()), config_name=name)(guarded)
    try:
        with _raising_what_hydra_refuses():
            wrapped()
    except (HydraException, OmegaConfBaseException, ValueError) as error:
        if os.environ.get(FULL_ERROR) == "1":
            raise
        _fail(name, reveal_keys(explain(error, name, words)))
    except Exception as error:
        if is_multirun(words) and os.environ.get(FULL_ERROR) != "1":
            _fail(name, f"the sweep ended early, by {type(error).__name__}: {error}")
        traceback.print_exc()
        _fail(name, f"unexpected {type(error).__name__}: {error}")


def _check_environment(name: str) -> None:
    """Refuse a current folder that was deleted, and forget a width of 0 columns, which would hide all output."""
    if not os.environ.get("COLUMNS", "1").strip("0 "):
        del os.environ["COLUMNS"]
    try:
        Path.cwd()
    except OSError:
        _fail(name, "the current folder was deleted or moved; cd to another one.")


@contextmanager
def _raising_what_hydra_refuses() -> Iterator[None]:
    """Keep Hydra from printing its errors itself, which it does unless it is asked for full ones."""
    asked = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if asked is None:
            del os.environ[FULL_ERROR]
        else:
            os.environ[FULL_ERROR] = asked


def _show_and_end(name: str, words: Sequence[str]) -> bool:
    """Print help or version where they were asked for, and return whether; refuse unknown flags."""
    if "--version" in words:
        sys.stdout.write(f"dsbs {__version__}\n")
        return True
    parser = get_args_parser()

    def refuse(message: str) -> NoReturn:
        _fail(name, f"{message}. --help lists the flags.")

    parser.error = refuse  # type: ignore[method-assign]
    flags, unknown = parser.parse_known_args(list(words))
    if unknown:
        key, _, value = unknown[0].lstrip("-").partition("=")
        _fail(name, f"{unknown[0]}: there is no such flag. Keys are typed without dashes: {key}={value or '…'}")
    for flag in _REFUSED:
        if getattr(flags, flag[2:].replace("-", "_")):
            _fail(name, f"{flag}: dsbs {name} has one root config. --config-dir FOLDER adds options of your own.")
    if flags.help:
        from dsbs.cli.help import show_help

        register_schemas(name)
        sys.stdout.write(f"{show_help(name, flags.overrides, flags.config_dir)}\n")
        return True
    return False


def _fail(name: str, message: str) -> NoReturn:
    sys.stderr.write(visible(f"dsbs.{name}: {message}\n"))
    sys.exit(1)


def _fail_output(name: str, error: OSError) -> None:
    """End where an error is that standard output cannot be written."""
    if (message := lost_output(error)) is not None:
        if message:
            _fail(name, message)
        sys.exit(1)


def _fail_job(name: str, message: str, folder: Path) -> None:
    if not in_sweep():
        _fail(name, message)
    sys.stderr.write(visible(f"dsbs.{name}: {message}\n"))
    record_result(folder, failure=message)


def _terminate(number: int, frame: object) -> None:
    raise Terminated(f"by {signal.Signals(number).name}", number)


def _quieten() -> None:
    """Set up logging: our own from INFO (on the main process), others from WARNING; and quiet defaults of libraries."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Where it is installed it is imported before `main` runs, and warns of a kernel that nothing here asks for.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    several = HydraConfig.initialized() and in_sweep()
    job = f"job {HydraConfig.get().job.num}: " if several else ""
    handler = logging.StreamHandler()
    handler.setFormatter(VisibleFormatter(f"%(asctime)s {job}%(message)s", datefmt="%H:%M:%S"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("dsbs").setLevel(logging.INFO if is_main() else logging.ERROR)
