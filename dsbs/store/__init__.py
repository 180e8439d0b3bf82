"""The store: every raw completion, committed before it counts. ``python -m dsbs.store`` shows, merges and exports."""

from dsbs.store.completions import CompletionStore, Failure, Origin, Totals

__all__ = ["CompletionStore", "Failure", "Origin", "Totals"]
