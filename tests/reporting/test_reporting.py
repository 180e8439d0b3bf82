"""What a report says about runs, and what it says about runs that do not count."""

import html
import json
import os
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fake_runs import share, write_failure, write_run
from rich.console import Console

from dsbs.core.errors import DataError
from dsbs.reporting import Report, build_reports, show_report, write_report


def build(root: Path) -> Report:
    (report,) = build_reports(root / "train")
    return report


def write_headline(
    root: Path, eighth: tuple[int, ...] = (92, 93, 91), everything: tuple[int, ...] = (80, 81, 79)
) -> None:
    """Write step by step on 1/8 and fine-tuning on everything and on 1/8, with so many right answers of 100."""
    for seed, right in enumerate(eighth):
        write_run(root, share(right, first=seed), objective="step_by_step", fraction=0.125, seed=seed)
    for seed, right in enumerate(everything):
        write_run(root, share(right, first=seed), objective="finetune", fraction=1.0, seed=seed)
        write_run(root, share(right - 30, first=seed), objective="finetune", fraction=0.125, seed=seed)


def test_runs_that_differ_in_their_seed_alone_make_a_cell(tmp_path: Path) -> None:
    write_headline(tmp_path)
    cells = {cell.id: cell for cell in build(tmp_path).cells}
    assert set(cells) == {
        "t5_scratch/finetune/gold/0.125",
        "t5_scratch/finetune/gold/1",
        "t5_scratch/step_by_step/gold/handbook/0.125",
    }
    cell = cells["t5_scratch/step_by_step/gold/handbook/0.125"]
    assert cell.seeds == [0, 1, 2]
    assert cell.per_seed == [0.92, 0.93, 0.91]
    assert cell.estimate.mean == pytest.approx(0.92)


def test_the_headline_holds_least_data_step_by_step_against_fine_tuning_on_everything(tmp_path: Path) -> None:
    write_headline(tmp_path)
    report = build(tmp_path)
    first, second = report.comparisons
    assert (first.kind, first.candidate.data_fraction, first.baseline.data_fraction) == ("headline", 0.125, 1.0)
    assert first.result is not None
    assert first.result.difference == pytest.approx(0.12)
    assert first.holds
    assert first.verdict == "better"
    assert (second.kind, second.baseline.id) == ("same fraction", "t5_scratch/finetune/gold/0.125")
    (headline,) = report.headlines
    assert "92.0% (3 seeds)" in headline
    assert "80.0% (3 seeds)" in headline
    assert "+12.0 points" in headline
    assert "holds here" in headline


def test_a_claim_that_does_not_hold_is_told_as_such(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(70, 71, 69))
    report = build(tmp_path)
    assert not report.comparisons[0].holds
    assert report.comparisons[0].verdict == "worse"
    assert "does not hold here; the loss is beyond what chance explains" in report.headlines[0]


def test_a_claim_that_holds_by_a_hair_is_not_called_better(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(80, 82), everything=(80, 81))
    report = build(tmp_path)
    assert report.comparisons[0].holds
    assert report.comparisons[0].verdict == "no difference shown"
    assert "holds here; these runs cannot tell the two apart" in report.headlines[0]


def test_equal_means_hold_the_claim(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(70, 90), everything=(90, 70))
    assert build(tmp_path).comparisons[0].holds


def test_what_is_missing_for_the_headline_comes_with_the_command(tmp_path: Path) -> None:
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0)
    (headline,) = build(tmp_path).headlines
    assert "`python -m dsbs.train task=triage objective=step_by_step data_fraction=1/8`" in headline
    assert "objective=finetune" not in headline


def test_a_swept_setting_makes_variants_and_a_place_does_not(tmp_path: Path) -> None:
    for index, alpha in enumerate((0.2, 0.5)):
        config = {"objective.alpha": alpha, "output_dir": f"elsewhere{index}", "training.threads": index + 1}
        write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125, suffix=f"{index}", config=config)
    write_run(tmp_path, share(95), objective="step_by_step", fraction=0.25, config={"objective.alpha": 0.2})
    cells = build(tmp_path).cells
    assert [(cell.variant_text, cell.data_fraction) for cell in cells] == [
        ("alpha=0.2", 0.125),
        ("alpha=0.2", 0.25),
        ("alpha=0.5", 0.125),
    ]


def test_steps_that_follow_the_share_of_the_data_make_no_variant_but_a_note(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125, config={"training.max_steps": 50})
    write_run(tmp_path, share(90), objective="step_by_step", fraction=1.0, config={"training.max_steps": 80})
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0, config={"training.max_steps": 80})
    report = build(tmp_path)
    assert {cell.variant_text for cell in report.cells} == {""}
    assert "training differs: max_steps 50 against 80" in report.comparisons[0].notes
    assert not any("training differs" in note for note in report.comparisons[1].notes)


def test_variants_that_share_a_setting_are_compared_at_its_equal_value(tmp_path: Path) -> None:
    for steps in (50, 100):
        for objective in ("finetune", "step_by_step"):
            config = {"training.max_steps": steps}
            write_run(tmp_path, share(steps), objective=objective, suffix=str(steps), config=config)
    pairs = [(item.candidate.variant_text, item.baseline.variant_text) for item in build(tmp_path).comparisons]
    assert sorted(pairs) == [("max_steps=100", "max_steps=100"), ("max_steps=50", "max_steps=50")]


def test_several_comparisons_are_adjusted_and_a_single_headline_is_not(tmp_path: Path) -> None:
    write_headline(tmp_path)
    write_run(tmp_path, share(52), objective="rationale_then_label", fraction=0.125)
    headline, *others = build(tmp_path).comparisons
    assert headline.result is not None
    assert headline.p_adjusted == headline.result.p_value
    assert len(others) == 2
    smaller = min(others, key=lambda item: item.result.p_value if item.result else 1)
    assert smaller.result is not None
    assert smaller.p_adjusted == pytest.approx(2 * smaller.result.p_value)


def test_different_test_sets_are_never_compared(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125)
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0, gold="another answer")
    report = build(tmp_path)
    assert report.comparisons[0].result is None
    assert "tested on different examples" in report.headlines[0]
    content = report.to_json()
    assert content["comparisons"] == []
    assert content["refused_comparisons"][0]["reason"] == "they were tested on different examples"


def test_predictions_that_contradict_the_metrics_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125)
    write_run(tmp_path, share(80), objective="finetune", test={"accuracy": 0.99, "examples": 100})
    (tmp_path / "train/triage/t5_scratch/step_by_step/0.125/0-aaaaaaaa/predictions.parquet").write_text("broken")
    report = build(tmp_path)
    assert report.comparisons[0].refusal is not None
    assert "predictions.parquet cannot be read" in report.comparisons[0].refusal
    assert report.cells[0].fault == ("seed 0: predictions.parquet and metrics.json do not agree on the test accuracy")


def test_a_run_whose_best_checkpoint_is_its_last_is_flagged(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125)
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0, best_step=100)
    report = build(tmp_path)
    assert "the baseline is perhaps not converged (seed 0)" in report.comparisons[0].notes
    assert [cell["perhaps_not_converged"] for cell in report.to_json()["cells"]] == [[0], []]


def test_a_single_seed_is_said_to_be_one_student(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(92,))
    notes = build(tmp_path).comparisons[0].notes
    assert "the candidate has one seed, so this is about that student and not about the method" in notes


def test_failed_and_unfinished_and_broken_runs_are_listed_with_their_reason(tmp_path: Path) -> None:
    write_headline(tmp_path)
    write_failure(tmp_path, "the loss became NaN at step 12")
    write_failure(tmp_path, None, name="8-dddddddd")
    broken = write_run(tmp_path, share(50), seed=7)
    (broken / "metrics.json").write_text("{")
    lacking = write_run(tmp_path, share(50), seed=6)
    (lacking / "metrics.json").write_text("{}")
    left_out = {run.folder.name[0]: run for run in build(tmp_path).left_out}
    assert left_out["9"].reason == "failed: the loss became NaN at step 12"
    assert left_out["9"].command == "python -m dsbs.train seed=9"
    assert left_out["8"].reason.startswith("not finished")
    assert "metrics.json is broken" in left_out["7"].reason
    assert "metrics.json lacks task" in left_out["6"].reason


def test_a_repeated_seed_counts_once_and_the_other_is_listed(tmp_path: Path) -> None:
    old = write_run(tmp_path, share(50), suffix="old")
    new = write_run(tmp_path, share(60), suffix="new")
    os.utime(old / "metrics.json", (1, 1))
    report = build(tmp_path)
    assert report.cells[0].per_seed == [0.6]
    assert [(run.folder, str(new) in run.reason) for run in report.left_out] == [(old, True)]


def test_the_teachers_accuracy_on_the_test_split_is_shown_where_it_is_known(tmp_path: Path) -> None:
    write_headline(tmp_path)
    assert build(tmp_path).to_json()["teacher"] == {"accuracy": None, "all": []}
    folder = tmp_path / "rationales/triage/handbook-12345678"
    folder.mkdir(parents=True)
    splits = {"train": {"teacher_accuracy": 0.97}, "test": {"teacher_accuracy": 0.96}}
    (folder / "summary.json").write_text(json.dumps({"splits": splits}))
    assert build(tmp_path).to_json()["teacher"]["accuracy"] == 0.96


def test_each_task_gets_a_report_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path, share(80))
    write_run(tmp_path, share(80), task="svamp")
    write_failure(tmp_path, "no", task="svamp")
    svamp, triage = build_reports(tmp_path / "train")
    assert (svamp.task, triage.task) == ("svamp", "triage")
    assert (len(svamp.left_out), len(triage.left_out)) == (1, 0)


def test_no_folder_no_run_and_no_finished_run_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        build_reports(tmp_path / "train")
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match="no runs here"):
        build_reports(tmp_path / "train")
    write_failure(tmp_path, "disk full")
    with pytest.raises(DataError, match="none of 1 runs is finished") as caught:
        build_reports(tmp_path / "train")
    assert "disk full" in str(caught.value)


def test_the_files_hold_what_scripts_rely_on(tmp_path: Path) -> None:
    write_headline(tmp_path)
    paths = write_report(build(tmp_path), tmp_path / "report")
    assert sorted(path.name for path in (tmp_path / "report").iterdir()) == sorted(path.name for path in paths)
    content = json.loads((tmp_path / "report/report.json").read_text())
    cell = {"id", "student", "objective", "labels", "teacher", "variant", "data_fraction", "seeds", "per_seed"}
    assert cell | {"accuracy", "ci_low", "ci_high"} <= content["cells"][0].keys()
    ids = {cell["id"] for cell in content["cells"]}
    for comparison in content["comparisons"]:
        assert {comparison["baseline"], comparison["candidate"]} <= ids
        assert comparison["ci_low"] <= comparison["difference"] <= comparison["ci_high"]
        assert isinstance(comparison["holds"], bool)
        assert 0 <= comparison["p_value"] <= 1
    assert (tmp_path / "report/accuracy_over_fraction.png").read_bytes().startswith(b"\x89PNG")


def test_the_page_needs_nothing_else_and_escapes_everything(tmp_path: Path) -> None:
    write_headline(tmp_path)
    write_failure(tmp_path, "<script>alert('x')</script> & more")
    write_report(build(tmp_path), tmp_path / "report")
    page = (tmp_path / "report/index.html").read_text()
    assert "<script" not in page
    assert html.escape("<script>alert('x')</script> & more") in page
    assert not re.search(r"(src|href)=['\"](?!data:)", page)
    assert "the claim holds: better" in page
    assert "scripted stand-in" in page or "is a stand-in" in page
    assert "python -m dsbs.train objective=finetune data_fraction=1.0 seed=2" in page


def test_a_real_teacher_is_not_called_a_stand_in(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125, teacher="openai")
    write_report(build(tmp_path), tmp_path / "report")
    assert "stand-in" not in (tmp_path / "report/index.html").read_text()


def test_the_terminal_shows_table_headline_and_places_in_80_columns(tmp_path: Path) -> None:
    write_headline(tmp_path)
    write_failure(tmp_path, "no")
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    show_report(build(tmp_path), [Path("outputs/report/triage/index.html")], console)
    text = console.export_text()
    assert all(len(line) <= 80 for line in text.splitlines())
    assert "92.0%" in text
    assert "holds here" in text
    assert "1 run does not count" in text
    assert "scripted stand-in" in text
    assert text.rstrip().endswith("outputs/report/triage/index.html")


def test_a_method_that_only_guesses_is_called_so(tmp_path: Path) -> None:
    always_yes = [index % 2 == 0 for index in range(40)]
    for objective, fraction in (("finetune", 1.0), ("step_by_step", 0.125)):
        folder = write_run(tmp_path, always_yes, objective=objective, fraction=fraction)
        table = pq.read_table(folder / "predictions.parquet").to_pydict()
        table["gold"] = ["yes" if right else "no" for right in always_yes]
        pq.write_table(pa.table(table), folder / "predictions.parquet")
    notes = build(tmp_path).comparisons[0].notes
    for role in ("candidate", "baseline"):
        assert any(note.startswith(f"the {role} is hardly better than always giving the most") for note in notes), notes


@pytest.mark.parametrize("seeds", [1, 2])
@pytest.mark.parametrize("right", [0, 1221])
def test_a_student_that_is_always_or_never_right_gets_its_report(tmp_path: Path, right: int, seeds: int) -> None:
    for seed in range(seeds):
        write_run(tmp_path, share(right, of=1221), objective="step_by_step", fraction=0.125, seed=seed)
        write_run(tmp_path, share(1221 - right, of=1221), seed=seed)
    write_report(build(tmp_path), tmp_path / "report")
    for cell in json.loads((tmp_path / "report/report.json").read_text())["cells"]:
        assert 0 <= cell["ci_low"] <= cell["accuracy"] <= cell["ci_high"] <= 1
    assert (tmp_path / "report/index.html").exists()


def test_figures_are_written_even_where_the_plot_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_headline(tmp_path)
    monkeypatch.setattr("dsbs.reporting.figure.draw_accuracy", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(build(tmp_path), tmp_path / "report")
    assert (tmp_path / "report/report.json").exists()
