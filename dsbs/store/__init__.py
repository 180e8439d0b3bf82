"""The store: every raw completion, committed before it counts. ``python -m dsbs.store`` shows, merges and exports."""

from dsbs.store.batches import Batch, Batches, line_name
from dsbs.store.completions import CompletionStore, open_store
from dsbs.store.neighbours import Neighbours
from dsbs.store.origin import Failure, Origin, Outcome, Spent, Totals

__all__ = [
    "Batch",
    "Batches",
    "CompletionStore",
    "Failure",
    "Neighbours",
    "Origin",
    "Outcome",
    "Spent",
    "Totals",
    "line_name",
    "open_store",
]
