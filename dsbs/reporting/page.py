"""The report as one HTML file that needs nothing else: no script, no font, no picture from elsewhere."""

import base64
from collections.abc import Iterable, Sequence
from html import escape

from dsbs import __version__
from dsbs.core.html import STYLE
from dsbs.reporting.claims import SHOWN, SHOWN_WORSE
from dsbs.reporting.comparisons import HEADLINE, Comparison
from dsbs.reporting.conditions import Condition
from dsbs.reporting.notes import all_notes
from dsbs.reporting.report import Report
from dsbs.reporting.stats import SEEDS
from dsbs.reporting.wording import describe_condition, show_fraction, show_interval, show_p, show_score

READING = (
    "A score is the mean over seeds and test examples. The test split is read once per run, with the checkpoint that "
    "was best on validation.",
    "The 95% interval of a condition is about new seeds and new test examples alike; with a single seed it is about "
    "test examples alone (†).",
    "The claim is non-inferiority: that the candidate is not worse than the baseline by the margin or more, one-sided "
    "at the 5% level. Beside it stands whether there is any difference, two-sided.",
    "A comparison pairs the answers to the same test examples and counts the spread between seeds and between "
    "examples. On the same share of the data, with equal settings and the same four seeds or more, seeds are "
    "paired as well.",
    "Where several comparisons of one kind are made, p-values are Holm's, and each interval is at the level at which "
    "Holm's test decides.",
    "With one seed on a side, nothing is said about the methods: the result is about this student only.",
)


def build_page(report: Report, picture: bytes) -> str:
    """Return the page; ``picture`` is the plot as PNG, which the page carries within."""
    task = escape(report.task)
    title = f"{' and '.join(report.settings.candidates)} against {report.settings.baseline}"
    sections = [
        f"<p class='kicker'>dsbs report · task {task}</p>\n<h1>{escape(title)}</h1>",
        _tell_headlines(report),
        _tell_stand_in(report),
        _show_picture(picture, report.conditions),
        _section("Results", _tabulate_cells(report)),
        _section("Comparisons", _tabulate_comparisons(report)),
        _section("Left out", _list_left_out(report)),
        _section("How to read this", _list(READING)),
        _section("How it was made", _tell_origin(report)),
    ]
    body = "\n".join(section for section in sections if section)
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<meta name='color-scheme' content='light dark'>\n<title>{task}: report</title>\n"
        f"<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _tell_headlines(report: Report) -> str:
    made = [item for item in report.comparisons if item.kind == HEADLINE]
    blocks = []
    for index, text in enumerate(report.headlines):
        comparison = made[index] if index < len(made) else None
        notes = all_notes(comparison) if comparison else []
        badge = _badge(comparison) if comparison and comparison.result else ""
        caution = f"<p class='note'>Caveats: {escape('; '.join(notes))}.</p>" if notes else ""
        blocks.append(f"<div class='headline'>{badge}<p>{escape(text)}</p>{caution}</div>")
    return "\n".join(blocks)


def _tell_stand_in(report: Report) -> str:
    return "".join(
        f"<p class='warning'><strong>The teacher is a stand-in.</strong> <code>{escape(name)}</code> {escape(told)}</p>"
        for name, told in report.stand_ins.items()
    )


def _show_picture(picture: bytes, conditions: Sequence[Condition]) -> str:
    data = base64.b64encode(picture).decode("ascii")
    told = "; ".join(
        f"{describe_condition(condition, conditions)} at {show_fraction(condition.data_fraction)}: "
        f"{show_score(condition.metric, condition.estimate.mean)}"
        for condition in conditions
    )
    return (
        f"<figure><img src='data:image/png;base64,{data}' alt='{escape(f'Test scores. {told}', quote=True)}'>"
        "<figcaption>Lines join the means over seeds; bars are 95% intervals; small rings are single seeds. The points "
        "at one share of the data stand side by side to keep them apart.</figcaption></figure>"
    )


def _tabulate_cells(report: Report) -> str:
    head = ("Method", "Data", "Examples", "Accuracy", "95% interval", "Per seed", "Steps", "Target tokens", "Time")
    rows = []
    for cell in report.conditions:
        estimate = cell.estimate
        seeds = ", ".join(f"{seed}: {100 * value:.1f}" for seed, value in zip(cell.seeds, cell.per_seed, strict=True))
        mark = "" if estimate.method == SEEDS else " †"
        flag = " *" if cell.unconverged else ""
        rows.append(
            (
                _name(cell, report.conditions),
                show_fraction(cell.data_fraction),
                _count(cell.mean("train_examples")),
                show_score(cell.metric, estimate.mean),
                f"{show_interval(cell.metric, estimate.low, estimate.high)}{mark}",
                seeds,
                _count(cell.mean("steps")) + flag,
                _count(cell.mean("target_tokens")),
                _time(cell.mean("seconds")),
            )
        )
    for teacher in report.teachers:
        if teacher.accuracy is not None:
            name = f"teacher {teacher.name}" + (" (scripted stand-in)" if teacher.stand_in else "")
            rows.append((name, "", "", f"{100 * teacher.accuracy:.1f}%", f"on {teacher.split}", "", "", "", ""))
    return _table(head, rows, numeric=range(1, len(head))) + (
        "<p class='small'>Examples, steps, target tokens and time are means over seeds. * Perhaps not converged: the "
        "best checkpoint of a seed is its last. † Over test examples alone: no spread between seeds is known.</p>"
    )


def _tabulate_comparisons(report: Report) -> str:
    if not report.comparisons:
        return "<p>None: there is no baseline to compare with at the same share of the data, or no other method.</p>"
    head = (
        "Candidate",
        "Baseline",
        "Difference, points",
        "95% interval",
        "p",
        "p (Holm)",
        "At most the margin worse",
        "Any difference",
    )
    rows = []
    for item in report.comparisons:
        sides = tuple(
            f"{_name(cell, report.conditions)}, {show_fraction(cell.data_fraction)}"
            for cell in (item.candidate, item.baseline)
        )
        if item.result is None:
            rows.append((*sides, "", "", "", "", "", f"not compared: {item.refusal}"))
            continue
        result = item.result
        notes = f". Caveats: {'; '.join(all_notes(item))}" if all_notes(item) else ""
        low, high = item.interval
        rows.append(
            (
                *sides,
                f"{100 * result.difference:+.1f}",
                f"{100 * low:+.1f} to {100 * high:+.1f}",
                show_p(result.p_value).removeprefix("= "),
                show_p(item.p_adjusted).removeprefix("= "),
                item.claim,
                item.verdict + notes,
            )
        )
    return _table(head, rows, numeric=range(2, 6))


def _list_left_out(report: Report) -> str:
    if not report.left_out:
        return "<p>Nothing: every run under the folder is finished and counts.</p>"
    rows = [(str(run.folder), run.reason, run.command or "") for run in report.left_out]
    return _table(("Run", "Why it does not count", "Its command"), rows, numeric=())


def _tell_origin(report: Report) -> str:
    runs = [run for cell in report.conditions for run in cell.runs]
    manifests = [run.manifest for run in runs]
    facts = {
        "dsbs": sorted({str(manifest["dsbs"]) for manifest in manifests if "dsbs" in manifest}),
        "Python": sorted({str(manifest["python"]) for manifest in manifests if "python" in manifest}),
        "Platform": sorted({str(manifest["platform"]) for manifest in manifests if "platform" in manifest}),
        "Packages": sorted(
            {
                f"{name} {version}"
                for manifest in manifests
                for name, version in (manifest.get("packages") or {}).items()
            }
        ),
    }
    rows = [(name, ", ".join(values)) for name, values in facts.items() if values]
    rows += [("Report", f"python -m dsbs.report runs={report.runs} (dsbs {__version__})")]
    if any(len(values) > 1 for name, values in facts.items() if name != "Packages"):
        rows += [("Caveat", "the runs were not all made with the same versions or on the same kind of machine")]
    commands = sorted({str(manifest["command"]) for manifest in manifests if "command" in manifest})
    listing = f"<details><summary>Commands of the runs ({len(commands)})</summary><pre>" if commands else ""
    listing += escape("\n".join(commands)) + "</pre></details>" if commands else ""
    return _table((), rows, numeric=()) + listing


def _badge(comparison: Comparison) -> str:
    tone = {SHOWN: "good", SHOWN_WORSE: "bad"}.get(comparison.claim, "open")
    told = f"at most {100 * comparison.margin:g} points worse: {comparison.claim}"
    return f"<span class='badge {tone}'>{escape(told)}</span>"


def _name(condition: Condition, among: Sequence[Condition]) -> str:
    return describe_condition(condition, among)


def _section(title: str, body: str) -> str:
    return f"<section><h2>{escape(title)}</h2>\n{body}\n</section>"


def _list(items: Iterable[str]) -> str:
    return f"<ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}</ul>"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]], numeric: Iterable[int]) -> str:
    """Return a table that scrolls sideways where it does not fit; every text is escaped here."""
    right = set(numeric)
    classes = [" class='number'" if index in right else "" for index in range(max(len(head), 9))]
    top = "".join(f"<th scope='col'{classes[index]}>{escape(text)}</th>" for index, text in enumerate(head))
    lines = "".join(
        "<tr>" + "".join(f"<td{classes[index]}>{escape(text)}</td>" for index, text in enumerate(row)) + "</tr>"
        for row in rows
    )
    top = f"<thead><tr>{top}</tr></thead>" if head else ""
    return f"<div class='scroll'><table>{top}<tbody>{lines}</tbody></table></div>"


def _count(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _time(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
