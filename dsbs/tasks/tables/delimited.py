"""CSV files: separated by commas, semicolons, tabs or bars, with byte order marks and blank lines."""

import csv
import re
from collections import Counter
from collections.abc import Iterator
from io import TextIOWrapper
from itertools import islice
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import MAX_ROW, bounded_lines, open_regular
from dsbs.tasks.cells import seen

MAX_COLUMNS = 10_000
DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_LOOKED_AT = 30  # lines of a file that show what separates its cells
_LONGEST_LINE = 1 << 16
_EXCEL = re.compile(r'"?sep=(.)"?\s*')


def read_csv(path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the rows of a CSV file with their places.

    Raises:
        DataError: for broken quotes, rows of another length than the header, and duplicate column names.
    """
    csv.field_size_limit(MAX_ROW)
    with _open(path) as file:
        head = list(islice(iter(lambda: file.readline(_LONGEST_LINE), ""), _LOOKED_AT))
    excel = _EXCEL.fullmatch(head[0]) if head else None
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    delimiter = excel[1] if excel else sniff_delimiter(head, usual)
    if delimiter != usual:
        log_once(f"{path}: its columns are separated by {DELIMITERS.get(delimiter, repr(delimiter))}.")
    skipped = int(excel is not None)
    plain = delimiter == "\t" and _has_plain_quotes(path)
    if plain:
        log_once(f"{path}: its quotes are text; they do not surround cells.")
    reader = csv.reader(
        islice(_lines(path), skipped, None),
        delimiter=delimiter,
        strict=True,
        skipinitialspace=_spaced_names([line for line in head[skipped:] if line.strip()], delimiter),
        quoting=csv.QUOTE_NONE if plain else csv.QUOTE_MINIMAL,
    )
    yield from _read(reader, path, delimiter, skipped)


def _open(path: Path) -> TextIOWrapper:
    return TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def _lines(path: Path) -> Iterator[str]:
    with _open(path) as file:
        yield from bounded_lines(file, str(path), MAX_ROW, "one row per line")


def sniff_delimiter(head: list[str], usual: str = ",") -> str:
    r"""Return the delimiter of a file: the first that splits its header, and all lines into as many cells.

    Args:
        usual: the delimiter that is tried first, and returned where none splits the header.

    >>> sniff_delimiter(["text;label\n", "fine, really;good\n"]), sniff_delimiter(["text\n", "a; b\n"])
    (';', ',')
    """

    def cells(delimiter: str) -> list[int]:
        try:
            return [len(row) for row in csv.reader(head, delimiter=delimiter) if row]
        except csv.Error:
            return []

    found = {delimiter: cells(delimiter) for delimiter in [usual, *DELIMITERS]}
    parting = [delimiter for delimiter, counts in found.items() if counts and counts[0] > 1]
    whole = -1 if len(head) == _LOOKED_AT else None  # the last row may be cut
    agreeing = [delimiter for delimiter in parting if len(set(found[delimiter][:whole])) <= 1]
    return next(iter([*agreeing, *parting]), usual)


def _has_plain_quotes(path: Path) -> bool:
    """Return whether the quotes of a file with tabs are text: without them, and only so, each line is a row."""
    tabs = Counter(line.count("\t") for line in _lines(path) if line.strip())
    if len(tabs) != 1:
        return False
    try:
        rows = sum(1 for row in csv.reader(_lines(path), delimiter="\t", strict=True) if any(map(str.strip, row)))
    except csv.Error:
        return True
    return rows != tabs.total()


def _spaced_names(head: list[str], delimiter: str) -> bool:
    """Return whether a space follows each delimiter of the header, where a quote would otherwise not open a cell."""
    names = head[0].split(delimiter)[1:] if head else []
    return bool(names) and delimiter != " " and all(name.startswith(" ") for name in names)


def name_blanks(header: list[str]) -> list[str]:
    """Return the names of columns; one without a name gets that of pandas, such as an index that it has written.

    >>> name_blanks(["", "text"]), name_blanks(["", "Unnamed: 0"])
    (['Unnamed: 0', 'text'], ['', 'Unnamed: 0'])
    """
    usual = [f"Unnamed: {place}" for place in range(len(header))]
    return [name or (own if own not in header else "") for name, own in zip(header, usual, strict=True)]


def check_names(names: list[str], place: str) -> None:
    """Check the names of columns.

    Raises:
        DataError: for duplicate names, and for more than ``MAX_COLUMNS``.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{place}: {len(names):,} columns; expected at most {MAX_COLUMNS:,}.")
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise DataError(
            f"{place}: {', '.join(map(repr, twice))}: duplicate column name. Rename one of them; the columns are: "
            f"{', '.join(names)}."
        )


def _read(reader: Any, path: Path, delimiter: str, skipped: int) -> Iterator[tuple[str, dict[str, Any]]]:
    line = 1
    try:
        first: list[str] = next(
            (cells for cells in reader if any(map(str.strip, cells))), []
        )  # blank lines may precede it
        header = [seen(name).strip() for name in first]
        check_names(header, f"{path}:{max(1, reader.line_num) + skipped}")
        names = name_blanks(header)
        for cells in reader:
            line = reader.line_num + skipped
            if len(cells) == 1 < len(names) and not cells[0].strip("\x1a \t\xa0"):  # a blank line; DOS ends with one
                continue
            if len(cells) != len(names) and cells:
                raise DataError(
                    f"{path}:{line}: {len(cells)} cells, but the header has {len(names)} columns "
                    f"({', '.join(names)}). {_advise(cells, names, delimiter)}"
                )
            if len(names) > 1 and [cell.strip().removeprefix("\ufeff") for cell in cells] == header:
                raise DataError(
                    f"{path}:{line}: the header again. Remove the line: files with headers were probably joined."
                )
            if cells:
                yield f"{path}:{line}", dict(zip(names, cells, strict=True))
    except csv.Error as error:
        place = f"{path}:{max(line, reader.line_num + skipped)}"
        raise DataError(
            f'{place}: broken CSV: {error}. A quote within a quoted cell is doubled (""), and nothing may stand '
            "before or after the quotes around a cell."
        ) from None


def _advise(cells: list[str], names: list[str], delimiter: str) -> str:
    """Return what to do about a row of another length than the header."""
    if len(cells) < len(names):
        return "Empty cells need their delimiter, too."
    if not any(cell.strip() for cell in cells[len(names) :]):
        return "Rows end with a delimiter: let the header end with one, too."
    first = " The first line has to be the header." * (len(names) == 1)
    return f"Quote cells that hold {DELIMITERS.get(delimiter, repr(delimiter))}.{first}"
