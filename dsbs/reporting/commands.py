"""Commands for runs that are missing from a comparison."""

import shlex
from collections.abc import Sequence

from dsbs.core.errors import ConfigError
from dsbs.extraction.prompts import WHOLE
from dsbs.objectives import OBJECTIVES
from dsbs.reporting.conditions import Condition
from dsbs.reporting.reading import FinishedRun
from dsbs.students import STUDENTS
from dsbs.training.compatibility import combination_faults

SET_ANEW = ("objective", "data_fraction", "seed", "control")


def complete_command(conditions: Sequence[Condition], objective: str, fraction: str) -> list[str]:
    """Return the command that trains another objective, or on another share of the data, like the existing runs.

    Task, path, teacher, student, training and seeds are taken from the most similar condition, without the settings of
    its objective.

    Args:
        conditions: of the existing runs; at least one.
        fraction: share of the data, as it is typed.
    """
    alike = sorted(conditions, key=lambda condition: (condition.objective != objective, bool(condition.control)))
    run = alike[0].runs[0]
    kept = [word for word in overrides_of(run) if not _is_own(word, same=alike[0].objective == objective)]
    if not any(word.partition("=")[0] in ("task", "experiment") for word in kept):
        kept.insert(0, f"task={run.metrics['task']}")
    words = [*kept, f"objective={objective}", f"data_fraction={fraction}"]
    seeds = alike[0].seeds
    if seeds == [0]:
        return [*program_of(run), *words]
    return [*program_of(run), *(["-m"] if len(seeds) > 1 else []), *words, f"seed={','.join(map(str, seeds))}"]


def can_learn(condition: Condition, objective: str) -> bool:
    """Return whether a condition's student can be trained with an objective; True for unknown plugins.

    It cannot where the objective learns rationales, but the teacher's whole text was its answer (``prompt=whole``).
    """
    config = condition.runs[0].config
    try:
        student, wanted = STUDENTS[str(config.get("student.kind"))](), OBJECTIVES[objective](name=objective)
    except (KeyError, ConfigError):  # of a plugin that is not here, or is broken
        return True
    if wanted.needs_rationales and config.get("prompt.answer_format") == WHOLE:
        return False
    return not combination_faults(student, wanted, "auto")


def program_of(run: FinishedRun) -> list[str]:
    """Return the command that started a run, without its overrides but with its ``--config-dir``."""
    words = arguments_of(run)
    position = words.index("--config-dir") if "--config-dir" in words[:-1] else None
    return ["python", "-m", "dsbs.train", *(words[position : position + 2] if position is not None else [])]


def arguments_of(run: FinishedRun) -> list[str]:
    """Return the arguments of a run's command: ``python -m dsbs.train``, ``dsbs train`` or a script."""
    try:
        words = shlex.split(str(run.manifest.get("command", "")))
    except ValueError:
        return []
    return words[3:] if words[1:2] == ["-m"] else words[2:]


def overrides_of(run: FinishedRun) -> list[str]:
    """Return the overrides of a run's command; a list of a sweep is replaced by the run's own value.

    ``search=optuna`` is left out: its jobs' commands have the values that it chose.
    """
    words = arguments_of(run)
    swept = any(word in ("-m", "--multirun") for word in words)
    overrides = []
    for word in words:
        key, separator, value = word.partition("=")
        if not separator or key.startswith(("-", "hydra", "launcher", "search", "~")):
            continue
        if swept and "," in value and not value.startswith(("[", "{", "'", '"')):
            name = key.lstrip("+")
            own = run.config.get(name, run.config.get(f"{name}.name"))
            if own is None:
                continue
            word = f"{key}={own}"
        overrides.append(word)
    return overrides


def _is_own(word: str, same: bool) -> bool:
    key = word.partition("=")[0].lstrip("+")
    group = key.partition(".")[0]
    return key in SET_ANEW or group == "control" or (group == "objective" and not same)
