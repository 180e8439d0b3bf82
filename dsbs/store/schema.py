"""The tables of a store, and upgrades from older formats."""

import re
import sqlite3
from contextlib import closing
from functools import cache

from dsbs.core.untrusted import excerpt

FORMAT = "4"

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
    reasoning TEXT, logprobs TEXT)""",
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
FORMATS = ("1", "2", "3", FORMAT)
# What brings a store of an older format up to the next one.
UPGRADES = {
    "1": ("ALTER TABLE completions ADD COLUMN batch INTEGER", *BATCH_TABLES, "DROP TRIGGER count_completion", TRIGGER),
    "2": ("ALTER TABLE completions ADD COLUMN reasoning TEXT",),
    "3": ("ALTER TABLE completions ADD COLUMN logprobs TEXT",),
}
_ADDED = re.compile(r"CREATE TABLE (\w+)|ALTER TABLE (\w+) ADD COLUMN (\w+)")  # what such a statement adds
MAX_PARTS = 100

# Our trigger, of this version and earlier ones: it counts, and does nothing else.
_COUNTING = re.compile(
    r"create trigger count_completion after insert on completions begin (?:update (?:origins|batches) set "
    r"(?:(?!select|delete|insert)[\w\s,=+().])+; ?)+end"
)

_COMPUTED = re.compile(r"\b(?:generated|as|check)\b")
_INDEXES = frozenset(
    " ".join(statement.lower().split()) for statement in CREATE if statement.startswith("CREATE INDEX")
)


def upgrade(found: str | None) -> list[str]:
    """Return the SQL statements that upgrade a store to today's format.

    Args:
        found: its format; None: an empty file.
    """
    if found is None:
        return list(CREATE)
    statements: list[str] = []
    while found in UPGRADES:
        statements += UPGRADES[found]
        found = str(int(found) + 1)
    return [*statements, f"UPDATE meta SET value = '{FORMAT}' WHERE name = 'format'"] if statements else []


def check_schema(db: sqlite3.Connection, schema: str = "main") -> None:
    """Check that a store has nothing but tables, our indexes and our trigger: anything else might run when it is read.

    Args:
        schema: which of its files: ``main``, or the name of an attached one.

    Raises:
        sqlite3.DatabaseError: for views, other triggers and indexes, virtual tables, computed columns and checks.
    """
    listed = list(db.execute(f"SELECT type, name, sql, rootpage FROM {schema}.sqlite_master LIMIT {MAX_PARTS + 1}"))
    if len(listed) > MAX_PARTS:
        raise sqlite3.DatabaseError(f"it has more than {MAX_PARTS} tables")
    for kind, name, sql, page in listed:
        words = " ".join(str(sql or "").lower().split())
        ours = {
            # Virtual tables have no page of their own.
            "table": words.startswith("create table ") and page and not _COMPUTED.search(words),
            "index": words in _INDEXES or (sql is None and page),
            "trigger": _COUNTING.fullmatch(words) is not None,
        }
        if not ours.get(kind):
            raise sqlite3.DatabaseError(f"it has an unexpected {excerpt(kind, 20)}: {excerpt(name, 60)!r}")
        if kind == "table" and any(column[6] for column in db.execute(f"PRAGMA {schema}.table_xinfo({_quote(name)})")):
            raise sqlite3.DatabaseError(f"it has a table with computed columns: {excerpt(name, 60)!r}")


def _quote(name: object) -> str:
    return '"' + str(name).replace('"', '""') + '"'


@cache
def columns() -> dict[str, list[tuple[str, str, bool]]]:
    """Return table -> its columns: name, SQL type, and whether NULL is excluded."""
    with closing(sqlite3.connect(":memory:")) as db:
        for statement in CREATE:
            db.execute(statement)
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name != 'meta'")]
        return {
            name: [(row[1], row[2], bool(row[3])) for row in db.execute(f"PRAGMA table_info({name})")] for name in names
        }


def compatibility_views(found: str, schema: str = "main", prefix: str = "") -> list[str]:
    """Return the SQL statements for temporary views through which an older store looks like one of today's format.

    Args:
        prefix: of the views' names; without one they hide the tables of their names.
    """
    if found == FORMAT and not prefix:
        return []
    added = [match.groups() for statement in upgrade(found) if (match := _ADDED.match(statement))]
    tables, cells = {table for table, *_ in added if table}, {(table, column) for _, table, column in added if column}
    views = []
    for table, kinds in columns().items():
        shown = [f"NULL AS {name}" if table in tables or (table, name) in cells else name for name, _, _ in kinds]
        source = "(SELECT 1) WHERE 0" if table in tables else f"{schema}.{table}"
        if table == "completions":
            shown.insert(0, "rowid AS rowid")
        views.append(f"CREATE TEMP VIEW {prefix}{table} AS SELECT {', '.join(shown)} FROM {source}")
    return views


def read_format(db: sqlite3.Connection, schema: str = "main") -> str | None:
    """Return the format of a store, or None where the file is empty.

    Raises:
        sqlite3.DatabaseError: where the file is not a store.
    """
    names = {row[0] for row in db.execute(f"SELECT name FROM {schema}.sqlite_master")}
    if not names:
        return None
    if "meta" not in names:
        raise sqlite3.DatabaseError("it has no table meta")
    found = db.execute(f"SELECT value FROM {schema}.meta WHERE name = 'format'").fetchone()
    return str(found[0]) if found else ""
