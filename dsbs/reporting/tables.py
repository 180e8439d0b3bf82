"""The rows of the page's tables, formatted from ``report.json``."""

import shlex
import string
from itertools import product
from typing import Any

from dsbs.core.units import show_count, show_duration, show_fraction, show_size
from dsbs.data.overlap import describe_overlap
from dsbs.inference.metrics import name_score, show_score
from dsbs.reporting.notes import Note
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.stats import SEEDS
from dsbs.reporting.wording import show_ends, show_interval, show_share
from dsbs.tasks.base import ACCURACY

Row = tuple[str, ...]
Marks = dict[str, str]  # caveat -> its letter


def name_cells(document: dict[str, Any]) -> dict[str, str]:
    """Return id -> name of the condition with its share of the data."""
    return {cell["id"]: f"{cell['name']}, {show_fraction(cell['data_fraction'])}" for cell in document["cells"]}


def collect_caveats(document: dict[str, Any]) -> tuple[list[tuple[str, str]], Marks]:
    """Return (letter, caveat) for each distinct caveat, and caveat -> letter.

    Caveats of conditions are without details; those of comparisons name the values that differ.
    """
    texts = [note["text"] for cell in document["cells"] for note in cell["notes"]]
    texts += [describe_note(note) for item in document["comparisons"] for note in item["own_notes"]]
    letters = (first + second for first, second in product(["", *string.ascii_lowercase], string.ascii_lowercase))
    marks = dict(zip(dict.fromkeys(texts), letters, strict=False))
    return [(letter, text[:1].upper() + text[1:]) for text, letter in marks.items()], marks


def list_conditions(document: dict[str, Any], marks: Marks) -> list[Row]:
    """Return the rows of conditions, then of teachers with a known accuracy, if that is the metric."""
    metric = document["metric"]
    rows: list[Row] = []
    for cell in document["cells"]:
        dagger = "" if cell["ci_method"] == SEEDS else " †"
        seeds = ", ".join(_bare(metric, value) for value in cell["per_seed"])
        letters = " ".join(marks[note["text"]] for note in cell["notes"])
        labels = [show_count(cell[key]) for key in ("labels_training", "labels_choosing", "labels_total")]
        interval = show_interval(metric, cell["ci_low"], cell["ci_high"]) + dagger
        name, share = cell["name"], show_fraction(cell["data_fraction"])
        rows.append((name, share, show_score(metric, cell[metric]), interval, seeds, *labels, letters))
    for teacher in document["teacher"]["all"]:
        if teacher["accuracy"] is not None and metric == ACCURACY:
            name = f"teacher {teacher['name']}" + (" (scripted stand-in)" if teacher["stand_in"] else "")
            rows.append((name, "", f"{100 * teacher['accuracy']:.1f}%", f"on {teacher['split']}", *[""] * 5))
    return rows


def list_other_measures(document: dict[str, Any]) -> list[Row]:
    """Return the rows of conditions with additional test scores: of the last step, of generated answers."""
    metric = document["metric"]
    rows: list[Row] = []
    for cell in document["cells"]:
        if other := cell["other_measures"]:
            values = [show_score(metric, other[key]) if key in other else "" for key in ("test_last", "test_generated")]
            rows.append((cell["name"], show_fraction(cell["data_fraction"]), show_score(metric, cell[metric]), *values))
    return rows


def list_savings(document: dict[str, Any]) -> list[Row]:
    """Return the rows of labels saved: shares and labels on which candidates reach the baseline's score on all data."""
    cells = {cell["id"]: cell for cell in document["cells"]}
    rows: list[Row] = []
    for saving in document["labels_saved"]:
        first = cells[saving["candidate"][0]]
        least = "≤ " if saving["at_most"] else ""
        reached = least + show_share(saving["fraction"]) if saving["reached"] else "not reached"
        interval = show_ends(saving["ci_low"], saving["ci_high"], first["data_fraction"])
        labels = [show_count(saving[kind]["fraction"]) for kind in ("training_labels", "all_labels")]
        shown = "shown" if saving["shown"] else "not shown"
        rows.append((first["name"], reached, interval, shown, *(least + one if one else "" for one in labels)))
    return rows


def list_effort(document: dict[str, Any]) -> list[Row]:
    """Return the rows of effort: steps, tokens and time of each condition, size and speed of its students."""
    rows: list[Row] = []
    for cell in document["cells"]:
        steps = sum(cell["steps"]) / len(cell["steps"])
        star = " *" if cell["perhaps_not_converged"] else ""
        speed = cell["milliseconds_per_example"]
        rows.append(
            (
                cell["name"],
                show_fraction(cell["data_fraction"]),
                show_count(steps) + star,
                "" if cell["epochs"] is None else f"{cell['epochs']:,.1f}",
                *(show_count(cell[key]) for key in ("example_visits", "label_tokens", "target_tokens")),
                show_duration(cell["seconds"]),
                show_count(cell["parameters"]),
                show_size(cell["size_bytes"]),
                "" if speed is None else f"{speed:.1f}",
            )
        )
    return rows


def list_teachers(document: dict[str, Any]) -> list[Row]:
    """Return the rows of teachers: model, accuracy, filter, tokens, cost."""
    return [
        (
            one["name"],
            one["model"] or "",
            "" if one["accuracy"] is None else f"{100 * one['accuracy']:.1f}%",
            one["split"] or "",
            one["filter"] or "",
            *(show_count(one[key]) for key in ("prompt_tokens", "completion_tokens")),
            "unknown" if one["cost_usd"] is None else f"${one['cost_usd']:,.2f}",
        )
        for one in document["teacher"]["all"]
    ]


def list_serving(document: dict[str, Any]) -> list[Row]:
    """Return the rows of exported students: their speed, and the teacher's price for the same answers."""
    return [
        (
            f"{one['student']}, {one['objective']}",
            one["form"],
            f"{one['milliseconds']:.3g}",
            f"{one['per_second_and_core']:,.3g}",
            "unknown" if one["teacher_usd_per_million"] is None else f"${one['teacher_usd_per_million']:,.2f}",
            show_count(one["break_even_requests"]) or "unknown",
        )
        for one in document["serving"]
    ]


def show_searches(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each search with its rows, best first, and the command that measures the best on test."""
    return [
        {
            "title": f"{search['student']}, {search['objective']}, {show_fraction(search['data_fraction'])}",
            "command": search["tried"][0]["command"],
            "score": name_score(search["metric"], search["labels"]),
            "rows": [
                (
                    one["variant"] or "as configured",
                    str(len(one["seeds"])),
                    show_score(search["metric"], one["validation"]),
                    show_count(one["steps"]),
                )
                for one in search["tried"]
            ],
        }
        for search in document["searches"]
    ]


def list_facts(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the provenance of the runs as (name, value)."""
    origin = document["provenance"]
    facts = [("report", f"{_command(document)} (dsbs {document['dsbs']})")]
    if origin["started"]:
        facts.append(("runs started", " to ".join(dict.fromkeys(origin["started"]))))
    facts += [("data", _pairs(data)) for data in origin["data"]]
    facts += [("annotations", _pairs(one)) for one in origin["annotations"]]
    facts += [("test split", sentence) for sentence in describe_overlap(origin["overlap"], "train or validation")]
    facts += [(name, ", ".join(versions)) for name, versions in origin["versions"].items()]
    if any(len(versions) > 1 for versions in origin["versions"].values()):
        facts.append(("caveat", "the runs were not all made with the same versions or on the same kind of machine"))
    return facts


def _command(document: dict[str, Any]) -> str:
    """Return the command that wrote the report, without settings that are the defaults."""
    words = ["python", "-m", "dsbs.report", f"runs={document['runs']}"]
    defaults = vars(ReportSettings())
    for key, value in document["settings"].items():
        if value != defaults[key]:
            listed = f"[{','.join(value)}]" if isinstance(value, list) else value
            words.append(f"{key}={listed}")
    return shlex.join(words)


def _pairs(values: dict[str, Any]) -> str:
    shown = {key: value for key, value in values.items() if value not in (None, {}, [])}
    return ", ".join(
        f"{key.replace('_', ' ')}: {_pairs(value) if isinstance(value, dict) else value}"
        for key, value in shown.items()
    )


def _bare(metric: str, value: float) -> str:
    return show_score(metric, value).removesuffix("%")


def describe_note(note: dict[str, str]) -> str:
    """Return a caveat with its detail."""
    return str(Note(**note))
