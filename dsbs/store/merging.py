"""Merging stores: safe to repeat, and while a store is still written to."""

from collections.abc import Iterable
from pathlib import Path

from dsbs.core.errors import DataError
from dsbs.store.completions import CompletionStore, open_store

ORIGINS = (
    """INSERT OR IGNORE INTO origins (prefix, identity, prompt) SELECT prefix, identity, prompt FROM other_origins"""
)
NUMBER = """(SELECT mine.number FROM main.origins mine JOIN other_origins theirs ON mine.prefix = theirs.prefix
    WHERE theirs.number = row.origin)"""
BATCH = """(SELECT mine.number FROM main.batches mine JOIN other_batches theirs ON mine.token = theirs.token
    WHERE theirs.number = row.batch)"""
# Their totals are counted as the completions come in.
BATCHES = f"""INSERT OR IGNORE INTO batches (token, origin, address, file, remote, requests, characters, created, ended)
    SELECT token, {NUMBER}, address, file, remote, requests, characters, created, ended FROM other_batches row"""
COMPLETIONS = f"""INSERT OR IGNORE INTO completions SELECT key, {NUMBER}, split, id, sample, question, text,
    finish_reason, model, prompt_tokens, completion_tokens, created, {BATCH}, reasoning, logprobs
    FROM other_completions row ORDER BY row.rowid"""
# What is under way in one of the two is under way in both; what ended in one ended in both.
HELD = (
    f"""INSERT OR IGNORE INTO batch_requests SELECT key, {BATCH}, line, place, request FROM other_batch_requests row"""
)
REMOTE = """UPDATE batches SET (file, remote) = (SELECT coalesce(theirs.file, batches.file),
    coalesce(theirs.remote, batches.remote) FROM other_batches theirs WHERE theirs.token = batches.token)
    WHERE token IN (SELECT token FROM other_batches)"""
ENDED = """UPDATE batches SET ended = (SELECT theirs.ended FROM other_batches theirs WHERE theirs.token = batches.token)
    WHERE ended IS NULL AND token IN (SELECT token FROM other_batches)"""
RELEASED = """DELETE FROM batch_requests WHERE key IN (SELECT key FROM completions)
    OR batch IN (SELECT number FROM batches WHERE ended IS NOT NULL)"""
FAILURES = f"""INSERT OR REPLACE INTO failures SELECT key, {NUMBER}, split, id, sample, reason, message, created
    FROM other_failures row"""
ANSWERED = "DELETE FROM failures WHERE key IN (SELECT key FROM completions)"
STATEMENTS = (ORIGINS, BATCHES, COMPLETIONS, FAILURES, ANSWERED, HELD, REMOTE, ENDED, RELEASED)


def check_stores(paths: Iterable[Path]) -> None:
    """Check stores that are to be merged, before the target is created.

    Raises:
        DataError: one of them is not a store.
    """
    for path in paths:
        with open_store(path):
            pass  # says what is wrong with it


def merge(store: CompletionStore, others: list[Path]) -> int:
    """Copy other stores into one: completions, failures and batches. The first completion of a request stays.

    Args:
        others: files that ``check_stores`` accepts; to check them takes as long as to copy them, so it is done once.

    Returns:
        the number of new completions.

    Raises:
        DataError: where one of them is the target.
        RunError: where the store cannot be written.
    """
    before = store.count()
    for path in others:
        if path.resolve() == store.path.resolve():
            raise DataError(f"{path}: a store cannot be merged into itself.")
        store.adopt(path, STATEMENTS)
    return store.count() - before
