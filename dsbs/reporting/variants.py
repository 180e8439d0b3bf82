"""Which settings define a condition, and which do not."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from dsbs.training.settings import NOT_IN_IDENTITY

# Settings that do not define a condition: paths, speed, logging, evaluation, and what a condition is named by anyway.
NO_VARIANT = (
    *("seed", "data_fraction", "labels", "output_dir", "tracking", "rationales"),
    *("task.path", "task.name", "student.name", "objective.name"),
    *("teacher.name", "teacher.path", "teacher.api_key_env", "teacher.base_url"),
    *("learnt.rows", "learnt.hash"),
    *("filter", "gate"),  # in learnt.filter, with its name
    *("test", "also_measure", "explain", "training.eval_steps"),
    *(f"training.{key}" for key in NOT_IN_IDENTITY),
)
# Settings that do not matter to a run without a teacher.
TEACHERS_OWN = ("teacher", "prompt", "filter", "gate", "learnt")
# The origin of data and annotations; runs that differ in it are on different curves, whatever the share of the data.
ORIGIN = ("task", "data", "learnt")
# Settings of the task that do not change its training and test examples.
NO_DATA = ("task.path", "task.name", "task.validation_share", "task.validation_fraction")


def find_variant_keys(
    configs: Sequence[Mapping[str, Any]], fractions: Sequence[float], with_teacher: bool
) -> list[str]:
    """Return the settings in which runs of one student, objective, labels and teacher differ.

    A setting that differs only between fractions (fewer steps on less data) is left out, except for ``ORIGIN``:
    conditions of one curve may differ in it, which comparisons note. A setting that some runs lack, being older than
    it, is no difference.

    Args:
        configs: flat, of each run.
    """
    ignored = NO_VARIANT + (() if with_teacher else TEACHERS_OWN)
    values: dict[tuple[str, float], set[Any]] = defaultdict(set)
    for key in {key for config in configs for key in config}:
        if not is_within(key, ignored):
            for config, fraction in zip(configs, fractions, strict=True):
                if key in config:
                    values[key, 0.0 if is_within(key, ORIGIN) else fraction].add(freeze(config[key]))
    return sorted({key for (key, _), seen in values.items() if len(seen) > 1})


def data_of(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that identify a run's data."""
    return {
        key: value for key, value in config.items() if is_within(key, ("task", "data")) and not is_within(key, NO_DATA)
    }


def differing_settings(
    one: Iterable[Mapping[str, Any]], other: Iterable[Mapping[str, Any]], ignored: Sequence[str] = ()
) -> list[str]:
    """Return the settings in which two groups of runs differ, with both values: ``max_steps 50 against 80``.

    Settings that decide no result, or that some run lacks, are left out, as is the objective's class.

    Args:
        one: flat configs of a group.
    """
    sides = [list(one), list(other)]
    kept = tuple(name for name in NO_VARIANT if name != "training.eval_steps")
    differences = []
    for key in sorted({key for side in sides for config in side for key in config}):
        if is_within(key, (*kept, "objective.kind", *ignored)) or not all(
            key in config for side in sides for config in side
        ):
            continue
        values = [sorted({show_value(config[key]) for config in side}) for side in sides]
        if values[0] != values[1]:
            differences.append(f"{key.removeprefix('training.')} {', '.join(values[0])} against {', '.join(values[1])}")
    return differences


def is_within(key: str, groups: Iterable[str]) -> bool:
    """Return whether a dotted key is one of ``groups`` or below one."""
    return any(key == name or key.startswith(f"{name}.") for name in groups)


def shorten(keys: Sequence[str]) -> list[str]:
    """Return the last part of each dotted key where that is unambiguous, else the whole.

    >>> shorten(["objective.alpha", "teacher.seed", "task.seed"])
    ['alpha', 'teacher.seed', 'task.seed']
    """
    last = [key.rpartition(".")[2] for key in keys]
    return [short if last.count(short) == 1 else key for short, key in zip(last, keys, strict=True)]


def freeze(value: Any) -> Any:
    """Return a setting's value in hashable form."""
    return repr(value) if isinstance(value, list | dict) else value


def show_value(value: Any) -> str:
    """Return a setting's value as text."""
    return f"{value:g}" if isinstance(value, float) else str(value)
