"""Write a report's files (``report.json``, plots, page), and log it to W&B."""

from pathlib import Path
from typing import Any

from dsbs.core.files import write_json, write_text
from dsbs.core.fingerprint import fingerprint
from dsbs.core.tracking import Tracking, open_tracker
from dsbs.reporting.document import to_comparison, to_document
from dsbs.reporting.figure import draw_scores
from dsbs.reporting.page import build_page
from dsbs.reporting.report import Report
from dsbs.reporting.samples import build_samples
from dsbs.reporting.wording import describe_condition

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


def track_report(report: Report, folder: Path, settings: Tracking, output_dir: Path) -> str | None:
    """Log a report; those of the same folder and task share one W&B run.

    Returns:
        URL of the W&B run, or None where it is not online.
    """
    rows = [
        {
            "method": describe_condition(cell, report.conditions),
            "data_fraction": cell.data_fraction,
            report.metric: cell.estimate.mean,
            "ci_low": cell.estimate.low,
            "ci_high": cell.estimate.high,
            "seeds": len(cell.runs),
        }
        for cell in report.conditions
    ]
    made = [to_comparison(comparison, report) for comparison in report.comparisons if comparison.result]
    with open_tracker(
        settings,
        run_id=fingerprint(["report", report.task, str(report.runs)], length=16),
        name=f"report {report.task}",
        config={"task": report.task, "runs": str(report.runs)},
        directory=output_dir,
        job_type="report",
    ) as tracker:
        tracker.lines(f"{report.metric} over data fraction", rows, x="data_fraction", y=report.metric, stroke="method")
        tracker.table("cells", rows)
        tracker.table("comparisons", [{key: _flat(value) for key, value in row.items()} for row in made])
        if report.conditions:
            tracker.image("plot", folder / PLOTS["png"])
        tracker.summary({"headline": " ".join(report.headlines)})
        return tracker.url


def _flat(value: Any) -> Any:
    return "; ".join(map(str, value)) if isinstance(value, list) else value
