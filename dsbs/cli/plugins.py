"""Where Hydra finds further configs: in installed plugins, and in a folder of the user's."""

from functools import cache
from importlib.util import find_spec
from pathlib import Path

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin

from dsbs.core.registry import find_entry_points

PLUGIN_GROUPS = (
    "dsbs.tasks",
    "dsbs.teachers",
    "dsbs.students",
    "dsbs.objectives",
    "dsbs.backends",
    "dsbs.predictors",
    "dsbs.exports",
    "dsbs.executors",
    "dsbs.filters",
    "dsbs.conf",
)
BESIDE: list[Path] = []  # the user's folder of options, while we compose with it


@cache
def plugin_conf_dirs() -> tuple[Path, ...]:
    """Return the ``conf`` folders of installed plugins: inside the package of each entry point.

    An entry point of the group ``dsbs.conf`` names a package that has configs and nothing else.
    """
    folders: dict[Path, None] = {}
    for group in PLUGIN_GROUPS:
        for point in find_entry_points(group):
            module = point.value.partition(":")[0].strip()
            try:
                spec = find_spec(module if group == "dsbs.conf" else module.partition(".")[0])
            except (ImportError, ValueError):  # reported when somebody asks for what it brings
                continue
            for place in map(Path, (spec.submodule_search_locations if spec else None) or []):
                inside = place / "conf"
                if inside.is_dir():
                    folders[inside] = None
                elif group == "dsbs.conf" and place.is_dir():
                    folders[place] = None
    return tuple(folders)


class PluginConfigs(SearchPathPlugin):
    """Lets Hydra find the configs of plugins, after our own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append the ``conf`` folder of each plugin, and the user's."""
        for folder in plugin_conf_dirs():
            search_path.append(provider=f"dsbs plugin {folder.parent.name}", path=f"file://{folder}")
        for folder in BESIDE:
            search_path.append(provider="command-line", path=f"file://{folder}")
