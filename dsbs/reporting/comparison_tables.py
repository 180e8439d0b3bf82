"""The comparisons on the page, formatted from ``report.json``: cards, tables, the chart of controls."""

from typing import Any

from dsbs.core.units import pluralize, show_fraction
from dsbs.inference.metrics import show_score
from dsbs.reporting.charts import draw_differences, draw_scale
from dsbs.reporting.claims import BETTER, ONE_STUDENT, SHOWN, SHOWN_WORSE, UNDECIDED, WORSE
from dsbs.reporting.comparisons import CONTROL, CONTROL_BASELINE, HEADLINE, SAME_FRACTION
from dsbs.reporting.control_verdict import LEARNED
from dsbs.reporting.tables import Marks, describe_note, name_cells
from dsbs.reporting.wording import show_control, show_interval, show_p, show_points

Item = dict[str, Any]
TITLES = {HEADLINE: "A share of the data against all of it", SAME_FRACTION: "On the same share of the data"}
TONES = {SHOWN: "good", SHOWN_WORSE: "bad", BETTER: "good", WORSE: "bad"}
PICTURE = 320  # width of a card's


def list_verdicts(document: dict[str, Any], marks: Marks) -> list[dict[str, Any]]:
    """Return the cards at the top: headlines, then the same candidates against the baseline on equal data.

    Headlines come last if all of them have a single seed on a side.
    """
    cells = {cell["id"]: cell for cell in document["cells"]}
    headlines = [item for item in document["comparisons"] if item["kind"] == HEADLINE]
    cards: list[Item] = []
    for item in headlines:
        share = show_fraction(cells[item["candidate"]]["data_fraction"])
        badge = _show_claim(item)
        card = {"title": f"Fewer labels: {share} of the data against all", "badge": badge, "text": item["claim_told"]}
        cards.append(card | _show_result(document, item, marks) | {"tone": TONES.get(item["claim"], "open")})
    if not headlines:
        cards += [_text_card("Fewer labels", text) for text in document["headline"]]
    beside: list[Item] = []
    for item in document["comparisons"]:
        if item["beside_headline"]:
            share = show_fraction(cells[item["candidate"]]["data_fraction"])
            card = {"title": f"Equal labels: both on {share} of the data", "badge": item["verdict"]}
            card |= {"text": _describe_verdict(item), "tone": TONES.get(item["verdict"], "open")}
            beside.append(card | _show_result(document, item, marks))
    weak = all(item["claim"] == ONE_STUDENT for item in headlines)
    headline_texts = {item["told"] for item in headlines}
    mixed = [_text_card("Caution", text) for text in document["headline"] if headlines and text not in headline_texts]
    return [*mixed, *beside, *cards] if weak else [*mixed, *cards, *beside]


def _text_card(title: str, text: str) -> Item:
    return {"title": title, "badge": "", "text": text, "sides": [], "caveats": []}


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
                **_describe_difference(item),
                "picture": picture,
                "claim": item["claim"],
                "tone": TONES.get(item["claim"], "open"),
                "verdict": "" if item["claim"] == ONE_STUDENT else item["verdict"],
                "p": _show_p(item),
                "paired": item["paired_by_seed"],
                "caveats": " ".join(marks[describe_note(note)] for note in item["own_notes"]),
            }
            for item, picture in zip(items, pictures, strict=True)
        ]
        if rows:
            groups.append({"title": title, "rows": rows})
    return groups


def list_controls(document: dict[str, Any], marks: Marks) -> list[dict[str, Any]]:
    """Return for each share of the data with controls its axis and rows: controls, candidates and baseline, best first.

    A row has its score, and for a control its differences from the true rationales and from the baseline.
    """
    metric, settings = document["metric"], document["settings"]
    wanted = (settings["baseline"], *settings["candidates"])
    groups = []
    for share in dict.fromkeys(cell["data_fraction"] for cell in document["cells"] if cell["control"]):
        cells = [
            cell
            for cell in document["cells"]
            if cell["data_fraction"] == share and (cell["control"] or cell["objective"] in wanted)
        ]
        cells.sort(key=lambda cell: -cell[metric])
        kinds = {(cell["student"], cell["objective"], cell["variant"]) for cell in cells if cell["control"]}
        several = len(kinds) > 1
        groups.append(
            {
                "share": show_fraction(share),
                "axis": draw_scale(cells, metric),
                "rows": [
                    {
                        "name": cell["name"] if several or not cell["control"] else show_control(cell["control"]),
                        "learned": _describe_learned(cell),
                        "control": bool(cell["control"]),
                        "score": show_score(metric, cell[metric]),
                        "interval": show_interval(metric, cell["ci_low"], cell["ci_high"]),
                        "cell": cell,
                        "true": _list_differences(document, CONTROL, cell["id"]),
                        "baseline": _list_differences(document, CONTROL_BASELINE, cell["id"]),
                        "caveats": " ".join(marks[note["text"]] for note in cell["notes"]),
                    }
                    for cell in cells
                ],
            }
        )
    return groups


def _describe_learned(cell: Item) -> str:
    """Return what a condition learns besides the label; empty where that is unknown or nothing."""
    if not cell["control"]:
        return "the true rationales" if cell["teacher"] else ""
    return LEARNED.get(cell["control"].partition("(")[0], "")


def _list_differences(document: dict[str, Any], kind: str, control: str) -> list[dict[str, str]]:
    """Return a control's comparisons of a kind; they name the other side where there are several."""
    mine, other = ("baseline", "candidate") if kind == CONTROL else ("candidate", "baseline")
    found = [item for item in document["comparisons"] if item["kind"] == kind and item[mine] == control]
    names = name_cells(document)
    return [
        {
            **_describe_difference(item),
            "name": names[item[other]] if len(found) > 1 else "",
            "verdict": item["verdict"],
            "tone": TONES.get(item["verdict"], "open"),
            "mark": " ‡" if item["paired_by_seed"] else "",
        }
        for item in found
    ]


def _show_result(document: dict[str, Any], item: Item, marks: Marks) -> dict[str, Any]:
    """Return the difference of a card, the scores of its two sides, and its caveats with their letters."""
    cells = {cell["id"]: cell for cell in document["cells"]}
    (picture,) = draw_differences([item], width=PICTURE, margin=item["margin"])
    sides = [cells[item["candidate"]], cells[item["baseline"]]]
    noted: dict[str, list[str]] = {}
    for side in sides:
        for note in side["notes"]:
            noted.setdefault(note["text"], []).append(side["name"])
    caveats = [
        (marks[text], f"{text.partition(':')[0]} ({', '.join(dict.fromkeys(names))})") for text, names in noted.items()
    ]
    caveats += [(marks[describe_note(note)], describe_note(note)) for note in item["own_notes"]]
    difference = _describe_difference(item)
    return {
        "picture": picture,
        "margin": f"-{100 * item['margin']:g}",
        "interval": f"95% interval {difference['interval']}",
        "points": difference["points"],
        "sides": [_describe_score(side, document["metric"]) for side in sides],
        "caveats": caveats,
    }


def _describe_score(cell: Item, metric: str) -> tuple[str, str]:
    """Return a side of a card as (name, score): ``step_by_step on 1/8 (600 labels, 3 seeds)``."""
    seeds = pluralize(len(cell["seeds"]), "seed")
    labels = "" if cell["labels_training"] is None else f"{cell['labels_training']:,.0f} training labels, "
    return f"{cell['name']} on {show_fraction(cell['data_fraction'])} ({labels}{seeds})", show_score(
        metric, cell[metric]
    )


def _show_claim(item: Item) -> str:
    """Return the claim of a headline for its badge."""
    points = show_points(item["margin"])
    if item["claim"] == SHOWN_WORSE:
        return f"shown to be worse by more than {points}"
    return f"at most {points} worse: {item['claim']}"


def _describe_verdict(item: Item) -> str:
    """Return the two-sided verdict in a sentence."""
    if item["verdict"] == ONE_STUDENT:
        return str(item["claim_told"])
    verdict = {BETTER: "It is better", WORSE: "It is worse", UNDECIDED: "No difference is shown"}[item["verdict"]]
    return f"{verdict} (two-sided p {show_p(item['p_adjusted'])})."


def _show_p(item: Item) -> str:
    """Return a p-value for the table; none where it is about one student."""
    return "" if item["verdict"] == ONE_STUDENT else show_p(item["p_adjusted"]).removeprefix("= ")


def _describe_difference(item: Item) -> dict[str, str]:
    low, high = item["ci_low_adjusted"], item["ci_high_adjusted"]
    return {"points": f"{100 * item['difference']:+.1f}", "interval": f"{100 * low:+.1f} to {100 * high:+.1f}"}
