"""The base of tasks over rows: files or the hub, a column map, and a hash of the data."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.tasks.base import Task
from dsbs.tasks.tables.columns import Columns, RowCounts
from dsbs.tasks.tables.hub import HubSource
from dsbs.tasks.tables.sources import FileSource, Row, Source

# Settings that say where the data is; its content is what counts.
PLACES = ("path", "hub", "hub_config", "revision", "split_names")


@dataclass
class RowsTask(Task):
    """Base of the tasks whose examples are rows of files or of a data set on the hub.

    Attributes:
        hub: id of a data set on the hub; used without ``path``.
        hub_config: its configuration, or None for the only one.
        revision: its commit, tag or branch.
    """

    hub: str | None = None
    hub_config: str | None = None
    revision: str | None = None

    @property
    def columns(self) -> Columns:
        """The column map."""
        raise NotImplementedError

    def build_source(self) -> Source:
        """Return the source of the rows.

        Raises:
            DataError: where there is none.
        """
        raise NotImplementedError

    def hub_source(self, split_names: dict[str, str]) -> HubSource:
        """Return the data set on the hub.

        Args:
            split_names: our splits -> the hub's; empty: by name.

        Raises:
            DataError: where none is named, as in the settings of a checkpoint.
        """
        if self.hub is None:
            raise DataError(f"task={self.name}: the location of the data is unknown; set task.path or task.hub.")
        return HubSource(self.hub, self.hub_config, self.revision, split_names)

    @cached_property
    def source(self) -> Source:
        """The source of the rows; built once."""
        return self.build_source()

    def splits(self) -> tuple[str, ...]:
        return self.source.splits()

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a split; errors are those of ``pairs``."""
        return (example for example, _, _ in self.pairs(split))

    def pairs(self, split: str) -> Iterator[tuple[Example, str, Row]]:
        """Yield the examples of a split, each with its place and its row.

        Raises:
            DataError: where there is no such split, a row is faulty, or no row is left.
        """
        if split not in self.splits():
            raise DataError(f"task={self.name} has no {split} split here; it has {', '.join(self.splits())}.")
        counts = RowCounts()
        yield from self.columns.pairs(self.source.rows(split), split, counts)
        self.counts[split] = counts
        if not counts.examples:
            place = self.path or self.hub
            found = f" Found {counts.describe()}." if counts.rows else ""
            raise DataError(
                f"The {split} split of task={self.name} ({place}) is empty: expected at least one row.{found}"
            )

    def data_counts(self) -> dict[str, dict[str, int]]:
        """Return the findings of ``RowCounts.noted`` for each split that was read to its end and has any."""
        return {split: counts.noted() for split, counts in self.counts.items() if counts.noted()}

    def remarks(self) -> list[str]:
        summaries = {split: counts.describe() for split, counts in self.counts.items()}
        return [f"{self.path or self.hub}, {split}: {words}." for split, words in summaries.items() if words]

    @cached_property
    def counts(self) -> dict[str, RowCounts]:
        """The counts of each split that was read to its end."""
        return {}

    @cached_property
    def content(self) -> dict[str, object]:
        """What identifies the rows; files are hashed once."""
        return self.source.identity()

    def changed(self) -> bool:
        """Return whether the files are no longer those of ``content``."""
        return isinstance(self.source, FileSource) and self.source.identity() != self.content
