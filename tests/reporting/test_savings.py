"""Labels saved: where a curve reaches a score, and how sure that is."""

from pathlib import Path

import numpy as np
import pytest
from fake_runs import share, write_run, write_study

from dsbs.reporting.document import to_document
from dsbs.reporting.report import build_reports
from dsbs.reporting.savings import find_crossing, find_savings
from dsbs.reporting.settings import ReportSettings


def test_a_curve_is_read_at_its_first_crossing() -> None:
    shares = np.array([1 / 8, 1 / 4, 1 / 2, 1.0])
    curve = np.array([0.5, 0.7, 0.65, 0.8])
    assert find_crossing(shares, curve, 0.6) == pytest.approx(2**-2.5)
    assert find_crossing(shares, curve, 0.7) == pytest.approx(1 / 4)
    assert find_crossing(shares, curve, 0.5) == -np.inf
    assert find_crossing(shares, curve, 0.9) == np.inf


def test_labels_are_counted_with_those_to_choose_by(tmp_path: Path) -> None:
    (report,) = build_reports(write_study(tmp_path))
    ((saving,), _) = find_savings(report.conditions, report.settings)
    assert saving.reached
    assert saving.fraction is not None
    assert 1 / 16 < saving.fraction < 1
    training, total = saving.training_labels(saving.fraction), saving.all_labels(saving.fraction)
    assert training == pytest.approx(800 * saving.fraction, abs=1)
    assert total == pytest.approx(800 * saving.fraction + 80, abs=1)
    content = to_document(report)["labels_saved"][0]
    assert content["training_labels"]["fraction"] == training
    assert "with those for selection" in content["told"]


@pytest.mark.parametrize(("right", "reached", "words"), [(95, True, "at most"), (60, False, "does not reach")])
def test_what_was_run_bounds_what_can_be_said(tmp_path: Path, right: int, reached: bool, words: str) -> None:
    for seed in range(3):
        write_run(tmp_path, share(right + seed, of=200), objective="step_by_step", fraction=0.125, seed=seed)
        write_run(tmp_path, share(80 + seed, of=200), objective="finetune", seed=seed)
    (report,) = build_reports(tmp_path / "train", ReportSettings())
    (content,) = to_document(report)["labels_saved"]
    assert content["reached"] is reached
    assert words in content["told"]
    assert (content["ci_low"], content["at_most"]) == (None, reached)


@pytest.mark.parametrize(
    ("baseline", "seeds", "shown", "words"),
    [
        (60, 3, True, "of 880 with those for selection."),
        (91, 3, False, "The interval includes all of the data, so no saving is shown."),
        (60, 1, False, "A condition has a single seed, so the interval is too narrow, and nothing is shown."),
    ],
)
def test_a_saving_is_shown_only_where_its_interval_ends_before_all_of_the_data(
    tmp_path: Path, baseline: int, seeds: int, shown: bool, words: str
) -> None:
    for fraction, right in ((0.125, 40), (0.25, 75), (1.0, 92)):
        for seed in range(3):
            write_run(tmp_path, share(right + seed), objective="step_by_step", fraction=fraction, seed=seed)
    for seed in range(seeds):
        write_run(tmp_path, share(baseline + seed), objective="finetune", seed=seed)
    (report,) = build_reports(tmp_path / "train", ReportSettings())
    (content,) = to_document(report)["labels_saved"]
    assert content["reached"]
    assert content["shown"] is shown
    assert content["told"].endswith(words)


@pytest.mark.parametrize(("examples", "shown"), [(5, False), (1000, True)])
def test_answers_that_all_agree_show_a_saving_only_where_they_are_many(
    tmp_path: Path, examples: int, shown: bool
) -> None:
    for seed in range(3):
        for objective, fraction in (("step_by_step", 0.125), ("finetune", 1.0)):
            write_run(tmp_path, [True] * examples, objective=objective, fraction=fraction, seed=seed)
    (report,) = build_reports(tmp_path / "train", ReportSettings())
    (content,) = to_document(report)["labels_saved"]
    assert content["shown"] is shown
    assert ("so no saving is shown" in content["told"]) is not shown


def test_a_curve_with_a_condition_that_cannot_be_compared_is_not_dropped_in_silence(tmp_path: Path) -> None:
    for seed in range(2):
        for fraction in (0.125, 0.25):
            write_run(tmp_path, share(80), objective="step_by_step", fraction=fraction, seed=seed)
        write_run(tmp_path, share(70), seed=seed)
    (tmp_path / "train/triage/t5_scratch/step_by_step/0.25/1-aaaaaaaa/predictions.parquet").unlink()
    (report,) = build_reports(tmp_path / "train", ReportSettings())
    document = to_document(report)
    assert document["labels_saved"] == []
    (refused,) = document["refused_comparisons"]
    assert refused["candidate"].endswith("/0.25")
    assert "predictions.parquet" in refused["reason"]
