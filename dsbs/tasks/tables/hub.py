"""Rows from the Hugging Face hub, through ``datasets``."""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.tasks.tables.class_names import column_of, name_classes
from dsbs.tasks.tables.files import is_saved
from dsbs.tasks.tables.sources import Row, shorten_floats
from dsbs.tasks.tables.splits import SPLITS, choose_names

_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubSource:
    """A data set on the hub, or a folder that ``datasets`` can load.

    Attributes:
        id: such as ``facebook/anli``.
        split_names: the hub's name of each of our splits; empty: by name.
    """

    id: str
    config: str | None = None
    revision: str | None = None
    split_names: dict[str, str] = field(default_factory=dict)

    def splits(self) -> tuple[str, ...]:
        """Return the splits that exist, among train, validation and test."""
        names = self.split_names or self._names_by_split
        return tuple(split for split in SPLITS if split in names)

    def rows(self, split: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of a split with their places; class labels come as names.

        Raises:
            DataError: where the data set cannot be loaded, or has no such split.
        """
        names = self.split_names or self._names_by_split
        if names[split] not in self._data:
            raise DataError(
                f"{self.id} has no split {names[split]!r} for {split}; it has {', '.join(self._data)} "
                "(task.split_names names them)."
            )
        data = self._data[names[split]]
        data = data.remove_columns([column for column, feature in data.features.items() if _is_media(feature)])
        classes = _classes_of(data)
        kinds = {column: getattr(f, "dtype", "") for column, f in data.features.items()}
        narrow = {column: kind for column, kind in kinds.items() if kind in ("float32", "float16")}
        for number, row in enumerate(data, 1):
            name_classes(row, classes)
            shorten_floats(row, narrow)
            yield f"{self.id}/{names[split]}:{number}", row

    def classes(self, column: str) -> list[str]:
        """Return the class names of a column; empty where it declares none."""
        found = (_classes_of(data).get(column_of(column)) for data in self._data.values())
        return next(filter(None, found), [])

    def identity(self) -> dict[str, object]:
        """Return id, configuration and commit; in place of a branch or tag, which may move, a hash of the rows."""
        identity: dict[str, object] = {"config": self.config, "split_names": self.split_names}
        if self.revision and _COMMIT.fullmatch(self.revision):
            return identity | {"hub": self.id, "revision": self.revision}
        return identity | {"rows": {name: _hash_rows(data) for name, data in self._data.items()}}

    @cached_property
    def _names_by_split(self) -> dict[str, str]:
        names, unclear = choose_names(self._data)
        if unclear or not names:
            what = "; ".join(f"{' or '.join(names)} for {split}" for split, names in unclear.items())
            raise DataError(
                f"{self.id}: which of its splits ({', '.join(self._data)}) are train, validation and test?"
                f"{f' It may be {what}.' if what else ''} Name them: 'task.split_names={{train: ...}}'."
            )
        return names

    @cached_property
    def _data(self) -> Any:
        import datasets

        try:
            if is_saved(self.id):
                saved = datasets.load_from_disk(str(Path(self.id).expanduser()))
                return saved if isinstance(saved, dict) else datasets.DatasetDict(train=saved)
            return datasets.load_dataset(self.id, self.config, revision=self.revision)
        except Exception as error:  # whatever goes wrong there, the user's way out is the same
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise DataError(
                f"The data set {self.id} (revision {self.revision or 'default'}) could not be loaded from the hub: "
                f"{reason:.300}\nOffline, or another copy? Give files with task.path=FOLDER."
            ) from error


def _classes_of(data: Any) -> dict[str, list[str]]:
    """Return column -> class names, of columns of classes or of lists of them."""
    inner = {column: getattr(feature, "feature", feature) for column, feature in data.features.items()}
    return {column: [str(name) for name in one.names] for column, one in inner.items() if hasattr(one, "int2str")}


def _hash_rows(data: Any) -> str:
    import pyarrow

    digest = hashlib.sha256()
    for table in data.with_format("arrow").iter(batch_size=10_000):
        sink = pyarrow.BufferOutputStream()
        table = table.replace_schema_metadata(None).combine_chunks()
        with pyarrow.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        digest.update(sink.getvalue())
    return digest.hexdigest()[:16]


def _is_media(feature: Any) -> bool:
    """Return whether a feature holds nothing but images, sounds and the like, which would be decoded with every row."""
    if isinstance(feature, dict):
        return all(map(_is_media, feature.values()))
    inner = getattr(feature, "feature", feature)
    return _is_media(inner) if inner is not feature else hasattr(feature, "decode") and type(feature).__name__ != "Json"
