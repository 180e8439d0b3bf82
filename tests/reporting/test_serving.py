"""The report says how fast exported students are, and what the teacher would cost for the same answers."""

import json
from pathlib import Path

import pytest
from fake_runs import write_study

from dsbs.reporting.document import to_document
from dsbs.reporting.page import build_page
from dsbs.reporting.report import build_reports
from dsbs.reporting.samples import build_samples

SPEED = {
    "threads": 2,
    "checkpoint": {"single_ms_p50": 90.0, "per_second": 20.0},
    "export": {"single_ms_p50": 6.0, "per_second": 300.0},
}


def write_exports(root: Path, **changes: object) -> None:
    for run in {path.parent for path in root.rglob("metrics.json")}:
        folder = run / "exports" / "ctranslate2-int8"
        folder.mkdir(parents=True)
        record = {"format": "ctranslate2", "quantization": "int8", "speed": SPEED} | changes
        (folder / "export.json").write_text(json.dumps(record))


def test_a_row_for_each_student_and_form(tmp_path: Path) -> None:
    runs = write_study(tmp_path, fractions=(0.125, 1.0), seeds=2)
    write_exports(runs)
    summary = tmp_path / "rationales/triage/handbook-12345678/summary.json"
    told = json.loads(summary.read_text())
    for split in told["splits"].values():
        split["completions"] = 5000
    summary.write_text(json.dumps(told))
    (report,) = build_reports(runs)
    document = to_document(report)
    rows = {(row["objective"], row["form"]): row for row in document["serving"]}
    forms = ("checkpoint", "ctranslate2 int8")
    assert set(rows) == {(method, form) for method in ("finetune", "step_by_step") for form in forms}
    row = rows["step_by_step", "ctranslate2 int8"]
    assert (row["milliseconds"], row["per_second_and_core"]) == (6.0, 150.0)
    assert row["teacher_usd_per_million"] == pytest.approx(1e6 * 2.5 / 10_000)
    assert row["break_even_requests"] == 10_000
    page = build_page(document, build_samples(report))
    assert "ctranslate2 int8" in page
    assert "$250.00" in page


def test_runs_are_counted_however_many_exports_each_has(tmp_path: Path) -> None:
    runs = write_study(tmp_path, fractions=(1.0,), seeds=2)
    write_exports(runs)
    for path in list(runs.rglob("exports")):
        record = json.loads((path / "ctranslate2-int8/export.json").read_text()) | {"quantization": "float32"}
        (path / "ctranslate2-float32").mkdir()
        (path / "ctranslate2-float32/export.json").write_text(json.dumps(record))
    (report,) = build_reports(runs)
    rows = {row["form"]: row for row in to_document(report)["serving"] if row["objective"] == "finetune"}
    assert {form: row["runs"] for form, row in rows.items()} == {
        "checkpoint": 2, "ctranslate2 float32": 2, "ctranslate2 int8": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    "changes",
    [{"refused": "too few agree"}, {"speed": None}, {"speed": SPEED | {"threads": 0}}, {"speed": {"export": 3}}],
)
def test_what_was_refused_or_is_broken_has_no_row(tmp_path: Path, changes: dict) -> None:
    runs = write_study(tmp_path, fractions=(1.0,), seeds=1)
    write_exports(runs, **changes)
    (report,) = build_reports(runs)
    assert to_document(report)["serving"] == []
