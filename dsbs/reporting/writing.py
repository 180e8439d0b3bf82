"""Write a report's files: ``report.json``, plots, page."""

from pathlib import Path

from dsbs.core.files import write_json, write_text
from dsbs.reporting.document import to_document
from dsbs.reporting.figure import draw_scores
from dsbs.reporting.page import build_page
from dsbs.reporting.report import Report
from dsbs.reporting.samples import build_samples

JSON, PAGE = "report.json", "index.html"
PLOTS = {"png": "accuracy_over_fraction.png", "svg": "accuracy_over_fraction.svg"}


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``report.json``, first in case plots fail, then plots and page; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    document = to_document(report)
    write_json(folder / JSON, document)
    pictures = draw_scores(report, tuple(PLOTS)) if report.conditions else {}
    for format, picture in pictures.items():
        (folder / PLOTS[format]).write_bytes(picture)
    write_text(folder / PAGE, build_page(document, build_samples(report)))
    return [folder / name for name in (JSON, PAGE, *(PLOTS[format] for format in pictures))]
