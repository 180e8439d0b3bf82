"""The rows of the page's tables: figures of ``report.json`` as texts."""

import string
from collections.abc import Iterable
from itertools import product
from typing import Any

from dsbs.core.html import show_count, show_duration, show_size
from dsbs.data.overlap import tell_overlap
from dsbs.reporting.charts import draw_differences
from dsbs.reporting.claims import BETTER, ONE_STUDENT, SHOWN, SHOWN_WORSE, WORSE
from dsbs.reporting.comparisons import CONTROL, CONTROL_BASELINE, HEADLINE, SAME_FRACTION
from dsbs.reporting.stats import SEEDS
from dsbs.reporting.wording import show_fraction, show_interval, show_p, show_score

Row = tuple[str, ...]
Marks = dict[str, str]  # caveat -> its letter
TITLES = {
    HEADLINE: "A share of the data against all of it",
    SAME_FRACTION: "On the same share of the data",
    CONTROL: "Against the controls",
    CONTROL_BASELINE: "The controls against the baseline",
}


def name_cells(document: dict[str, Any]) -> dict[str, str]:
    """Return the name of each condition with its share of the data, by id."""
    return {cell["id"]: f"{cell['name']}, {show_fraction(cell['data_fraction'])}" for cell in document["cells"]}


def collect_caveats(document: dict[str, Any]) -> tuple[list[tuple[str, str]], Marks]:
    """Return each caveat once with a letter, and the letters by caveat.

    Those of conditions stand for all to which they apply; those of comparisons name the values that differ.
    """
    texts = [note["text"] for cell in document["cells"] for note in cell["notes"]]
    texts += [_whole(note) for item in document["comparisons"] for note in item["own_notes"]]
    letters = (first + second for first, second in product(["", *string.ascii_lowercase], string.ascii_lowercase))
    marks = dict(zip(dict.fromkeys(texts), letters, strict=False))
    return [(letter, _sentence(text)) for text, letter in marks.items()], marks


def list_verdicts(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the cards on top: the headlines, and the same candidates against the baseline on equal data.

    A headline that says nothing of the methods, for want of seeds, stands behind.
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


def list_conditions(document: dict[str, Any], marks: Marks) -> list[Row]:
    """Return the rows of the conditions, and of the teachers whose accuracy is known."""
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
        if teacher["accuracy"] is not None:
            name = f"teacher {teacher['name']}" + (" (scripted stand-in)" if teacher["stand_in"] else "")
            rows.append((name, "", f"{100 * teacher['accuracy']:.1f}%", f"on {teacher['split']}", *[""] * 5))
    return rows


def list_other_measures(document: dict[str, Any]) -> list[Row]:
    """Return what else the students of a condition were measured by; only conditions for which that is known."""
    metric = document["metric"]
    rows: list[Row] = []
    for cell in document["cells"]:
        if other := cell["other_measures"]:
            values = [show_score(metric, other[key]) if key in other else "" for key in ("test_last", "test_generated")]
            rows.append((cell["name"], show_fraction(cell["data_fraction"]), show_score(metric, cell[metric]), *values))
    return rows


def list_comparisons(document: dict[str, Any], marks: Marks) -> list[dict[str, Any]]:
    """Return the comparisons by kind."""
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
                "caveats": " ".join(marks[_whole(note)] for note in item["own_notes"]),
            }
            for item, picture in zip(items, pictures, strict=True)
        ]
        if rows:
            groups.append({"title": title, "rows": rows})
    return groups


def list_savings(document: dict[str, Any]) -> list[Row]:
    """Return the shares and labels on which candidates reach the baseline's score on all data."""
    cells = {cell["id"]: cell for cell in document["cells"]}
    rows: list[Row] = []
    for saving in document["labels_saved"]:
        least = "≤ " if saving["at_most"] else ""
        reached = saving["reached"]
        shares = [_share(saving[key]) for key in ("fraction", "ci_low", "ci_high")]
        labels = [show_count(saving[kind]["fraction"]) for kind in ("training_labels", "all_labels")]
        interval = f"{shares[1] or 'below what was run'} to {shares[2] or 'not reached'}"
        name = cells[saving["candidate"][0]]["name"]
        rows.append(
            (name, least + shares[0] if reached else "not reached", interval, *(least + one for one in labels if one))
        )
    return rows


def list_controls(document: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """Return for each share of the data the scores of controls, candidates and baseline beside each other."""
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


def list_effort(document: dict[str, Any]) -> list[Row]:
    """Return what each condition took, and what its students cost."""
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
    """Return what is known of the teachers."""
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
    """Return how fast exported students are, and what their answers would cost of the teacher."""
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
    """Return the searches, each with its rows, best first, and the command that reads the test split for the best."""
    return [
        {
            "title": f"{search['student']}, {search['objective']}, {show_fraction(search['data_fraction'])}",
            "command": search["tried"][0]["command"],
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
    """Return how the runs were made, name by name."""
    origin = document["provenance"]
    facts = [("report", f"python -m dsbs.report runs={document['runs']} (dsbs {document['dsbs']})")]
    if origin["started"]:
        facts.append(("runs started", " to ".join(dict.fromkeys(origin["started"]))))
    facts += [("data", _pairs(data)) for data in origin["data"]]
    facts += [("annotations", _pairs(one)) for one in origin["annotations"]]
    facts += [("test split", sentence) for sentence in tell_overlap(origin["overlap"], "train or validation")]
    facts += [(name, ", ".join(versions)) for name, versions in origin["versions"].items()]
    if any(len(versions) > 1 for versions in origin["versions"].values()):
        facts.append(("caveat", "the runs were not all made with the same versions or on the same kind of machine"))
    return facts


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
    """Return a condition's score as a point with its interval, on an axis that all of a group share."""
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


def _pairs(values: dict[str, Any]) -> str:
    shown = {key: value for key, value in values.items() if value not in (None, {}, [])}
    return ", ".join(
        f"{key.replace('_', ' ')}: {_pairs(value) if isinstance(value, dict) else value}"
        for key, value in shown.items()
    )


def _share(fraction: float | None) -> str:
    return "" if fraction is None else "all" if fraction == 1 else f"{100 * fraction:.3g}%"


def _bare(metric: str, value: float) -> str:
    return show_score(metric, value).removesuffix("%")


def _whole(note: dict[str, str]) -> str:
    return f"{note['text']} ({note['detail']})" if note["detail"] else note["text"]


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]
