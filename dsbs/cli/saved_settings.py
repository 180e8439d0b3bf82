"""Settings read back from the files of a checkpoint or a run, which may be somebody else's.

Nothing in them is run, only kinds of our registries are built, and data is read only from below the current folder or
from the hub's own benchmarks; other paths have to be typed.
"""

from pathlib import Path
from typing import Any, TypeVar, cast

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from dsbs.cli.composition import conf_dir
from dsbs.cli.config import GROUPS
from dsbs.core.errors import DataError
from dsbs.core.untrusted import excerpt, read_yaml
from dsbs.extraction.filters import Filter
from dsbs.extraction.prompts import Prompt
from dsbs.training.settings import TrainSettings

Part = TypeVar("Part")
MAX_DEPTH = 16
MAX_VALUES = 25_000
HUB = ("hub", "hub_config", "revision")


def build_settings(schema: type[Part], values: Any, source: str) -> Part:
    """Return values of a file as the dataclass that is their schema; nothing in them is run or interpolated.

    Raises:
        DataError: for keys that the schema does not know, and values of the wrong type.
    """
    if not isinstance(values, dict) or not _is_plain(values) or count_values(values) > MAX_VALUES:
        raise DataError(f"{source}: expected plain keys and values.")
    try:
        return cast(Part, OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(schema), OmegaConf.create(values))))
    except OmegaConfBaseException as error:
        reason = excerpt(str(error).split("\n")[0], 400)
        raise DataError(f"{source}: {reason}. Another version of dsbs may have written it.") from None


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


def build_part(group: str, values: Any, source: str) -> Any:
    """Return a task, objective, … from values of a file; only kinds of our registries are built.

    Raises:
        DataError: as ``build_settings``, and for an unknown kind.
    """
    kinds = GROUPS[group]
    kind = values.get("kind") if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in kinds:
        raise DataError(f"{source}: {group}.kind={excerpt(kind, 60)}: expected one of {', '.join(kinds)}.")
    return build_settings(kinds[kind], values, f"{source}: {group}")


def load_run_settings(run: Path, trusted: bool) -> TrainSettings:
    """Return the settings of a finished run as typed objects, from its ``config.yaml``.

    Args:
        trusted: whether the user typed ``trust_run=true``: data is read wherever the run says.

    Raises:
        DataError: where it is not a config of dsbs, or has an unknown kind; and as ``check_data_paths``.
    """
    values = read_yaml(run / "config.yaml")
    if not trusted:
        check_data_paths(values, run)
        annotated = str(values.get("output_dir", TrainSettings.output_dir))
        if values.get("labels", "gold") != "gold" and not values.get("rationales") and not is_below_cwd(annotated):
            # Below it the teacher's labels are looked for.
            raise untrusted_path_error(run / "config.yaml", f"output_dir={excerpt(annotated, 400)}")
    source = f"{run}/config.yaml"
    groups = {name: values.pop(name, None) for name in GROUPS}
    prompt, passed = values.pop("prompt", None), values.pop("filter", None)
    settings = build_settings(TrainSettings, values, source)
    for name, part in groups.items():
        if part is not None or getattr(settings, name) is None:  # a group that came later has a default
            setattr(settings, name, build_part(name, part, source))
    settings.prompt = build_settings(Prompt, prompt, source)
    settings.filter = build_settings(Filter, passed, source) if passed else Filter()
    return settings


def check_data_paths(values: dict[str, Any], run: Path) -> None:
    """Check that the data that a run's config names may be read although the run may be somebody else's.

    Raises:
        DataError: for files outside of the current folder, and hub data sets other than those of our benchmarks.
    """
    task, teacher = (part if isinstance(part := values.get(name), dict) else {} for name in ("task", "teacher"))
    named = {"task.path": task.get("path"), "teacher.path": teacher.get("path"), "rationales": values.get("rationales")}
    for key, path in named.items():
        if path is not None and not is_below_cwd(str(path)):
            raise untrusted_path_error(run / "config.yaml", f"{key}={excerpt(path, 400)}")
    if task.get("path") is None and task.get("hub") is not None:
        hub = tuple(task.get(name) for name in HUB)
        if not all(isinstance(part, str | None) for part in hub) or hub not in _benchmarks():
            named_hub = f"task.hub={excerpt(task['hub'], 100)}"
            raise untrusted_path_error(run / "config.yaml", named_hub, "is loaded from the hub")


def is_below_cwd(path: str) -> bool:
    """Return whether a file, a folder or a pattern lies below the current folder."""
    try:
        return Path(path).expanduser().resolve().is_relative_to(Path.cwd().resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, no such user, a byte 0
        return False


def untrusted_path_error(file: Path, named: str, why: str | None = None) -> DataError:
    """Return the error for a path that the file of a run names and that is read only with ``trust_run=true``."""
    why = why or f"lies outside of {Path.cwd()}"
    return DataError(
        f"{file}: {named} {why}, and the run may be from someone else. Type trust_run=true if the run is "
        "yours, to read the data there; evaluate and export also take path=FILE_OR_FOLDER."
    )


def _benchmarks() -> set[tuple[Any, ...]]:
    """Return the data sets on the hub that options of ``task`` name: id, configuration and revision."""
    options = [yaml.safe_load(file.read_text(encoding="utf-8")) for file in (conf_dir() / "task").glob("*.yaml")]
    return {tuple(option.get(name) for name in HUB) for option in options if option and option.get("hub")}
