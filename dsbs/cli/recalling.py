"""Settings read back from the files of a checkpoint or a run, which may be somebody else's.

Nothing in them is run, only kinds of our registries are built, and data is read only from below the current folder or
from the hub's own benchmarks; other places have to be typed.
"""

from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsbs.cli.composition import conf_dir
from dsbs.cli.config import GROUPS
from dsbs.core.errors import DataError
from dsbs.core.untrusted import MAX_YAML, check_yaml, excerpt, read_file
from dsbs.extraction.filters import Filter
from dsbs.extraction.prompts import Prompt
from dsbs.training.settings import TrainSettings

Part = TypeVar("Part")
MAX_DEPTH = 16
MAX_VALUES = 25_000
HUB = ("hub", "hub_config", "revision")


def recall(schema: type[Part], values: Any, place: str) -> Part:
    """Return values of a file as the dataclass that is their schema; nothing in them is run or interpolated.

    Raises:
        DataError: for keys that the schema does not know, and values of the wrong type.
    """
    if not isinstance(values, dict) or not _is_plain(values) or count_values(values) > MAX_VALUES:
        raise DataError(f"{place}: expected plain keys and values.")
    try:
        return cast(Part, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(values))))
    except OmegaConfBaseException as error:
        reason = excerpt(str(error).split("\n")[0], 400)
        raise DataError(f"{place}: {reason}. Another version of dsbs may have written it.") from None


def count_values(value: Any) -> int:
    """Return the number of leaves of nested lists and dictionaries; OmegaConf takes 0.3 ms for each."""
    if isinstance(value, dict):
        value = list(value.values())
    return sum(map(count_values, value)) if isinstance(value, list) else 1


def _is_plain(value: Any, depth: int = 0) -> bool:
    """Return whether values are as settings are: not deep, and nothing in them that OmegaConf would look up."""
    if isinstance(value, str):
        return "${" not in value
    if isinstance(value, dict):
        value = [*value, *value.values()]
    return not isinstance(value, list) or (depth < MAX_DEPTH and all(_is_plain(item, depth + 1) for item in value))


def recall_part(group: str, values: Any, place: str) -> Any:
    """Return a task, objective, … from values of a file; only kinds of our registries are built.

    Raises:
        DataError: as ``recall``, and for an unknown kind.
    """
    kinds = GROUPS[group]
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise DataError(f"{place}: {group}.kind={excerpt(kind, 60)}: expected one of {', '.join(kinds)}.")
    return recall(kinds[kind], values, f"{place}: {group}")


def recall_run(run: Path) -> dict[str, Any]:
    """Return a run's ``config.yaml`` as plain values.

    Raises:
        DataError: where it is missing, no YAML, too large or too deep.
    """
    path = run / "config.yaml"
    try:
        text = read_file(path, MAX_YAML).decode()
        check_yaml(text)
        values = OmegaConf.to_container(OmegaConf.create(text), resolve=False)
    except (ValueError, yaml.YAMLError, OmegaConfBaseException, RecursionError) as error:
        raise DataError(f"{path}: cannot be read: {excerpt(str(error).splitlines()[0])}.") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected keys and values.")
    return {str(key): value for key, value in values.items()}


def recall_settings(run: Path, trusted: bool) -> TrainSettings:
    """Return the settings of a finished run as typed objects, from its ``config.yaml``.

    Args:
        trusted: whether the user typed ``trust_run=true``: data is read wherever the run says.

    Raises:
        DataError: where it is not a config of dsbs, or has an unknown kind; and as ``check_places``.
    """
    values = recall_run(run)
    if not trusted:
        check_places(values, run)
        annotated = str(values.get("output_dir", TrainSettings.output_dir))
        if values.get("labels") == "teacher" and not values.get("rationales") and not is_below(annotated):
            # Below it the teacher's labels are looked for.
            raise strange_place(run / "config.yaml", f"output_dir={excerpt(annotated, 400)}")
    place = f"{run}/config.yaml"
    groups = {name: values.pop(name, None) for name in GROUPS}
    prompt, passed = values.pop("prompt", None), values.pop("filter", None)
    settings = recall(TrainSettings, values, place)
    for name, part in groups.items():
        if part is not None or getattr(settings, name) is None:  # a group that came later has a default
            setattr(settings, name, recall_part(name, part, place))
    settings.prompt = recall(Prompt, prompt, place)
    settings.filter = recall(Filter, passed, place) if passed else Filter()
    return settings


def check_places(values: dict[str, Any], run: Path) -> None:
    """Check that the data that a run's config names may be read although the run may be somebody else's.

    Raises:
        DataError: for files outside of the current folder, and hub data sets other than those of our benchmarks.
    """
    task, teacher = (part if isinstance(part := values.get(name), dict) else {} for name in ("task", "teacher"))
    named = {"task.path": task.get("path"), "teacher.path": teacher.get("path"), "rationales": values.get("rationales")}
    for key, place in named.items():
        if place is not None and not is_below(str(place)):
            raise strange_place(run / "config.yaml", f"{key}={excerpt(place, 400)}")
    if task.get("path") is None and task.get("hub") is not None:
        hub = tuple(task.get(name) for name in HUB)
        if not all(isinstance(part, str | None) for part in hub) or hub not in _benchmarks():
            named_hub = f"task.hub={excerpt(task['hub'], 100)}"
            raise strange_place(run / "config.yaml", named_hub, "is loaded from the hub")


def is_below(place: str) -> bool:
    """Return whether a file, a folder or a pattern lies below the current folder."""
    try:
        return Path(place).expanduser().resolve().is_relative_to(Path.cwd().resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, no such user, a byte 0
        return False


def strange_place(file: Path, named: str, why: str | None = None) -> DataError:
    """Return the error for a place that the file of a run names and that is read only with ``trust_run=true``."""
    why = why or f"lies outside of {Path.cwd()}"
    return DataError(
        f"{file}: {named} {why}, and the run may be from someone else. Type trust_run=true if the run is "
        "yours, to read the data there; evaluate and export also take path=FILE_OR_FOLDER."
    )


def _benchmarks() -> set[tuple[Any, ...]]:
    """Return the data sets on the hub that options of ``task`` name: id, configuration and revision."""
    options = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (conf_dir() / "task").glob("*.yaml")]
    return {tuple(option.get(name) for name in HUB) for option in options if option and option.get("hub")}
