"""``docs/files.md`` names what a run really writes: no more, and no less."""

import json
import re
import sqlite3
from dataclasses import fields
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from trained import train_tiny

from dsbs.defer import defer
from dsbs.deferral.settings import DeferConfig
from dsbs.extraction.annotations import SCHEMA
from dsbs.inference.exports.parity import Parity
from dsbs.reporting.leaderboard import Entry, TeacherCosts
from dsbs.store.schema import CREATE

DOCS = (Path(__file__).parents[1] / "docs/files.md").read_text()
SECTIONS = {part.split("\n", 1)[0]: part for part in DOCS.split("\n## ")[1:]}
WORD = re.compile(r"`([\w.]+)`")


def section(title: str) -> str:
    return next(text for head, text in SECTIONS.items() if title in head)


def named(title: str) -> set[str]:
    """All names in a section."""
    return set(WORD.findall(section(title)))


def listed(title: str) -> set[str]:
    """The names that stand in the first column of a section's table."""
    rows = re.findall(r"^\| (`.+?) \|", section(title), flags=re.M)
    return {name for row in rows for name in WORD.findall(row)}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny(tmp_path_factory.mktemp("run"), also_measure=["last", "generate"])


def test_a_runs_files_hold_the_keys_that_are_named(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics.keys() <= named("`metrics.json`")
    assert listed("`metrics.json`") == metrics.keys()
    assert set(metrics["counts"]) <= named("`metrics.json`")
    manifest = json.loads((run / "manifest.json").read_text())
    assert listed("`manifest.json`") == manifest.keys()
    assert manifest["annotations"].keys() <= named("`manifest.json`")
    predictions = pq.read_schema(run / "predictions.parquet")
    assert listed("`predictions.parquet`") == set(predictions.names)


def test_the_files_of_an_extraction_hold_the_columns_that_are_named(run: Path) -> None:
    (summary,) = run.parents[5].glob("rationales/*/*/summary.json")
    assert listed("Annotations") == set(pq.read_schema(summary.with_name("train.parquet")).names) == set(SCHEMA.names)
    told = json.loads(summary.read_text())
    assert told.keys() | told["splits"]["train"].keys() <= named("`summary.json`")
    db = sqlite3.connect(summary.with_name("completions.sqlite"))
    tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    assert tables == listed("`completions.sqlite`")
    assert tables <= set(re.findall(r"CREATE TABLE (\w+)", " ".join(CREATE)))
    for table in ("origins", "completions", "failures"):
        assert {row[1] for row in db.execute(f"PRAGMA table_info({table})")} <= named("`completions.sqlite`")


def test_what_defer_writes_is_named(run: Path) -> None:
    record, path = defer(DeferConfig(checkpoint=str(run), share=0.5, trust_run=True))
    assert listed("`defer.json`") == json.loads(path.read_text()).keys()
    written = json.loads(path.read_text())
    beside = {"agreement", "usd_per_1000", "defer.json"}  # goals that were not asked for, and the file
    assert named("`defer.json`") - written.keys() - beside <= record["test"].keys() | written["calibration"].keys()


def test_what_export_and_compare_write_is_named() -> None:
    assert {field.name for field in fields(Parity)} <= named("`export.json`")
    for kind in (Entry, TeacherCosts):
        assert {field.name for field in fields(kind)} <= named("`compare.json`")
