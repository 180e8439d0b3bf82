"""Files of rows, of the kind that their names say."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

Rows = Sequence[Mapping[str, Any]]


def to_lines(rows: Rows) -> str:
    """Return rows as JSON lines."""
    return "".join(json.dumps(row) + "\n" for row in rows)


def write_rows(path: Path, rows: Rows) -> Path:
    """Write rows as Parquet, as CSV (as pandas does: missing cells are empty), or else as JSON lines."""
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif path.suffix in (".csv", ".tsv"):
        names = list(dict.fromkeys(name for row in rows for name in row))
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            for row in rows:
                writer.writerow({name: "" if cell is None or cell != cell else cell for name, cell in row.items()})
    else:
        path.write_text(to_lines(rows), encoding="utf-8")
    return path
