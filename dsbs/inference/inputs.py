"""Inputs of ``dsbs.predict``: plain text, JSON lines, CSV or Parquet, streamed from a file or standard input."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import BinaryIO

from dsbs.core.errors import DataError
from dsbs.core.records import Example
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import bounded_lines
from dsbs.inference.checkpoint import Remembered
from dsbs.tasks.answers import with_choices
from dsbs.tasks.cells import MISSING, fold
from dsbs.tasks.tables.choices import has_choices
from dsbs.tasks.tables.columns import SOON, Columns, RowCounts
from dsbs.tasks.tables.delimited import DELIMITERS
from dsbs.tasks.tables.foreign import name_foreign
from dsbs.tasks.tables.gold import Gold
from dsbs.tasks.tables.sources import SAVE_AS_UTF8, SUFFIXES, Row, is_utf16, parse_row, read_rows
from dsbs.tasks.tables.templates import ABSENT, look_up, template_columns

FORMATS = ("auto", "text", "jsonl")
STDIN = "-"
_LONGEST_NAME = 4  # words of a column's name


def read_inputs(named: str, format: str, remembered: Remembered, stdin: BinaryIO) -> Iterator[Example]:
    """Yield the inputs as examples, with numbers from 1 as ids where they have none.

    Args:
        named: a file, or ``-`` for standard input.
        format: ``text`` (a line each), ``jsonl``, or ``auto``: what the file's name says; standard input and files
            of another name are JSON lines where the first line that is not empty starts with ``{``, else text.
        remembered: the settings of the checkpoint, with the template of inputs and the closed answers.

    Raises:
        DataError: with file, line and what is wrong; where there is nothing to answer.
    """
    rows: Iterable[tuple[str, Row]]
    if named == STDIN:
        rows = _rows_of(bounded_lines(stdin, "standard input"), "standard input", format, remembered.input)
    elif not (path := Path(named).expanduser()).exists() or path.is_dir():  # a pipe is as good as a file
        found = "there is no such file" + ", but a folder" * path.is_dir()
        raise DataError(f"input={named}: {found}. Expected a file of inputs, or - for standard input.")
    else:
        rows = _rows_of_file(path, format, remembered.input)
    counts = RowCounts()
    drops = remembered.task.get("empty_inputs") == "drop"  # as in the training
    for number, (place, row) in enumerate(_complete(rows, remembered.input), 1):
        example = _read(row, place, str(number), remembered, counts, drops=drops)
        if example is not None:
            yield example
    if problems := counts.describe():
        log_once(f"input={named}: {problems}.")
    if not counts.examples:
        raise DataError(f"input={named}: it is empty; expected at least one input, one per line.")


def _complete(rows: Iterable[tuple[str, Row]], template: str | None) -> Iterator[tuple[str, Row]]:
    """Yield the rows; a column that the first one lacks, as JSON writers leave it out, is empty if soon one has it."""
    iterator = iter(rows)
    for place, row in iterator:
        lacks = [name for name in template_columns(template or "") if look_up(row, name) is ABSENT]
        soon = [] if "input" in row else list(islice(iterator, SOON if lacks else 0))
        found = [name for name in lacks if any(look_up(other, name) is not ABSENT for _, other in soon)]
        yield place, {**row, **dict.fromkeys(found)}
        yield from soon
        break
    yield from iterator


def to_example(row: Row, place: str, number: str, remembered: Remembered) -> Example:
    """Return a row as an example: with the template of training if it has the columns, else with its ``input``.

    Args:
        number: its id, if it has none.

    Raises:
        DataError: where it has no input.
    """
    example = _read(row, place, number, remembered, RowCounts())
    assert example is not None  # only ``drops`` leaves a row out
    return example


def _read(
    row: Row, place: str, number: str, remembered: Remembered, counts: RowCounts, *, drops: bool = False
) -> Example | None:
    """Return the same; None where the row has no input and such rows are dropped."""
    template, id, choices = remembered.input, remembered.id_column, remembered.choices_column
    if template is None or (not _has(row, template) and "input" in row):
        template, choices = "input", choices if choices is not None and has_choices(row, choices) else "choices"
    # Words for a missing value are for cells beside others: a whole input, as of a user who writes 'None', is a text.
    cells = template == remembered.input and (drops or len(template_columns(template)) > 1)
    words = remembered.task.get("missing", MISSING) if cells else ()
    columns = Columns(
        input=template,
        label=None,
        id=next((name for name in (id, "id") if name is not None and look_up(row, name) is not ABSENT), None),
        choices=choices if choices is not None and has_choices(row, choices) else None,
        gold=Gold(missing=frozenset(fold(str(word)) for word in words)),
        list_choices=remembered.lists_choices,
        empty_inputs="drop" if drops else "stop",
    )
    try:
        found = [example for example, _, _ in columns.pairs([(place, row)], "", counts)]
    except DataError as error:
        if _has(row, template):
            raise
        hint = "Name the columns as in the training, or give each input as the student reads it in a column 'input'."
        raise DataError(f"{error} {hint}") from None
    if not found:
        return None
    example = found[0]
    if columns.id is None:
        example = replace(example, id=number)
    if example.choices is not None:
        return example
    if remembered.own_choices:
        column = remembered.choices_column or "choices"
        plain = "choices" if any(sign in column for sign in "{.") else column
        raise DataError(
            f"{place}: no choices. This student chooses among each input's own choices: give JSON lines such as "
            f'{{"input": "...", "{plain}": ["yes", "no"]}}.'
        )
    if remembered.choices is None:
        return example
    shared = tuple(remembered.choices)
    text = with_choices(example.input, shared) if remembered.lists_choices else example.input
    return replace(example, input=text, choices=shared)


def _has(row: Row, template: str) -> bool:
    return all(column in row or column.split(".")[0] in row for column in template_columns(template))


def _rows_of_file(path: Path, format: str, template: str | None) -> Iterator[tuple[str, Row]]:
    if format == "auto" and path.suffix.lower() in SUFFIXES:
        yield from read_rows(path)
        return
    try:
        with path.open("rb") as file:
            if path.is_file() and (problem := name_foreign(path, file.read(512))):
                raise DataError(f"{path}: {problem}.")
            if path.is_file():
                file.seek(0)
            yield from _rows_of(bounded_lines(file, str(path)), str(path), format, template)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None


def _rows_of(lines: Iterable[bytes], name: str, format: str, template: str | None) -> Iterator[tuple[str, Row]]:
    """Yield a row for each line that is not empty; a line of text is a row with an ``input``."""
    numbered = ((number, line) for number, line in enumerate(lines, 1) if line.removeprefix(b"\xef\xbb\xbf").strip())
    first = next(numbered, None)
    if first is None:
        return
    if format == "auto":
        start = first[1].removeprefix(b"\xef\xbb\xbf").strip()
        if problem := _name_table(start, template):
            raise DataError(f"{name}:{first[0]}: {problem}; format=text takes each line as an input.")
        format = "jsonl" if start.startswith(b"{") else "text"
    for number, line in chain([first], numbered):
        place = f"{name}:{number}"
        # The number of the line is the id of a text, so that empty lines shift nothing.
        yield place, parse_row(line, place) if format == "jsonl" else {"id": str(number), "input": _decode(line, place)}


def _name_table(line: bytes, template: str | None) -> str | None:
    """Return what is wrong with a first line that is no input: that of a JSON array, or a header of the columns."""
    if line in (b"[", b"[]") or re.match(rb"\[\s*[{\"]", line):
        return "a JSON array; expected an object on each line (jq -c '.[]' makes them)"
    columns = set(template_columns(template or ""))
    for delimiter in DELIMITERS if columns else ():
        cells = [cell.strip().strip('"') for cell in line.decode(errors="replace").split(delimiter)]
        if columns <= set(cells) and all(len(cell.split()) <= _LONGEST_NAME for cell in cells):
            kind = ".tsv" if delimiter == "\t" else ".csv"
            return f"the header of a table ({', '.join(cells)}); name a file that ends in {kind}"
    return None


def _decode(line: bytes, place: str) -> str:
    try:
        return line.decode("utf-8-sig").strip()
    except UnicodeDecodeError as error:
        wide = "This is UTF-16: iconv -f UTF-16 -t UTF-8 converts it."
        advice = wide if is_utf16(line) else SAVE_AS_UTF8
        raise DataError(f"{place}: not UTF-8: {error.reason}. {advice}") from None
