"""Sweeps: many jobs of one command; each notes how it ended, and the end lists them."""

import json
import os
import shlex
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from textwrap import indent

from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode

from dsbs.cli.composition import kind_of_option
from dsbs.cli.overrides import reveal_keys
from dsbs.core.files import write_json
from dsbs.objectives import OBJECTIVES
from dsbs.students import STUDENTS

# Options that need a plugin of Hydra: the plugin's package, and the extra that brings it.
PLUGINS = {
    "launcher/joblib": ("hydra_joblib_launcher", "joblib"),
    "launcher/ray": ("hydra_ray_launcher", "ray-launcher"),
    "launcher/slurm": ("hydra_submitit_launcher", "slurm"),
    "search/optuna": ("hydra_optuna_sweeper", "optuna"),
    "search/optuna_rate": ("hydra_optuna_sweeper", "optuna"),
}
PLUGIN_GROUPS = ("launcher", "search", "hydra/launcher", "hydra/sweeper")
SEARCHES = ("optuna", "optuna_rate")  # our own, over the learning rate
# Keys whose values are no settings to choose among: what is measured with one is not comparable with another.
NOT_SEARCHED = ("seed", "split_seed", "data_fraction", "task.seed", "labels")
LOST = (
    "died without a message: killed (often by the kernel, out of memory), or its machine was lost; the same command "
    "resumes from its last checkpoint"
)


@dataclass
class JobResult:
    """How a job of a sweep ended.

    Attributes:
        failure: why it failed, or None.
        value: its score on validation, or None.
        searched: whether a search over settings (``search=optuna``) chose the overrides.
    """

    job: list[str]
    failure: str | None = LOST
    value: float | None = None
    searched: bool = False


def is_multirun(words: Sequence[str]) -> bool:
    """Return whether the words of a command ask for a sweep."""
    return not {"-m", "--multirun"}.isdisjoint(words)


def in_sweep() -> bool:
    """Return whether this is a job of a sweep."""
    return HydraConfig.get().mode == RunMode.MULTIRUN


def results_folder() -> Path:
    """Return the folder where the jobs of a sweep note how they ended; Hydra makes it in a sweep.

    It is in the current folder if that can be written, because jobs on other machines see that folder, too.
    """
    here = Path.cwd() if os.access(Path.cwd(), os.W_OK) else Path(tempfile.gettempdir())
    return here / f".dsbs-sweep-{uuid.uuid4().hex[:8]}"


def record_result(folder: Path, failure: str | None = LOST, value: float | None = None) -> None:
    """Note how this job ended; at its start, that it was lost, which then holds for a job that is killed."""
    config = HydraConfig.get()
    searched = "optuna" in str(config.sweeper.get("_target_", ""))
    words = [reveal_keys(word) for word in config.overrides.task]
    write_result(folder, config.job.num, JobResult(words, failure, value, searched))


def write_result(folder: Path, number: int, result: JobResult) -> None:
    """Write how a job ended."""
    write_json(folder / f"{number}.json", asdict(result))  # whole, also if the job is killed meanwhile


def read_results(folder: Path) -> list[JobResult]:
    """Return how the jobs ended, in the order in which they started."""
    files = sorted(folder.glob("*.json"), key=lambda file: int(file.stem))
    return [JobResult(**json.loads(file.read_text(encoding="utf-8"))) for file in files]


def describe_results(results: Sequence[JobResult]) -> str:
    """Return how the jobs ended as text, one a line; empty where there are none.

    A job is named by those of its overrides that not all jobs share.
    """
    if not results:
        return ""
    shared = set.intersection(*(set(result.job) for result in results)) if len(results) > 1 else set()
    names = [" ".join(word for word in result.job if word not in shared) or "(all alike)" for result in results]
    named = list(zip(names, results, strict=True))
    done = [(name, result) for name, result in named if result.failure is None]
    failed = [(name, result) for name, result in named if result.failure is not None]
    lines = []
    if done:
        lines.append(f"\n{len(done)} of this sweep's jobs succeeded:")
        lines += [f"  {name}{_show_value(result)}" for name, result in done]
    if failed:
        lines.append(f"\n{len(failed)} of this sweep's jobs failed:")
        lines += [f"  {name}\n{indent(str(result.failure), ' ' * 6)}" for name, result in failed]
    measured = [(name, result) for name, result in done if result.value is not None and result.searched]
    if measured:
        name, best = max(measured, key=lambda trial: trial[1].value or 0.0)
        lines.append(f"\nThe best of {len(results)} trials: {name}{_show_value(best)}")
        lines.append("`python -m dsbs.report` prints the command that measures it on test.")
    return "\n".join(lines) + "\n"


def _show_value(result: JobResult) -> str:
    return "" if result.value is None else f"   validation {100 * result.value:.2f}%"


def _without_alpha(words: Sequence[str]) -> str | None:
    """Return the objective that was typed and has no alpha to search for, or None."""
    for word in words:
        group, _, option = word.partition("=")
        kind = kind_of_option(group, option) if group == "objective" else None
        if kind and kind in OBJECTIVES and "alpha" not in OBJECTIVES[kind].__dataclass_fields__:
            return word
    return None


def _without_rate(words: Sequence[str]) -> str | None:
    """Return the student that was typed and is not trained by steps, so that it has no learning rate, or None."""
    for word in words:
        group, _, option = word.partition("=")
        kind = kind_of_option(group, option) if group == "student" else None
        if kind and kind in STUDENTS and not STUDENTS[kind].reads_training:
            return word
    return None


def _varies(word: str) -> bool:
    """Return whether the jobs of a sweep have different values of a key other than ``checkpoint``."""
    try:
        override = OverridesParser.create().parse_override(word)
    except HydraException:  # reported when the config is composed
        return False
    return override.is_sweep_override() and override.key_or_group != "checkpoint"


def _searched_seed(words: Sequence[str]) -> str | None:
    """Return what was typed with several values that a search would take the luckiest of, or None."""
    return next((word for word in words if word.partition("=")[0] in NOT_SEARCHED and _varies(word)), None)


def _compares(words: Sequence[str]) -> bool:
    return any(word.lower() in ("compare=true", "compare=yes", "compare=on", "compare=1") for word in words)


def sweep_fault(command: str, words: Sequence[str]) -> str | None:
    """Return what is wrong with the options of a sweep, or None: ``-m``, a plugin or ``objective.alpha`` is missing."""
    if command == "serve" and is_multirun(words):
        return "-m: the jobs of a sweep run in turn, and a server does not end. Start one command for each server."
    for word in words:
        key, _, value = word.partition("=")
        if key in PLUGIN_GROUPS and value not in ("null", "basic") and not is_multirun(words):
            return f"{word} is for sweeps, which -m starts: python -m dsbs.{command} -m {shlex.join(words)}"
        if key == "output" and is_multirun(words) and value not in ("null", "-") and not {*",$"} & set(value):
            varies = next((other.partition("=")[0] for other in words if "," in other), "KEY")
            return (
                f"{word}: every job of the sweep would write there. Name it by what varies:\n"
                f"    'output=${{{varies}}}-{Path(value).name}'"
            )
        if command == "defer" and is_multirun(words) and _varies(word) and not _compares(words):
            return (
                f"{word}: every job of the sweep would overwrite the run's one defer.json. Type one value: {key}="
                f"{value.partition(',')[0]} (defer.html shows the risk at every coverage). -m is for several runs, "
                "checkpoint=RUN1,RUN2, and for compare=true."
            )
        if key == "search" and value != "null" and (typed := _searched_seed(words)):
            return f"{typed}: {word} would take whichever of these is luckiest on validation; type one for each search."
        if key == "search" and value in SEARCHES and (typed := _without_rate(words)):
            return f"{word} tries training.learning_rate, which {typed} does not have; leave out the search."
        if word == "search=optuna" and (typed := _without_alpha(words)):
            return f"search=optuna tries objective.alpha, which {typed} does not have: {typed} search=optuna_rate"
        package, extra = PLUGINS.get(word.replace("=", "/"), ("", ""))
        try:
            if package and find_spec(f"hydra_plugins.{package}") is None:
                raise ModuleNotFoundError
        except ModuleNotFoundError:  # also where there is no plugin at all
            return f"{word} needs a Hydra plugin: pip install 'dsbs[{extra}]'"
    return None
