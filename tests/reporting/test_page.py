"""The page as a reader sees it: opened in a headless Chromium where the machine has one."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from fake_runs import score_by, write_run, write_study

from dsbs.reporting.charts import (
    choose_score_ticks,
    choose_ticks,
    draw_curve,
    draw_differences,
    draw_history,
    label_ticks,
)
from dsbs.reporting.document import to_document
from dsbs.reporting.page import build_page
from dsbs.reporting.report import build_reports
from dsbs.reporting.samples import build_samples
from dsbs.reporting.writing import write_report


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of a whole study."""
    root = tmp_path_factory.mktemp("study")
    (report,) = build_reports(write_study(root, fractions=(0.125, 0.5, 1.0)))
    write_report(report, root / "report")
    return root


def open_page(browser: Any, study: Path, width: int, scheme: str) -> Any:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.set_default_timeout(120_000)  # a machine that is busy with other tests takes its time
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda said: page.faults.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: page.faults.append(request.url) if "file://" not in request.url else None)
    page.goto((study / "report/index.html").as_uri())
    return page


@pytest.mark.parametrize(("width", "scheme"), [(420, "dark"), (1280, "light")])
def test_the_page_fits_the_screen_and_its_colours_and_asks_for_nothing(
    browser: Any, study: Path, width: int, scheme: str
) -> None:
    page = open_page(browser, study, width, scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    lightness = sum(map(int, re.findall(r"\d+", background)[:3])) / 3
    assert (lightness > 200) == (scheme == "light")
    assert page.locator("svg.wide").is_visible() == (width > 640)
    assert page.locator("svg.narrow").is_visible() == (width <= 640)
    # No table is wider than the page, and no row fills a screen.
    inside = (
        "[...document.querySelectorAll('table.cards')].every((one) => one.offsetWidth <= one.parentElement.clientWidth)"
    )
    assert page.evaluate(inside)
    assert page.evaluate("Math.max(...[...document.querySelectorAll('tr')].map((row) => row.offsetHeight))") < 300
    page.screenshot(path=study / f"page-{width}-{scheme}.png", full_page=True)
    assert page.faults == []
    page.close()


def test_points_tell_their_figures_and_the_examples_are_filtered(browser: Any, study: Path) -> None:
    page = open_page(browser, study, 1280, "light")
    point = page.locator("svg.wide .series .point").first
    point.hover()
    tip = page.locator("#tip")
    assert tip.is_visible()
    assert re.search(r"on 1/8 of the data: \d+\.\d% \(95% interval .* seeds ", tip.text_content())
    page.keyboard.press("Escape")
    assert not tip.is_visible()
    point.focus()
    assert tip.is_visible()

    examples, counted = page.locator("#examples article"), page.locator("#counted")
    differing = int(counted.text_content().split()[0])  # what is shown first
    assert 0 < differing < 200
    page.locator("#filter").select_option("all")
    assert "200 of 200" in counted.text_content()
    assert examples.count() == 10
    assert "my kettle came cracked & <i>late</i>." in examples.first.text_content()  # as text, not as markup
    assert examples.first.locator("i").count() == 0
    assert "The teacher says why" in examples.first.text_content()
    assert "The student's reason" in examples.first.text_content()
    page.locator("#more").click()
    assert examples.count() == 20
    page.locator("#filter").select_option("right")
    assert 0 < int(counted.text_content().split()[0]) < differing
    page.locator("#filter").select_option("all")
    page.locator("#words").fill("MESSAGE 17:")
    assert counted.text_content().startswith("1 of")
    page.locator("#left").select_option(index=2)
    assert page.locator("#left option").nth(2).text_content() in examples.first.text_content()
    assert page.faults == []
    page.close()


def test_on_paper_everything_is_open_and_black_on_white(browser: Any, study: Path) -> None:
    page = open_page(browser, study, 1280, "dark")
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("[...document.querySelectorAll('details')].every((one) => one.open)")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    warning = page.evaluate("getComputedStyle(document.querySelector('.warning')).backgroundColor")
    assert min(map(int, re.findall(r"\d+", warning)[:3])) > 200  # the light colours, whatever the screen has
    assert not page.locator("#filter").is_visible()
    page.set_viewport_size({"width": 718, "height": 900})  # A4 between its margins
    assert page.evaluate("document.documentElement.scrollWidth") <= 718
    assert len(page.pdf()) > 10_000
    page.close()


def test_the_page_tells_all_that_the_study_holds(study: Path) -> None:
    page = (study / "report/index.html").read_text()
    for title in (
        "Fewer labels: 1/8 of the data against all",
        "Equal labels: both on 1/8 of the data",
        "Labels saved",
        "Controls: does the content of the rationales matter?",
        "Classes and confusions",
        "Calibration",
        "Learning curves",
        "Test examples side by side",
        "Effort and cost",
        "Provenance",
    ):
        assert title in page, title
    assert page.count("Perhaps not converged") == 1  # once, and marked where it applies
    assert page.count("macro average") > 1
    assert "$2.50" in page
    assert "1.7 MB" in page


def test_examples_that_differ_come_first_where_there_are_too_many(study: Path) -> None:
    (report,) = build_reports(study / "train")
    samples = build_samples(report, limit=20)
    assert (samples["total"], len(samples["examples"])) == (200, 20)
    first, second = (next(cell for cell in report.conditions if cell.id == id) for id in samples["conditions"][:2])
    gaps = abs(first.scores().mean(axis=0) - second.scores().mean(axis=0))
    shown = {example["id"] for example in samples["examples"]}
    assert first.runs[0].answers is not None
    by_id = dict(zip(first.runs[0].answers.ids, gaps, strict=True))
    assert min(by_id[id] for id in shown) >= max(gap for id, gap in by_id.items() if id not in shown)


def test_the_curve_of_a_single_share_is_drawn_too(study: Path) -> None:
    (report,) = build_reports(study / "train")
    document = to_document(report)
    document["cells"] = [cell for cell in document["cells"] if cell["data_fraction"] == 1]
    curve = draw_curve(document, 400, 300)
    places = [point["x"] for line in curve["lines"] for point in line["points"]]
    assert all(0 < place < 400 for place in places)


def test_ticks_span_what_they_are_for() -> None:
    for low, high in ((0.0, 1.0), (0.5, 0.5), (0.97, 0.991), (-3, 400)):
        ticks = choose_ticks(low, high)
        assert ticks[0] <= low + 1e-9
        assert ticks[-1] >= high - 1e-9
        assert len(ticks) <= 12


@pytest.mark.parametrize("score", [0.0, 0.9, 1.0])
def test_a_course_of_one_point_is_a_point_within_an_axis_of_its_own(score: float) -> None:
    runs = [{"seed": 0, "validation": [(100, score)], "loss": [(100, score)]}]
    for series in ("validation", "loss"):
        chart = draw_history(runs, "accuracy", series)
        texts = [tick["text"] for tick in chart["y_ticks"]]
        assert len(set(texts)) == len(texts) > 1
        assert 0 < chart["lines"][0]["alone"][1] < chart["height"]
        if series == "validation":
            assert all(0 <= float(text.removesuffix("%")) <= 100 for text in texts)


def test_neighbouring_numbers_of_an_axis_differ_and_have_the_room_they_take() -> None:
    for metric, low, high in (("accuracy", 0.9993, 1.0), ("accuracy", 0.2, 0.4), ("mine", -20_000, -12_000)):
        texts = label_ticks(metric, choose_score_ticks(metric, low, high))
        assert len(set(texts)) == len(texts) > 1
    cells = [{"ci_low_adjusted": low, "ci_high_adjusted": low + 5, "difference": low + 2} for low in (3.0, 900.0)]
    first, second = draw_differences(cells)
    assert first["x"] < second["x"]  # of a metric in the hundreds: in proportion, not both at the edge


def test_the_docs_name_every_key_and_the_line_for_a_paper_works(study: Path) -> None:
    docs = (Path(__file__).parents[2] / "docs/files.md").read_text()
    report = json.loads((study / "report/report.json").read_text())
    keys = {*report, *report["cells"][0], *report["comparisons"][0], *report["labels_saved"][0], *report["provenance"]}
    metrics = json.loads(next((study / "train").rglob("metrics.json")).read_text())
    lacking = sorted(key for key in keys | metrics.keys() if f"`{key}`" not in docs)
    assert not lacking
    pandas = pytest.importorskip("pandas")
    lines = docs[docs.index("table = ") : docs.index("print(table")]
    found: dict[str, Any] = {"cells": pandas.DataFrame(report["cells"])}
    exec(lines, found)
    assert found["table"].shape == (4, 3)


def test_the_pages_viewer_shows_scores_where_answers_are_not_right_or_wrong(tmp_path: Path) -> None:
    for objective, level in (("finetune", 0.3), ("step_by_step", 0.5)):
        score_by("rouge_l", [level] * 20, write_run(tmp_path, [False] * 20, objective=objective))
    (report,) = build_reports(tmp_path / "train")
    samples = build_samples(report)
    assert sorted(answer["score"] for answer in samples["examples"][0]["answers"]) == [0.3, 0.5]
    page = build_page(to_document(report), samples)
    assert "where scores differ by 0.1 or more" in page
    assert "right alone is right" not in page
    assert '"metric": "rouge_l"' in page
