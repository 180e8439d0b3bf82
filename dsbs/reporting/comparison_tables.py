"""The comparisons on the page, formatted from ``report.json``: cards, tables, the chart of controls."""

from collections.abc import Iterable
from typing import Any

from dsbs.reporting.charts import draw_differences
from dsbs.reporting.claims import BETTER, ONE_STUDENT, SHOWN, SHOWN_WORSE, WORSE
from dsbs.reporting.comparisons import CONTROL, CONTROL_BASELINE, HEADLINE, SAME_FRACTION
from dsbs.reporting.tables import Marks, name_cells, tell_note
from dsbs.reporting.wording import show_fraction, show_interval, show_p, show_score

TITLES = {
    HEADLINE: "A share of the data against all of it",
    SAME_FRACTION: "On the same share of the data",
    CONTROL: "Against the controls",
    CONTROL_BASELINE: "The controls against the baseline",
}


def list_verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cards at the top: headlines, then the same candidates against the baseline on equal data.

    Headlines come last if all of them have a single seed on a side.
    """
    cells = {cell["id"]: cell for cell in document["cells"]}
    headlines = [item for item in document["comparisons"] if item["kind"] == HEADLINE]
    equal = [item for item in document["comparisons"] if item["beside_headline"]]
    cards: list[dict[str, Any]] = []
    for item in headlines:
        share = show_fraction(cells[item["candidate"]]["data_fraction"])
        tone = {SHOWN: "good", SHOWN_WORSE: "bad"}.get(item["claim"], "open")
        badge = f"at most {100 * item['margin']:g} points worse: {item['claim']}"
        cards.append(_card(f"Fewer labels: {share} of the data against all", item, badge, tone))
    if not headlines:
        cards += [{"title": "Fewer labels", "badge": "", "points": "", "told": text} for text in document["headline"]]
    beside = []
    for item in equal:
        share = show_fraction(cells[item["candidate"]]["data_fraction"])
        tone = {BETTER: "good", WORSE: "bad"}.get(item["verdict"], "open")
        beside.append(_card(f"Equal labels: both on {share} of the data", item, item["verdict"], tone))
    weak = all(item["claim"] == ONE_STUDENT for item in headlines)
    return [*beside, *cards] if weak else [*cards, *beside]


def list_comparisons(document: dict[str, Any], marks: Marks) -> list[dict[str, Any]]:
    """Return for each kind of comparison, in the order of ``TITLES``, its title and rows."""
    names = name_cells(document)
    groups = []
    for kind, title in TITLES.items():
        items = [item for item in document["comparisons"] if item["kind"] == kind]
        pictures = draw_differences(items, margin=items[0]["margin"] if items else 0.0)
        rows = [
            {
                "candidate": names[item["candidate"]],
                "baseline": names[item["baseline"]],
                **_tell_difference(item),
                "picture": picture,
                "claim": item["claim"],
                "tone": {SHOWN: "good", SHOWN_WORSE: "bad"}.get(item["claim"], "open"),
                "verdict": item["verdict"],
                "p": show_p(item["p_adjusted"]).removeprefix("= "),
                "paired": item["paired_by_seed"],
                "caveats": " ".join(marks[tell_note(note)] for note in item["own_notes"]),
            }
            for item, picture in zip(items, pictures, strict=True)
        ]
        if rows:
            groups.append({"title": title, "rows": rows})
    return groups


def list_controls(document: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return for each share of the data with controls the scores of controls, candidates and baseline, best first."""
    metric, groups = document["metric"], []
    settings = document["settings"]
    shares = dict.fromkeys(cell["data_fraction"] for cell in document["cells"] if cell["control"])
    for share in shares:
        cells = [
            cell
            for cell in document["cells"]
            if cell["data_fraction"] == share
            and (cell["control"] or cell["objective"] in (settings["baseline"], *settings["candidates"]))
        ]
        cells.sort(key=lambda cell: -cell[metric])
        groups.append((show_fraction(share), [_dot(cell, cells, metric) for cell in cells]))
    return groups


def _card(title: str, item: dict[str, Any], badge: str, tone: str) -> dict[str, Any]:
    (picture,) = draw_differences([item], margin=item["margin"])
    difference = _tell_difference(item)
    interval = f"95% interval {difference['interval']}"
    return {
        "title": title,
        "badge": badge,
        "tone": tone,
        "told": item["told"],
        "picture": picture,
        "interval": interval,
        "points": difference["points"],
    }


def _tell_difference(item: dict[str, Any]) -> dict[str, str]:
    low, high = item["ci_low_adjusted"], item["ci_high_adjusted"]
    return {"points": f"{100 * item['difference']:+.1f}", "interval": f"{100 * low:+.1f} to {100 * high:+.1f}"}


def _dot(cell: dict[str, Any], cells: Iterable[dict[str, Any]], metric: str) -> dict[str, Any]:
    """Return a condition's score as a point with its interval, on the axis of its group."""
    ends = [one[key] for one in cells for key in ("ci_low", "ci_high")]
    low, high, width = min(ends), max(ends), 240
    place = lambda value: 6 + (value - low) / max(high - low, 1e-9) * (width - 12)  # noqa: E731
    return {
        "name": cell["name"],
        "score": show_score(metric, cell[metric]),
        "interval": show_interval(metric, cell["ci_low"], cell["ci_high"]),
        "picture": {
            "width": width,
            "zero": place(low) - 5,
            "margin": None,
            "x": place(cell[metric]),
            "low": place(cell["ci_low"]),
            "high": place(cell["ci_high"]),
        },
    }
