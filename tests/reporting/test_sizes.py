"""Students of growing size against their teacher."""

import json
import os
from pathlib import Path

from fake_runs import share, write_run
from rich.console import Console

from dsbs.reporting.charts import draw_sizes
from dsbs.reporting.document import to_document
from dsbs.reporting.report import Report, build_reports
from dsbs.reporting.terminal import show_report
from dsbs.reporting.writing import write_report


def build(root: Path, *sizes: tuple[str, int, int], teacher: float | None = 0.8) -> Report:
    for student, parameters, right in sizes:
        for seed in range(3):
            answers = share(5 * right + seed, of=500)
            metrics = {"student": student, "parameters": parameters}
            write_run(root, answers, objective="step_by_step", fraction=0.125, seed=seed, suffix=student, **metrics)
    folder = root / "rationales/triage/handbook-12345678"
    folder.mkdir(parents=True)
    split = {} if teacher is None else {"test": {"teacher_accuracy": teacher}}
    (folder / "summary.json").write_text(json.dumps({"splits": split}))
    (report,) = build_reports(root / "train")
    return report


def test_the_smallest_student_that_beats_its_teacher_is_named(tmp_path: Path) -> None:
    report = build(tmp_path, ("large", 4_000_000, 95), ("tiny", 100_000, 60), ("small", 400_000, 81))
    document = to_document(report)
    (series,) = document["sizes"]
    assert [id.split("/")[0] for id in series["cells"]] == ["tiny", "small", "large"]
    assert series["smallest_that_reaches"].startswith("small/")
    assert series["smallest_that_beats"].startswith("large/")
    assert (
        "teacher handbook reaches 80.0% on test. The smallest student that reaches it is step_by_step (small)"
        in (series["told"])
    )
    chart = draw_sizes(document, 760, 340)
    assert [tick["text"] for tick in chart["x_ticks"]] == ["0.1M", "0.4M", "4M"]
    assert len(chart["teachers"]) == 1
    paths = write_report(report, tmp_path / "report")
    assert series["told"] in (tmp_path / "report/index.html").read_text()
    console = Console(width=100, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    show_report(report, paths, console)
    assert "step_by_step on 1/8 of the data: the teacher handbook" in console.export_text()


def test_no_student_reaches_a_perfect_teacher_and_an_unknown_one_is_said_to_be_so(tmp_path: Path) -> None:
    sizes = (("tiny", 100_000, 60), ("small", 400_000, 81))
    for name, level, says in (("known", 1.0, "No student reaches that."), ("unknown", None, "is not known")):
        (tmp_path / name).mkdir()
        (series,) = to_document(build(tmp_path / name, *sizes, teacher=level))["sizes"]
        assert says in series["told"]


def test_series_of_one_method_are_told_apart_by_what_differs(tmp_path: Path) -> None:
    for alpha in (0.2, 0.5):
        for student, parameters in (("tiny", 100_000), ("small", 400_000)):
            metrics = {"student": student, "parameters": parameters, "config": {"objective.alpha": alpha}}
            write_run(tmp_path, share(80), objective="step_by_step", suffix=f"{student}{alpha}", **metrics)
    (report,) = build_reports(tmp_path / "train")
    names = [series["name"] for series in to_document(report)["sizes"]]
    assert names == [f"step_by_step (alpha={alpha}) on all of the data" for alpha in (0.2, 0.5)]


def test_students_of_one_size_are_no_series(tmp_path: Path) -> None:
    assert to_document(build(tmp_path, ("one", 100, 60), ("other", 100, 70)))["sizes"] == []
