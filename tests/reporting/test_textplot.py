"""The curve in a terminal: a letter at each mean, its interval around it, labels below."""

from pathlib import Path

from fake_runs import score_by, share, write_run

from dsbs.reporting.report import build_reports
from dsbs.reporting.textplot import draw_text


def test_each_method_has_a_letter_at_its_score(tmp_path: Path) -> None:
    for seed in range(2):
        for objective, fraction, right in (("finetune", 1.0, 90), ("finetune", 0.125, 30), ("step_by_step", 0.125, 90)):
            write_run(tmp_path, share(right, first=seed), objective=objective, fraction=fraction, seed=seed)
    write_run(tmp_path, share(40), objective="step_by_step", fraction=0.125, suffix="c", control="shuffled")
    (report,) = build_reports(tmp_path / "train")
    assert len(report.conditions) == 4
    lines = draw_text(report.conditions)  # without the control
    assert max(map(len, lines)) <= 70
    field = lines[:14]
    rows = [{letter: line.index(letter) for letter in "AB" if letter in line[8:]} for line in field]
    high, low = next(row for row in rows if row), next(row for row in reversed(rows) if row)
    assert high.keys() == {"A", "B"}  # both at 90%, on all and on an eighth
    assert high["B"] < high["A"]
    assert low.keys() == {"A"}
    assert abs(low["A"] - high["B"]) <= 4  # beside each other on 1/8
    assert lines[15].split() == ["1/8", "all"]
    assert lines[16].split() == ["100", "labels", "800", "labels"]
    assert [line.split() for line in lines[17:]] == [["A", "finetune"], ["B", "step_by_step"]]
    assert sum("|" in line[8:] for line in field) > 2  # intervals


def test_long_numbers_of_the_axis_are_whole(tmp_path: Path) -> None:
    for fraction, level in ((1.0, -20_000.0), (0.125, -9_000.0)):
        run = write_run(tmp_path, share(50), fraction=fraction)
        score_by("mine:score", [level + index for index in range(100)], run)
    (report,) = build_reports(tmp_path / "train")
    lines = draw_text(report.conditions)
    assert [line.partition("|")[0].strip() for line in lines[:14] if line.split("|")[0].strip()] == [
        "-5,000", "-10,000", "-15,000", "-20,000",
    ]  # fmt: skip
    assert max(map(len, lines)) <= 70


def test_one_condition_is_no_curve(tmp_path: Path) -> None:
    write_run(tmp_path, share(90))
    (report,) = build_reports(tmp_path / "train")
    assert draw_text(report.conditions) == []
