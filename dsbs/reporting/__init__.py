"""The report: reads finished runs, groups them into cells, compares them, and tells the result.

``reading`` finds and checks the runs, ``cells`` groups them by seed, ``comparisons`` says what is held against what,
``report`` puts it together and writes it, ``figure``, ``page`` and ``terminal`` show it, ``tracked`` logs it to W&B.
"""

from dsbs.reporting.report import Report, build_reports, write_report
from dsbs.reporting.terminal import build_table, show_report
from dsbs.reporting.tracked import track_report

__all__ = ["Report", "build_reports", "build_table", "show_report", "track_report", "write_report"]
