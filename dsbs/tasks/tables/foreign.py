"""Files that are no tables: archives, workbooks, web pages, pointers; each with what to type."""

import re
import shlex
from pathlib import Path

SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet")
_COMPRESSED = {
    b"\x1f\x8b": ("gzip", "gzip -dc"),
    b"\x28\xb5\x2f\xfd": ("zstd", "zstd -dc"),
    b"BZh": ("bzip2", "bzip2 -dc"),
    b"\xfd7zXZ\x00": ("xz", "xz -dc"),
}
_EXCEL = "an Excel workbook; save it as CSV UTF-8"
# Other formats, by their first bytes.
_FORMATS = {
    b"SQLite format 3": (
        "an SQLite database",
        "To convert: sqlite3 -header -csv FILE 'select * from TABLE' > rows.csv",
    ),
    b"ARROW1": ("an Arrow file", "To convert: pandas.read_feather(FILE).to_parquet('rows.parquet')"),
    b"%PDF": ("a PDF", ""),
    b"{\\rtf": ("a text of a word processor", ""),
    b"<?xml": ("XML", ""),
    b"7z\xbc\xaf": ("a 7z archive", "Unpack it first"),
    b"Rar!": ("a RAR archive", "Unpack it first"),
}
_JSON = re.compile(rb"\s*(?:\{\s*\"|\[\s*\{)")
_WEB_PAGE = re.compile(rb"\s*(?:<!doctype\s+html|<html)", re.I)
_SHEET = "Save the sheet as CSV UTF-8."
_TEXT = "Columns with a header: name it .csv. Texts alone: write a header, such as input, and quote them."
_PICKLE = "To convert: pandas.read_pickle(FILE).to_parquet('rows.parquet')"
# What the names of other files promise, where their content does not tell.
_BY_SUFFIX = {
    **dict.fromkeys((".xlsx", ".xls", ".ods"), _SHEET),
    **dict.fromkeys((".txt", ".text", ".tab", ".psv", ".dat"), _TEXT),
    **dict.fromkeys((".pkl", ".pickle"), _PICKLE),
    ".feather": "To convert: pandas.read_feather(FILE).to_parquet('rows.parquet')",
    ".arrow": "Name the folder of save_to_disk, or: datasets.Dataset.from_file(FILE).to_parquet('rows.parquet')",
}


def name_foreign(path: Path, head: bytes) -> str | None:
    """Return what a file is that is no table, by its first bytes, and what to type; None where it may be one.

    >>> name_foreign(Path("train.csv.gz"), bytes([31, 139, 8]))
    'compressed with gzip; unpack it: gzip -dc train.csv.gz > train.csv'
    """
    file = shlex.quote(str(path))
    for magic, (name, command) in _COMPRESSED.items():
        if head.startswith(magic):
            unpacked = path.stem if Path(path.stem).suffix.lower() in SUFFIXES else f"rows{_kind(path)}"
            return f"compressed with {name}; unpack it: {command} {file} > {shlex.quote(unpacked)}"
    if head.startswith(b"PK\x03\x04"):
        excel = path.suffix.lower().startswith(".xls") or b"[Content_Types].xml" in head or b"xl/" in head
        return _EXCEL if excel else f"a zip archive; unpack it: unzip {file}"
    if head.startswith(b"\xd0\xcf\x11\xe0"):
        return _EXCEL
    if head.startswith(b"version https://git-lfs"):
        return f"a pointer of Git LFS in place of the data; fetch it: git lfs pull --include {file}"
    for magic, (name, advice) in _FORMATS.items():
        if head.startswith(magic):
            return name + (f". {advice}" if advice else "")
    if _JSON.match(head) and path.suffix.lower() in (".csv", ".tsv"):
        return f"JSON under another name: mv {file} {shlex.quote(str(path.with_suffix('.jsonl')))}"
    if _WEB_PAGE.match(head):
        return "a web page, not data: what was downloaded may be a login or error page"
    if head.startswith(b"PAR1") and path.suffix.lower() != ".parquet":
        return f"Parquet under another name: mv {file} {shlex.quote(str(path.with_suffix('.parquet')))}"
    return None


def advise(path: Path) -> str:
    """Return what to do about a file whose name promises another format; empty where that is unknown.

    >>> advise(Path("a.xlsx")), advise(Path("a.csv"))
    (' Save the sheet as CSV UTF-8.', '')
    """
    advice = _BY_SUFFIX.get(path.suffix.lower())
    return f" {advice}" if advice else ""


def _kind(path: Path) -> str:
    return path.suffix if path.suffix.lower() in SUFFIXES else ".jsonl"
