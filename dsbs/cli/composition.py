"""How a config is composed: what the user types wins over all that a preset, an experiment or ``tuned`` says.

Hydra merges the options of the groups in the order of the defaults list, so an option that comes late (``experiment``,
``tuned``) would win over one that the user typed. ``ConfigLoader`` puts that right at the one place where Hydra merges:
the keys that the file of a typed option sets are merged once more behind everything else. Keys that are typed win by
themselves.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, cast

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra._internal import hydra as hydra_internals
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra.core.default_element import GroupDefault, ResultDefault
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import ConfigCompositionException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from yaml import YAMLError

from dsbs.cli.overrides import apply_as_typed, check_folders, first_option, hide_all, restore_keys, show_as_typed
from dsbs.cli.plugins import BESIDE, PluginConfigs, plugin_conf_dirs

TUNED = "tuned"
# The groups that name a file of `tuned`: it was chosen for them, so it may add to them.
TUNED_FOR = ("task", "student", "objective")
# Groups whose options set keys of other groups, and no others' rank applies to them.
PRESETS = ("experiment", TUNED)
OF_ALL_GROUPS = (*PRESETS, "launcher", "search")
# Groups and keys by their earlier names.
RENAMED = {"gate": "filter"}

_SCHEMA_OF_OPTION = re.compile(r"^ *- */schema/\w+@_here_: *(\w+)", re.M)

logger = logging.getLogger(__name__)


def conf_dir() -> Path:
    """Return the folder of the configs: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


class Repository(CachingConfigRepository):
    """Finds configs; a task without a prompt of its name gets that of ``table``, unless a prompt was typed."""

    prompt_typed = False

    def load_config(self, config_path: str) -> ConfigResult | None:
        """Return a config, or None where there is none; presets are about all groups, whether they say so or not.

        Raises:
            ConfigCompositionException: the file is no YAML.
        """
        try:
            found = super().load_config(config_path)
        except (YAMLError, UnicodeDecodeError) as error:
            mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or error
            line = f":{mark.line + 1}" if mark else ""
            raise ConfigCompositionException(f"{config_path}.yaml{line}: not valid YAML in UTF-8: {problem}.") from None
        group, _, name = config_path.partition("/")
        if found is not None and group in OF_ALL_GROUPS and not found.header.get("package"):
            found.header["package"] = "_global_"
        if found is None and group == "prompt" and not self.prompt_typed and self.config_exists(f"task/{name}"):
            return super().load_config("prompt/table")
        return found


class ConfigLoader(ConfigLoaderImpl):
    """Hydra's loader, but options that were typed take precedence over presets."""

    def _load_configuration_impl(
        self, config_name: str | None, overrides: list[str], run_mode: RunMode, *args: Any, **kwargs: Any
    ) -> DictConfig:
        words = hide_all([rename(word) for word in overrides])
        self._mode = run_mode
        config = super()._load_configuration_impl(config_name, words, run_mode, *args, **kwargs)
        check_folders(config)
        for node in _free_nodes(config):
            restore_keys(node)
        return config

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        parsed = OverridesParser.create().parse_overrides(overrides=overrides)
        repository = Repository(self.repository)
        self._process_config_searchpath(config_name, parsed, repository)
        self._typed = [
            override.key_or_group
            for override in parsed
            if not override.is_hydra_override() and repository.group_exists(override.key_or_group)
        ]
        self._primary = config_name
        usual = _default_options(config_name, self.repository)
        for group in (one.key_or_group for one in parsed if one.is_delete() and one.key_or_group in usual):
            raise ConfigCompositionException(
                f"~{group}: it cannot be left out: {group}=OPTION; --help lists the options."
            )
        repository.prompt_typed = "prompt" in self._typed
        if self._mode == RunMode.MULTIRUN:
            parsed = [first_option(one) if one.key_or_group in self._typed else one for one in parsed]
        return parsed, repository

    def _compose_config_from_defaults_list(self, defaults: list[ResultDefault], repo: IConfigRepository) -> DictConfig:
        # What the repository in front of it has cached, Hydra has changed to what was chosen.
        usual = _default_options(self._primary, getattr(repo, "delegate", repo))
        ranked = rank_defaults(defaults, self._typed, usual)
        config = super()._compose_config_from_defaults_list(ranked, repo)
        for node in _free_nodes(config):
            OmegaConf.set_struct(node, False)
        return config


_compose_for_mode = hydra_internals.Hydra.get_mode


def find_mode(self: hydra_internals.Hydra, config_name: str | None, overrides: list[str]) -> Any:
    """Return the mode (run or sweep) that the config itself asks for, or None.

    Hydra composes the whole config for it, a first time. No config of dsbs asks, so that is done only where something
    else may: overrides of Hydra's own settings, the user's options, or those of a plugin.
    """
    ours = all(path.provider in ("hydra", "main", "schema") for path in self.config_loader.get_search_path().get_path())
    if ours and not any(word.lstrip("+~").startswith("hydra") for word in overrides):
        return None
    return _compose_for_mode(self, config_name, overrides)


def rename(word: str) -> str:
    """Return an override with the current name of its key or group.

    >>> rename("gate.min_words=3"), rename("seed=1")
    ('filter.min_words=3', 'seed=1')
    """
    found = re.match(r"([+~]*)(\w+)", word)
    if found is None or found[2] not in RENAMED:
        return word
    new = RENAMED[found[2]]
    _log_renamed(found[2], new)
    return f"{found[1]}{new}{word[found.end() :]}"


@cache
def _log_renamed(old: str, new: str) -> None:
    logger.warning("%s= is called %s= now.", old, new)


def rank_defaults(
    defaults: Sequence[ResultDefault], typed: Sequence[str], usual: dict[str, str]
) -> list[ResultDefault]:
    """Return the parts of a config in the order in which they are merged.

    Args:
        typed: the groups of which an option was typed.
        usual: group -> its default option.
    """
    ranked = []
    for part in defaults:
        ranked.append(part)
        if _group(part) == TUNED:
            # It was found with the usual options. One that was chosen instead is taken as it is, not half of each.
            ranked += [
                other
                for other in defaults
                if (group := _group(other)) not in PRESETS
                and group in usual
                and (group in typed or not _is_option(defaults, group, usual[group]))
                and (_own(other) or group not in TUNED_FOR)
            ]
    return ranked + [part for part in defaults if _group(part) in typed and _group(part) not in PRESETS and _own(part)]


def _group(part: ResultDefault) -> str:
    """Return the group that a part of a config belongs to, or an empty text."""
    path = part.config_path or ""
    if path.startswith("schema"):
        return (part.package or "").partition(".")[0]
    return path.partition("/")[0] if "/" in path and not path.startswith("hydra/") else ""


def _own(part: ResultDefault) -> bool:
    """Return whether a part is a file that somebody wrote, and not the defaults of a schema."""
    return not (part.config_path or "").startswith("schema")


def _is_option(defaults: Sequence[ResultDefault], group: str, option: str) -> bool:
    return any(part.config_path == f"{group}/{option}" for part in defaults)


def _default_options(primary: str | None, repo: IConfigRepository) -> dict[str, str]:
    """Return group -> option as the root file lists them."""
    loaded = repo.load_config(primary) if primary else None
    return {
        part.group: part.value
        for part in (loaded.defaults_list if loaded else None) or []
        if isinstance(part, GroupDefault) and part.group and isinstance(part.value, str)
    }


def _free_nodes(node: Any) -> Iterator[DictConfig]:
    """Yield the nodes that are declared as dictionaries: their keys are the user's own, and need no ``+``."""
    if not isinstance(node, DictConfig) or node._is_none() or node._is_missing() or node._is_interpolation():
        return
    for key in node:
        child = node._get_node(key)
        if isinstance(child, DictConfig):
            if OmegaConf.get_type(child) is dict and OmegaConf.get_type(node) is not dict:
                yield child
            else:
                yield from _free_nodes(child)


def kind_of_option(group: str, option: str) -> str | None:
    """Return the kind that an option of a group chooses, such as ``finetune`` of ``objective=distill``, or None."""
    for folder in (conf_dir(), *plugin_conf_dirs()):
        file = folder / group / f"{option}.yaml"
        if option and file.is_file() and (found := _SCHEMA_OF_OPTION.search(file.read_text(encoding="utf-8"))):
            return found[1]
    return None


def install() -> None:
    """Make Hydra compose as this module says; safe to repeat."""
    hydra_internals.ConfigLoaderImpl = ConfigLoader  # type: ignore[misc]
    hydra_internals.Hydra.get_mode = find_mode  # type: ignore[method-assign]
    ConfigLoaderImpl._apply_overrides_to_config = staticmethod(apply_as_typed)  # type: ignore[method-assign, assignment]
    Override.get_value_element_as_str = show_as_typed  # type: ignore[method-assign]
    if PluginConfigs not in Plugins.instance().discover(SearchPathPlugin):
        Plugins.instance().register(PluginConfigs)


def list_options(command: str, folder: str | None = None) -> dict[str, list[str]]:
    """Return the groups of a command, each with its options, the default first.

    Args:
        folder: of the user's own options (``--config-dir``), or None.
    """
    with composing(folder) as loader:
        repo = loader.repository
        loaded = repo.load_config(command)
        listed = [part for part in (loaded.defaults_list if loaded else None) or [] if isinstance(part, GroupDefault)]
        groups = {}
        for part in listed:
            group = part.group or ""
            if part.is_override() or group.startswith(("schema", "hydra")) or group == TUNED:
                continue
            usual = str(part.value)
            if usual.startswith("${"):  # the option of another group, such as ${task}
                usual = next((str(other.value) for other in listed if other.group == usual[2:-1]), usual)
            options = _options(repo, group)
            groups[group] = [name for name in [usual] if name in options] + [name for name in options if name != usual]
    return groups


def _options(repo: IConfigRepository, group: str) -> list[str]:
    own = repo.get_group_options(group, ObjectType.CONFIG)
    below = [
        f"{folder}/{option}"
        for folder in repo.get_group_options(group, ObjectType.GROUP)
        for option in _options(repo, f"{group}/{folder}")
    ]
    return sorted({*own, *below})


@contextmanager
def composing(folder: str | None = None) -> Iterator[ConfigLoader]:
    """Open Hydra on our configs, and those in a folder of the user's, without running a command."""
    install()
    GlobalHydra.instance().clear()
    BESIDE[:] = [Path(folder).absolute()] if folder else []
    try:
        with initialize_config_dir(str(conf_dir()), version_base=None):
            yield cast(ConfigLoader, GlobalHydra.instance().config_loader())
    finally:
        BESIDE.clear()


def compose(command: str, overrides: Sequence[str] = (), folder: str | None = None) -> DictConfig:
    """Return the composed config of a command.

    Raises:
        HydraException, OmegaConfBaseException: for what is wrong with the overrides.
    """
    with composing(folder):
        return hydra_compose(command, list(overrides))
