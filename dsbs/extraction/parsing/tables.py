"""Completions that are a Markdown table, as lines of titles and texts."""

import re

from dsbs.extraction.parsing.objects import ANSWERS, RATIONALES, plain_key

_ROW = re.compile(r"[ \t]{0,8}\|(.+)\|[ \t]{0,8}")
_RULE = re.compile(r"[\s:|-]+")
_MAX_ROWS = 20


def unfold(text: str) -> str:
    r"""Return a text with its only table in lines of a title and a text; another text as it is.

    A table has one row under its titles, or its titles are in the first of two columns; one of them is that of a
    rationale or an answer.

    >>> unfold("Sure:\n| Rationale | Answer |\n|---|---|\n| It broke. | bad |")
    'Sure:\nRationale: It broke.\nAnswer: bad'
    >>> unfold("| Rationale | It broke. |\n| Answer | bad |")
    'Rationale: It broke.\nAnswer: bad'
    """
    if text.count("|") < 4:
        return text
    lines = text.split("\n")
    positions = [position for position, line in enumerate(lines) if _ROW.fullmatch(line)]
    if not 2 <= len(positions) <= _MAX_ROWS or positions[-1] - positions[0] >= len(positions):
        return text
    rows = [[cell.strip() for cell in lines[position].strip().strip("|").split("|")] for position in positions]
    rows = [row for row in rows if not _RULE.fullmatch("|".join(row))]
    if len(rows) == 2 and len(rows[0]) == len(rows[1]) and (len(rows[0]) != 2 or len(positions) == 3):
        rows = [*map(list, zip(*rows, strict=True))]
    if any(len(row) != 2 for row in rows) or not {plain_key(row[0]) for row in rows} & {*ANSWERS, *RATIONALES}:
        return text
    return "\n".join(
        [*lines[: positions[0]], *(f"{title}: {cell}" for title, cell in rows), *lines[positions[-1] + 1 :]]
    )
