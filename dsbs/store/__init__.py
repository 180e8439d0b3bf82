"""The store: every raw completion, committed before it counts. ``python -m dsbs.store`` shows, merges and exports."""

from dsbs.store.batches import Batch, Batches, line_name
from dsbs.store.completions import CompletionStore, Failure, Origin, Totals

__all__ = ["Batch", "Batches", "CompletionStore", "Failure", "Origin", "Totals", "line_name"]
