"""``rationales.html``: a look at an extraction for people, in one file that needs nothing else."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Any

from dsbs import __version__
from dsbs.core.html import STYLE
from dsbs.core.records import OK
from dsbs.extraction.look import LENGTH_STEP, LONGEST, Look, Shown
from dsbs.extraction.parsing import STATUSES
from dsbs.tasks.base import Answers

MORE_STYLE = """
.bar { background: var(--rule); border-radius: 4px; height: .8rem; min-width: 8rem; }
.bar span { display: block; background: var(--good); border-radius: 4px; height: 100%; }
td.text { white-space: pre-wrap; overflow-wrap: anywhere; }
.wrong { color: var(--bad); } .right { color: var(--good); }
"""
LONGEST_TEXT = 1500


def build_page(summary: dict[str, Any], look: Look, answers: Answers) -> str:
    """Return the page.

    Args:
        summary: what ``summary.json`` holds.
        look: counts and samples.
        answers: how the task compares answers.
    """
    task, teacher = escape(str(summary["task"])), escape(str(summary["model"] or summary["teacher"]))
    sections = [
        f"<p class='kicker'>dsbs extraction · task {task}</p>\n<h1>What {teacher} said</h1>",
        _warn(summary),
        _section("Summary", _tabulate_splits(summary)),
        _section("Accuracy by class", _tabulate_classes(look)),
        _section("Not used, and why", _tell_failures(summary, look)),
        _section("Length of the rationales", _draw_lengths(look)),
        _section("Random annotations", _tabulate_sample(look.sample, answers)),
        f"<p class='small'>Made by dsbs {__version__}, prompt {escape(str(summary['prompt']))}, gate "
        f"{escape(str(summary['gate']))}, {summary['seconds']:.0f} seconds in the last run.</p>",
    ]
    return (
        "<!doctype html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<meta name='color-scheme' content='light dark'>\n<title>{task}: what {teacher} said</title>\n"
        f"<style>{STYLE}{MORE_STYLE}</style>\n</head>\n<body>\n<main>\n"
        + "\n".join(filter(None, sections))
        + "\n</main>\n</body>\n</html>\n"
    )


def _warn(summary: dict[str, Any]) -> str:
    if summary["stand_in"]:
        return (
            f"<p class='warning'><strong>The teacher is a stand-in.</strong> It {escape(str(summary['stand_in']))}</p>"
        )
    if summary["stopped"]:
        return f"<p class='warning'>The extraction is not complete: {escape(str(summary['stopped']))}.</p>"
    return ""


def _tabulate_splits(summary: dict[str, Any]) -> str:
    heads = ("split", "examples", "with an answer", "used", "accuracy", "tokens read", "tokens written", "cost")
    rows = []
    for split, count in summary["splits"].items():
        accuracy, cost = count["teacher_accuracy"], count["cost_usd"]
        rows.append(
            [
                escape(split),
                f"{count['examples']:,}",
                f"{count['parsed']:,}",
                f"{count['statuses'].get(OK, 0):,}",
                "no gold labels" if accuracy is None else f"{100 * accuracy:.2f}%",
                f"{count['prompt_tokens']:,}",
                f"{count['completion_tokens']:,}",
                "no known price" if cost is None else f"${cost:,.2f}",
            ]
        )
    note = "Accuracy is the share of the examples that the teacher answered as the gold label does; no answer is wrong."
    return _table(heads, rows) + f"<p class='small'>{note}</p>"


def _tabulate_classes(look: Look) -> str:
    if look.too_many_classes:
        return "<p>The answers of this task are free: there are no classes.</p>"
    rows = [
        [escape(label), f"{examples:,}", f"{100 * right / examples:.1f}%", _bar(right / examples)]
        for label, (examples, right) in sorted(look.classes.items())
    ]
    return _table(("gold label", "examples", "answered right", ""), rows) if rows else "<p>No gold labels.</p>"


def _tell_failures(summary: dict[str, Any], look: Look) -> str:
    parts: list[str] = []
    for status, examples in look.failures.items():
        count = sum(split["statuses"].get(status, 0) for split in summary["splits"].values())
        meaning = STATUSES.get(status) or (
            "refused by a gate" if status.startswith("gate: ") else "no completion came; the next run asks again"
        )
        rows = [[_name(shown), _text(shown.example.input), _text(shown.said)] for shown in examples]
        parts.append(
            f"<details{' open' * (not parts)}><summary><strong>{escape(status)}</strong>: {count:,} ({meaning})"
            "</summary>" + _table(("example", "question", "what came back"), rows) + "</details>"
        )
    return "\n".join(parts) or "<p>Every annotation is used.</p>"


def _draw_lengths(look: Look) -> str:
    most = max(look.lengths.values(), default=0)
    rows = [
        [f"{start}+" if start >= LONGEST else f"{start}-{start + LENGTH_STEP - 1}", f"{count:,}", _bar(count / most)]
        for start, count in sorted(look.lengths.items())
    ]
    return _table(("words", "rationales", ""), rows) if rows else "<p>There are none.</p>"


def _tabulate_sample(sample: Sequence[Shown], answers: Answers) -> str:
    rows = []
    for shown in sample:
        right = shown.right(answers)
        mark = {True: "<span class='right'>✓</span>", False: "<span class='wrong'>✗</span>", None: ""}[right]
        status = shown.annotation.status
        why = "" if status == OK else f" <span class='small'>({escape(status)})</span>"
        rows.append(
            [
                _name(shown),
                _text(shown.example.input),
                _text(shown.annotation.rationale or ""),
                f"{_text(shown.annotation.label or 'none')} {mark}{why}",
                _text(shown.example.label or "none"),
            ]
        )
    return _table(("example", "question", "rationale", "teacher", "gold"), rows)


def _name(shown: Shown) -> str:
    return f"{escape(shown.split)} {escape(shown.example.id)}"


def _text(text: str) -> str:
    return escape(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + " …")


def _bar(share: float) -> str:
    return f"<div class='bar'><span style='width:{100 * share:.1f}%'></span></div>"


def _section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "\n".join("<tr>" + "".join(f"<td class='text'>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table></div>"
