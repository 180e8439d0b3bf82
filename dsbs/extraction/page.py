"""``rationales.html``: counts and samples of an extraction, as one self-contained file."""

from pathlib import Path
from typing import Any

from dsbs.core.html import render
from dsbs.extraction.filters import REFUSED
from dsbs.extraction.look import LENGTH_STEP, LONGEST, Look
from dsbs.extraction.parsing import STATUSES

TEMPLATES = Path(__file__).with_name("templates")
LONGEST_TEXT = 1500
MOST_TAKEN_FOR = 3


def build_page(summary: dict[str, Any], look: Look) -> str:
    """Return the HTML of the page."""
    sample = look.sample.drawn()
    there = {(shown.split, shown.example.id) for shown in sample}
    return render(
        TEMPLATES,
        "rationales.html",
        summary=summary,
        teacher=str(summary["model"] or summary["teacher"]),
        look=look,
        systems=[(split, one) for split, part in summary["splits"].items() for one in part.get("systems", [])],
        counted={status: _count(summary, status) for status in look.failures},
        meanings={status: _explain(status) for status in look.failures},
        lengths=[(_name_length(start), count) for start, count in sorted(look.lengths.items())],
        most=max(look.lengths.values(), default=0),
        classes=sorted(look.classes.items(), key=lambda item: (-item[1].wrong, item[0])),
        sample=sample,
        more=[shown for shown in look.wrong.drawn() if (shown.split, shown.example.id) not in there],
        taken_for=MOST_TAKEN_FOR,
        longest=LONGEST_TEXT,
    )


def _count(summary: dict[str, Any], status: str) -> int:
    return sum(split["statuses"].get(status, 0) for split in summary["splits"].values())


def _explain(status: str) -> str:
    refused = "rejected by a filter" if status.startswith(REFUSED) else "no completion; the next run asks again"
    return STATUSES.get(status) or refused


def _name_length(start: int) -> str:
    return f"{start}+" if start >= LONGEST else f"{start}-{start + LENGTH_STEP - 1}"
