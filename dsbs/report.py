"""Compare finished runs: a table with intervals, a plot and a page for each task.

    dsbs report
    dsbs report runs=outputs/train/triage
    dsbs report runs=outputs/train tracking.mode=disabled output_dir=comparison

Each task gets its own folder under outputs/report.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dsbs.cli.command import command
from dsbs.cli.config import ReportConfig, check_settings
from dsbs.cli.explain import options_below
from dsbs.core.errors import ConfigError
from dsbs.core.names import path_part
from dsbs.core.progress import standard_output

if TYPE_CHECKING:
    from dsbs.reporting.report import Report


@command("report")
def main(config: ReportConfig) -> None:
    """Write and show a report for each task among the runs."""
    check_settings(config)
    from dsbs.reporting.report import build_reports  # imports scipy, which is slow
    from dsbs.reporting.terminal import show_report
    from dsbs.reporting.writing import track_report, write_report

    console, output_dir = standard_output(), Path(config.output_dir)
    reports = build_reports(Path(config.runs), config)
    if faults := unknown_objectives(config, reports):
        raise ConfigError.from_faults(faults)
    for report in reports:
        folder = output_dir / "report" / path_part(report.task, "task")
        show_report(report, write_report(report, folder), console)
        if url := track_report(report, folder, config.tracking, output_dir):
            console.print(f"  {url}", soft_wrap=True, markup=False)


def unknown_objectives(config: ReportConfig, reports: Iterable["Report"]) -> list[str]:
    """Return a fault for the baseline and each candidate that no run has and no option of ours names."""
    trained = {str(run.metrics["objective"]) for report in reports for run in report.searched}
    trained |= {condition.objective for report in reports for condition in report.conditions}
    named = [("baseline", config.baseline), *(("candidates", name) for name in config.candidates)]
    return [
        f"{key}: {name}: there is no such objective among the runs, which have {', '.join(sorted(trained))}."
        for key, name in named
        if name not in trained and name not in options_below("objective")
    ]


if __name__ == "__main__":
    main()
