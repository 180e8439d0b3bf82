"""The tables of a store, and how an older store gets those that came later."""

import re
import sqlite3

FORMAT = "3"

META = "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID"
TABLES = (
    """CREATE TABLE origins (
    number INTEGER PRIMARY KEY, prefix BLOB NOT NULL UNIQUE, identity TEXT NOT NULL, prompt TEXT NOT NULL,
    completions INTEGER NOT NULL DEFAULT 0, prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE completions (
    key BLOB NOT NULL UNIQUE, origin INTEGER NOT NULL REFERENCES origins, split TEXT NOT NULL, id TEXT NOT NULL,
    sample INTEGER NOT NULL, question TEXT NOT NULL, text TEXT NOT NULL, finish_reason TEXT, model TEXT,
    prompt_tokens INTEGER, completion_tokens INTEGER, created REAL NOT NULL, batch INTEGER REFERENCES batches,
    reasoning TEXT)""",
    "CREATE INDEX completions_by_id ON completions (split, id, sample)",
    """CREATE TABLE failures (
    key BLOB PRIMARY KEY, origin INTEGER NOT NULL REFERENCES origins, split TEXT NOT NULL, id TEXT NOT NULL,
    sample INTEGER NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, created REAL NOT NULL) WITHOUT ROWID""",
)
# `token` is ours, written down before the endpoint knows of the batch; `remote` is the endpoint's name for it.
# What a batch still holds is in `batch_requests`; `line` is the key of the first of the samples that share a line of
# its file, `place` the place of each among them.
BATCH_TABLES = (
    """CREATE TABLE batches (
    number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, origin INTEGER NOT NULL REFERENCES origins,
    address TEXT NOT NULL, file TEXT, remote TEXT, requests INTEGER NOT NULL, characters INTEGER NOT NULL,
    created REAL NOT NULL, ended REAL, completions INTEGER NOT NULL DEFAULT 0,
    prompt_tokens INTEGER NOT NULL DEFAULT 0, completion_tokens INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE batch_requests (
    key BLOB PRIMARY KEY, batch INTEGER NOT NULL REFERENCES batches, line BLOB NOT NULL,
    place INTEGER NOT NULL, request TEXT NOT NULL)""",
    "CREATE INDEX batch_requests_by_line ON batch_requests (batch, line)",
)
# Keeps the totals of an origin and of a batch, so that a budget need not read a million rows.
TRIGGER = """CREATE TRIGGER count_completion AFTER INSERT ON completions BEGIN
    UPDATE origins SET completions = completions + 1, prompt_tokens = prompt_tokens + coalesce(NEW.prompt_tokens, 0),
        completion_tokens = completion_tokens + coalesce(NEW.completion_tokens, 0) WHERE number = NEW.origin;
    UPDATE batches SET completions = completions + 1, prompt_tokens = prompt_tokens + coalesce(NEW.prompt_tokens, 0),
        completion_tokens = completion_tokens + coalesce(NEW.completion_tokens, 0) WHERE number = NEW.batch; END"""
CREATE = (META, *TABLES, *BATCH_TABLES, TRIGGER, f"INSERT INTO meta VALUES ('format', '{FORMAT}')")
FORMATS = ("1", "2", FORMAT)
# What brings a store of an older format up to the next one.
UPGRADES = {
    "1": ("ALTER TABLE completions ADD COLUMN batch INTEGER", *BATCH_TABLES, "DROP TRIGGER count_completion", TRIGGER),
    "2": ("ALTER TABLE completions ADD COLUMN reasoning TEXT",),
}


# Our trigger, of this version and earlier ones: it counts, and does nothing else.
_COUNTING = re.compile(
    r"create trigger count_completion after insert on completions begin (?:update (?:origins|batches) set "
    r"(?:(?!select|delete|insert)[\w\s,=+().])+; ?)+end"
)


def upgrade(found: str | None) -> list[str]:
    """Return the statements that bring a store of a format up to date; None: an empty file."""
    if found is None:
        return list(CREATE)
    statements: list[str] = []
    while found in UPGRADES:
        statements += UPGRADES[found]
        found = str(int(found) + 1)
    return [*statements, f"UPDATE meta SET value = '{FORMAT}' WHERE name = 'format'"] if statements else []


def check_schema(db: sqlite3.Connection) -> None:
    """Check that a store has nothing but tables and our own trigger: what else there is would run when it is read.

    Raises:
        sqlite3.DatabaseError: for views, other triggers, virtual tables and computed columns.
    """
    for kind, name, sql in db.execute("SELECT type, name, sql FROM sqlite_master LIMIT 1000"):
        words = " ".join(str(sql or "").lower().split())
        ours = kind in ("table", "index") or (kind == "trigger" and _COUNTING.fullmatch(words) is not None)
        strange = ("create virtual", " generated always", " as (", " check (", " check(")
        if not ours or (kind != "trigger" and any(sign in words for sign in strange)):
            raise sqlite3.DatabaseError(f"it has a {kind} that no store has: {str(name)[:60]!r}")


def read_format(db: sqlite3.Connection) -> str | None:
    """Return the format of a store, or None where the file is empty.

    Raises:
        sqlite3.DatabaseError: where the file is no store.
    """
    names = {row[0] for row in db.execute("SELECT name FROM sqlite_master")}
    if not names:
        return None
    if "meta" not in names:
        raise sqlite3.DatabaseError("it has no table meta")
    found = db.execute("SELECT value FROM meta WHERE name = 'format'").fetchone()
    return str(found[0]) if found else ""
