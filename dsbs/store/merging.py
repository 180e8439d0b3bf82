"""Stores into one; safe to repeat, and safe while a store is still written to."""

from pathlib import Path

from dsbs.errors import DataError
from dsbs.store.completions import CompletionStore

ORIGINS = (
    """INSERT OR IGNORE INTO origins (prefix, identity, prompt) SELECT prefix, identity, prompt FROM other.origins"""
)
NUMBER = """(SELECT mine.number FROM main.origins mine JOIN other.origins theirs ON mine.prefix = theirs.prefix
    WHERE theirs.number = row.origin)"""
COMPLETIONS = f"""INSERT OR IGNORE INTO completions SELECT key, {NUMBER}, split, id, sample, question, text,
    finish_reason, model, prompt_tokens, completion_tokens, created FROM other.completions row ORDER BY row.rowid"""
FAILURES = f"""INSERT OR REPLACE INTO failures SELECT key, {NUMBER}, split, id, sample, reason, message, created
    FROM other.failures row"""
ANSWERED = "DELETE FROM failures WHERE key IN (SELECT key FROM completions)"


def merge(store: CompletionStore, others: list[Path]) -> int:
    """Copy what other stores hold into one; the first completion of a request stays.

    Returns:
        how many completions were new.

    Raises:
        DataError: where one of them is no store.
        RunError: where the store cannot be written.
    """
    before = store.count()
    for path in others:
        if path.resolve() == store.path.resolve():
            raise DataError(f"{path}: a store cannot be merged into itself.")
        CompletionStore(path, read_only=True).close()  # says what is wrong with it
        store.adopt(path, [ORIGINS, COMPLETIONS, FAILURES, ANSWERED])
    return store.count() - before
