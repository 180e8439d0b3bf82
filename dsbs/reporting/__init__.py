"""The report: reads finished runs, groups them into conditions, compares them, and tells the result.

``reading`` and ``answers`` read and check the runs, ``variants`` and ``conditions`` group them by seed, ``stats`` and
``claims`` say how sure a figure is, ``comparisons`` what is held against what, ``notes`` what speaks against trusting
it, ``wording`` puts it in words; ``report`` holds it together. ``document``, ``figure``, ``page`` and ``terminal`` show
it, ``writing`` writes the files, ``tracked`` logs it to W&B.
"""

from dsbs.reporting.report import Report, build_reports
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.terminal import build_table, show_report
from dsbs.reporting.tracked import track_report
from dsbs.reporting.writing import write_report

__all__ = ["Report", "ReportSettings", "build_reports", "build_table", "show_report", "track_report", "write_report"]
