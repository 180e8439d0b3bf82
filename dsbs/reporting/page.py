"""``index.html``: the report as a single self-contained file, with the figures of ``report.json``."""

from pathlib import Path
from typing import Any

from dsbs.core.html import render
from dsbs.core.units import show_percent
from dsbs.inference.metrics import name_score, show_score
from dsbs.reporting.charts import draw_calibration, draw_curve, draw_history, draw_sizes
from dsbs.reporting.comparison_tables import list_comparisons, list_controls, list_verdicts
from dsbs.reporting.tables import (
    collect_caveats,
    list_conditions,
    list_effort,
    list_facts,
    list_other_measures,
    list_savings,
    list_serving,
    list_teachers,
    name_cells,
    show_searches,
)
from dsbs.tasks.base import ACCURACY

Item = dict[str, Any]
MAX_CARDS = 4
TEMPLATES = Path(__file__).with_name("templates")
READING = (
    "A score is the mean over seeds and test examples. The test split is read once per run, with the checkpoint that "
    "was best on validation.",
    "The 95% interval of a condition covers both new seeds and new test examples; with a single seed it covers "
    "test examples only (†).",
    "The claim is non-inferiority: the candidate is at most the margin worse than the baseline, one-sided at the "
    "5% level. Beside it is whether there is any difference, two-sided.",
    "A comparison pairs the answers to the same test examples and counts the spread between seeds and between "
    "examples. On the same share of the data, with equal settings and the same four seeds or more, seeds are paired "
    "as well (‡).",
    "With one seed on a side, nothing is said about the methods: the result is about this student only.",
    "Labels for selection are those of validation, used to choose the checkpoint; both sides use them.",
)


def build_page(document: dict[str, Any], samples: dict[str, Any]) -> str:
    """Return the page."""
    cells, names, metric = {cell["id"]: cell for cell in document["cells"]}, name_cells(document), document["metric"]
    caveats, marks = collect_caveats(document)
    settings = document["settings"]
    scores = "; ".join(f"{names[id]}: {show_score(metric, cell[metric])}" for id, cell in cells.items())
    sample_names = [names[id] for id in samples["conditions"]]
    seeds = [len(cells[id]["seeds"]) for id in samples["conditions"]]
    return render(
        TEMPLATES,
        "report.html",
        document=document,
        title=f"{' and '.join(settings['candidates'])} against {settings['baseline']}",
        metric=metric,
        names=names,
        cards=_split(list_verdicts(document, marks), MAX_CARDS),
        about=_describe_about(document),
        wide=draw_curve(document, 760, 380),
        narrow=draw_curve(document, 390, 330),
        sizes=[draw_sizes(document, 760, 340), draw_sizes(document, 390, 320)] if document["sizes"] else [],
        curve_summary=f"Test {metric}. {scores}",
        rows={
            "conditions": list_conditions(document, marks),
            "other": list_other_measures(document),
            "saved": list_savings(document),
            "effort": list_effort(document),
            "teachers": list_teachers(document),
            "serving": list_serving(document),
            "left_out": [(run["folder"], run["reason"], run["command"] or "") for run in document["left_out"]],
        },
        comparisons=list_comparisons(document, marks),
        caveats=caveats,
        controls=list_controls(document, marks),
        classes=_split([_show_classes(item) for item in _order(document["classes"], samples)]),
        calibration=_split(
            [{**item, "chart": draw_calibration(item)} for item in _order(document["calibration"], samples)]
        ),
        histories=_split([_show_history(item, document) for item in _order(document["learning_curves"], samples)]),
        samples=samples,
        sample_names=sample_names,
        payload={
            "examples": samples["examples"],
            "names": sample_names,
            "seeds": seeds,
            "metric": None if metric == ACCURACY else metric,
        },
        graded=metric != ACCURACY,
        reading=READING,
        facts=list_facts(document),
        searches=show_searches(document),
    )


def _describe_about(document: dict[str, Any]) -> list[str]:
    """Return the task, the students and the teachers, for the line above the title."""
    parts = [f"task {document['task']}"]
    for kind in ("student", "teacher"):
        names = list(dict.fromkeys(cell[kind] for cell in document["cells"] if cell[kind]))
        if names:
            parts.append(f"{kind}{'s' if len(names) > 1 else ''} {', '.join(names)}")
    return [*parts, document["made"]]


def _order(items: list[Item], samples: dict[str, Any]) -> list[Item]:
    """Return items of conditions, first those of the conditions in the examples."""
    first = samples["conditions"]
    return sorted(items, key=lambda item: first.index(item["cell"]) if item["cell"] in first else len(first))


def _split(items: list[Item], first: int = 2) -> list[list[Item]]:
    """Return the first items, and the rest, which the page folds."""
    return [part for part in (items[:first], items[first:]) if part]


def _show_classes(item: dict[str, Any]) -> dict[str, Any]:
    rows = [
        (one["class"], f"{one['examples']:,}", *(show_percent(one[key]) for key in ("precision", "recall", "f1")))
        for one in item["scores"]
    ]
    rows.append(("macro average", "", "", "", show_percent(item["macro_f1"])))
    return {"cell": item["cell"], "rows": rows, "confusion": _shade(item["confusion"], item["scores"])}


def _shade(confusion: dict[str, Any] | None, scores: list[dict[str, Any]]) -> dict[str, Any] | None:
    if confusion is None:
        return None
    rows = []
    for position, (one, counts) in enumerate(zip(scores, confusion["rows"], strict=True)):
        shares = [count / max(1, sum(counts)) for count in counts]
        cells = [
            {"text": f"{100 * share:.0f}" if share else "", "shade": round(60 * share), "hit": position == column}
            for column, share in enumerate(shares)
        ]
        rows.append({"name": one["class"], "cells": cells})
    return {"columns": confusion["columns"], "rows": rows}


def _show_history(item: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    metric = document["metric"]
    labels = next(cell["labels"] for cell in document["cells"] if cell["id"] == item["cell"])
    charts = {name: draw_history(item["runs"], metric, name) for name in ("validation", "loss")}
    return {"cell": item["cell"], "score": name_score(metric, labels), **charts}
