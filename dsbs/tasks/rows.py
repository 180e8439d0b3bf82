"""What tasks over rows share: files or the hub behind them, a column map, and a hash of what was read."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.tasks.base import Task
from dsbs.tasks.columns import Columns, RowCounts
from dsbs.tasks.hub import HubSource
from dsbs.tasks.sources import Row, Source


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
        """Which column says what."""
        raise NotImplementedError

    def build_source(self) -> Source:
        """Return where the rows come from.

        Raises:
            DataError: where nothing is there.
        """
        raise NotImplementedError

    def hub_source(self, split_names: dict[str, str]) -> HubSource:
        """Return the data set on the hub.

        Raises:
            DataError: where none is named; a checkpoint does not say where its data lay.
        """
        if self.hub is None:
            raise DataError(f"task={self.name}: the location of the data is unknown; set task.path or task.hub.")
        return HubSource(self.hub, self.hub_config, self.revision, split_names)

    @cached_property
    def source(self) -> Source:
        """Where the rows come from; looked up once."""
        return self.build_source()

    def splits(self) -> tuple[str, ...]:
        """Return the splits of the source."""
        return self.source.splits()

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the examples of a split, row by row."""
        return (example for example, _, _ in self.pairs(split))

    def pairs(self, split: str) -> Iterator[tuple[Example, str, Row]]:
        """Yield the examples of a split, each with its place and its row."""
        if split not in self.splits():
            raise DataError(f"task={self.name} has no {split} split here; it has {', '.join(self.splits())}.")
        counts = RowCounts()
        yield from self.columns.pairs(self.source.rows(split), split, counts)
        self.counts[split] = counts
        if not counts.examples:
            place = self.path or self.hub
            left = f" {counts.tell()} were dropped." if counts.rows else ""
            raise DataError(
                f"The {split} split of task={self.name} ({place}) is empty: expected at least one row.{left}"
            )

    def data_counts(self) -> dict[str, dict[str, int]]:
        """Return what was counted in each split that was read to its end; empty where all is as it should be."""
        return {split: counts.noted() for split, counts in self.counts.items() if counts.noted()}

    def remarks(self) -> list[str]:
        """Return the same in words."""
        told = {split: counts.tell() for split, counts in self.counts.items()}
        return [f"{self.path or self.hub}, {split}: {words}." for split, words in told.items() if words]

    @cached_property
    def counts(self) -> dict[str, RowCounts]:
        """What was found in the rows of each split that was read to its end."""
        return {}

    @cached_property
    def content(self) -> dict[str, object]:
        """What identifies the rows; files are hashed once."""
        return self.source.identity()
