"""``python -m dsbs.report runs=outputs/train/triage``: compare finished runs, with intervals, a plot and a page."""

from pathlib import Path

from rich.console import Console

from dsbs.cli.command import command
from dsbs.cli.config import ReportConfig, collect_faults
from dsbs.core.errors import ConfigError


@command("report")
def main(config: ReportConfig) -> None:
    """Write a report for each task among the runs, and show it."""
    if faults := [*collect_faults(config), *config.faults()]:
        raise ConfigError.from_faults(faults)
    from dsbs.reporting import build_reports, show_report, track_report, write_report  # scipy takes its time

    console, output_dir = Console(), Path(config.output_dir)
    for report in build_reports(Path(config.runs), config):
        folder = output_dir / "report" / report.task
        show_report(report, write_report(report, folder), console)
        if url := track_report(report, folder, config.tracking, output_dir):
            console.print(f"  {url}", soft_wrap=True, markup=False)


if __name__ == "__main__":
    main()
