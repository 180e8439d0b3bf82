"""Log a report to W&B: learning curve, plot, comparisons."""

from pathlib import Path
from typing import Any

from dsbs.core.fingerprint import fingerprint
from dsbs.core.tracking import Tracking, open_tracker
from dsbs.reporting.document import to_comparison
from dsbs.reporting.report import Report
from dsbs.reporting.wording import describe_condition
from dsbs.reporting.writing import PLOTS


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
