"""Registries: names of tasks, teachers and so on, our own and those of installed packages (entry points)."""

from collections.abc import Iterator, Mapping, MutableMapping
from functools import cache
from importlib import import_module, metadata
from typing import Any, Generic, TypeVar, cast

from dsbs.core.errors import ConfigError

Kind = TypeVar("Kind")


class Registry(MutableMapping[str, Kind], Generic[Kind]):
    """A mapping from names to classes (or modules) that imports each when it is first looked up.

    Args:
        group: the group of entry points through which packages add to it.
        own: the entries of dsbs itself: the object, or where it is: ``module:name``, or ``module`` for a module.
        base: the class that the entries of packages must extend, or None.
    """

    def __init__(self, group: str, own: Mapping[str, Kind | str], base: type | None = None) -> None:
        self.group, self.base = group, base
        self._own: dict[str, Kind | str] = dict(own)
        self._loaded: dict[str, Kind] = {}

    def __getitem__(self, name: str) -> Kind:
        """Return the entry of a name.

        Raises:
            KeyError: where there is no such name.
            ConfigError: where it is a plugin's that cannot be loaded or does not extend ``base``.
        """
        if name in self._own:
            found = self._own[name]
            if isinstance(found, str):
                module, _, attribute = found.partition(":")
                there = import_module(module)
                found = self._own[name] = cast(Kind, getattr(there, attribute) if attribute else there)
            return found
        point = self._added()[name]
        if name not in self._loaded:
            self._loaded[name] = self._load(point)
        return self._loaded[name]

    def __setitem__(self, name: str, kind: Kind) -> None:
        self._own[name] = kind

    def __delitem__(self, name: str) -> None:
        del self._own[name]

    def __iter__(self) -> Iterator[str]:
        yield from self._own
        yield from (name for name in self._added() if name not in self._own)

    def __len__(self) -> int:
        return len(list(iter(self)))

    def __contains__(self, name: object) -> bool:
        return name in self._own or name in self._added()

    def _added(self) -> dict[str, metadata.EntryPoint]:
        return {point.name: point for point in find_entry_points(self.group)}

    def _load(self, point: metadata.EntryPoint) -> Kind:
        try:
            kind = point.load()
        except Exception as error:  # whatever somebody else's package does when it is imported
            raise ConfigError(f"{_describe(point)} cannot be loaded: {type(error).__name__}: {error}.") from error
        if self.base and not (isinstance(kind, type) and issubclass(kind, self.base)):
            base = f"{self.base.__module__}.{self.base.__name__}"
            raise ConfigError(f"{_describe(point)} cannot be used: expected a class that extends {base}.")
        return cast(Kind, kind)


def find_entry_points(group: str) -> list[metadata.EntryPoint]:
    """Return the entry points of a group, sorted by name."""
    return sorted(_all_entry_points().select(group=group), key=lambda point: point.name)


@cache
def _all_entry_points() -> Any:
    return metadata.entry_points()  # reads a file of each installed package


def _describe(point: metadata.EntryPoint) -> str:
    package = f" of the package {point.dist.name} {point.dist.version}" if point.dist else ""
    return f"The plugin {point.name} = {point.value}{package} ({point.group})"
