"""The report in a terminal."""

from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from dsbs.core.terminal import plain, print_lines, print_table
from dsbs.core.units import show_count, show_fraction
from dsbs.inference.metrics import name_score, show_score
from dsbs.reporting.comparisons import HEADLINE
from dsbs.reporting.conditions import Condition
from dsbs.reporting.notes import note_comparison, note_condition
from dsbs.reporting.report import Report
from dsbs.reporting.searches import list_searches
from dsbs.reporting.sizes import describe_size_series, find_size_series
from dsbs.reporting.textplot import draw_text
from dsbs.reporting.wording import describe_comparison, describe_condition, show_interval
from dsbs.tasks.base import ACCURACY

MAX_TRIED = 3  # settings shown per search


def show_report(report: Report, places: Sequence[Path], console: Console) -> None:
    """Print tables, curve, main result in words, caveats, and the paths of the written files."""
    if report.conditions:
        print_table(console, build_table(report))
    if report.searched:
        print_table(console, build_search_table(report))
    print_lines(console, *draw_text(report.conditions))
    for text in [*describe_equal_labels(report), *report.headlines]:
        console.print(plain(f"\n{text}"), soft_wrap="`" in text)  # a command is pasted as one line
    for note in list_caveats(report):
        console.print(plain(f"  - caveat: {note}"))
    for name, caveat in report.stand_ins.items():
        console.print(plain(f"  - caveat: the teacher {name} {caveat}"))
    for series in find_size_series(report.conditions, report.teachers):
        console.print(plain(f"\n{describe_size_series(series, report.conditions)}"))
    console.print(Text("\nWritten:"))
    print_lines(console, *places, indent="  ")


def describe_equal_labels(report: Report) -> list[str]:
    """Return the headline candidates' comparisons on equal labels, in words."""
    return [f"Equal labels: {describe_comparison(item, report.conditions)}" for item in report.equal_labels]


def list_caveats(report: Report) -> list[str]:
    """Return the caveats of the comparisons that are shown, and of conditions in none, with what each is about."""
    told = [*report.equal_labels, *(item for item in report.comparisons if item.kind == HEADLINE)]
    caveats = [
        f"{_name(one, report)}: {note}" for one in report.conditions if one.fault for note in note_condition(one)
    ]
    for item in told:
        names = [_name(side, report) for side in (item.candidate, item.baseline)]
        for name, side in zip(names, (item.candidate, item.baseline), strict=True):
            caveats += [f"{name}: {note}" for note in note_condition(side)]
        caveats += [f"{' against '.join(names)}: {note}" for note in note_comparison(item)]
    return list(dict.fromkeys(caveats))


def _name(condition: Condition, report: Report) -> str:
    share = show_fraction(condition.data_fraction)
    return f"{describe_condition(condition, report.conditions)} on {share} of the data"


def build_table(report: Report) -> Table:
    """Return the conditions as a table that fits 80 columns."""
    table = Table(
        title=plain(f"{report.task}: test {report.metric}"),
        title_justify="left",
        box=SIMPLE_HEAD,
        caption=_caption(report),
    )
    table.caption_justify = "left"
    table.add_column("method", overflow="fold")
    for heading in ("data", "examples", "seeds", report.metric, "95% interval", "steps"):
        table.add_column(heading, justify="right")
    for cell in report.conditions:
        estimate, examples, steps = cell.estimate, cell.mean("train_examples"), cell.mean("steps")
        table.add_row(
            plain(describe_condition(cell, report.conditions)),
            show_fraction(cell.data_fraction),
            show_count(examples),
            str(len(cell.runs)),
            show_score(cell.metric, estimate.mean),
            show_interval(cell.metric, estimate.low, estimate.high),
            show_count(steps) + ("*" if cell.unconverged else ""),
        )
    return table


def build_search_table(report: Report) -> Table:
    """Return a table of the best settings of each search, by validation score; the page has all of them."""
    searches = list_searches(report.searched)
    measured = " or ".join(sorted({name_score(search["metric"], search["labels"]) for search in searches}))
    table = Table(
        title=plain(f"{report.task}: validation {measured} of runs that left test alone (test=false)"),
        title_justify="left",
        box=SIMPLE_HEAD,
    )
    table.add_column("method", overflow="fold")
    table.add_column("settings", overflow="fold")
    for heading in ("data", "tried", "score", "steps"):
        table.add_column(heading, justify="right")
    for search in searches:
        for place, one in enumerate(search["tried"][:MAX_TRIED]):
            table.add_row(
                plain("" if place else f"{search['student']}, {search['objective']}"),
                plain(one["variant"] or "as configured"),
                "" if place else show_fraction(search["data_fraction"]),
                "" if place else str(len(search["tried"])),
                show_score(search["metric"], one["validation"]),
                show_count(one["steps"]),
            )
    return table


def _caption(report: Report) -> Text | None:
    lines = []
    for teacher in report.teachers:
        stand_in = " (scripted stand-in)" if teacher.stand_in else ""
        if teacher.accuracy is not None and report.metric == ACCURACY:
            lines.append(f"teacher {teacher.name}{stand_in}: {100 * teacher.accuracy:.1f}% on {teacher.split}")
    if any(cell.unconverged for cell in report.conditions):
        lines.append("* perhaps not converged: the best checkpoint is the last")
    if report.left_out:
        count = len(report.left_out)
        lines.append(f"{count} {'run was' if count == 1 else 'runs were'} left out; the report says which and why")
    return plain("\n".join(dict.fromkeys(lines))) if lines else None
