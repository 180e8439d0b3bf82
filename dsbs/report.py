"""Compare finished runs: a table with intervals, a plot and a page for each task.

    dsbs report
    dsbs report runs=outputs/train/triage
    dsbs report runs=outputs/train tracking.mode=disabled output_dir=comparison

Each task gets its own folder under outputs/report.
"""

from pathlib import Path

from dsbs.cli.command import command
from dsbs.cli.config import ReportConfig, collect_faults
from dsbs.core.errors import ConfigError
from dsbs.core.names import path_part
from dsbs.core.progress import standard_output


@command("report")
def main(config: ReportConfig) -> None:
    """Write and show a report for each task among the runs."""
    if faults := [*collect_faults(config), *config.faults()]:
        raise ConfigError.from_faults(faults)
    from dsbs.reporting.report import build_reports  # imports scipy, which is slow
    from dsbs.reporting.terminal import show_report
    from dsbs.reporting.tracked import track_report
    from dsbs.reporting.writing import write_report

    console, output_dir = standard_output(), Path(config.output_dir)
    for report in build_reports(Path(config.runs), config):
        folder = output_dir / "report" / path_part(report.task, "task")
        show_report(report, write_report(report, folder), console)
        if url := track_report(report, folder, config.tracking, output_dir):
            console.print(f"  {url}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
