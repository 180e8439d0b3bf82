"""Registries: our own kinds, and those of other packages."""

from importlib.metadata import EntryPoint, EntryPoints
from typing import Any

import pytest

from dsbs.core import registry
from dsbs.core.errors import ConfigError
from dsbs.core.registry import Registry


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> Registry[Any]:
    """A registry to which two packages add, one of them a broken one."""
    points = [
        EntryPoint("count", "collections:Counter", "some.group"),
        EntryPoint("broken", "no_such_package:Thing", "some.group"),
        EntryPoint("other", "pathlib:Path", "some.group"),
        EntryPoint("own", "pathlib:Path", "some.group"),
    ]
    monkeypatch.setattr(registry, "_all_entry_points", lambda: EntryPoints(points))
    return Registry("some.group", {"own": dict, "later": "collections:OrderedDict"}, base=dict)


def test_what_is_ours_comes_first_and_is_imported_when_it_is_asked_for(kinds: Registry[Any]) -> None:
    assert list(kinds) == ["own", "later", "broken", "count", "other"]
    assert len(kinds) == 5
    assert (kinds["own"], kinds["later"].__name__, kinds["count"].__name__) == (dict, "OrderedDict", "Counter")
    assert "nosuch" not in kinds
    with pytest.raises(KeyError):
        kinds["nosuch"]


def test_a_broken_plugin_is_a_sentence_and_hurts_nobody_else(kinds: Registry[Any]) -> None:
    with pytest.raises(ConfigError, match=r"The plugin broken = no_such_package:Thing .*cannot be loaded: ModuleNot"):
        kinds["broken"]
    with pytest.raises(ConfigError, match=r"The plugin other = .* expected a class that extends builtins\.dict"):
        kinds["other"]
    assert kinds["count"]


def test_nobody_adds_to_a_registry_without_a_group() -> None:
    assert list(Registry[Any](None, {"a": 1})) == ["a"]
