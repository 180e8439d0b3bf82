"""What a report says about runs, and what it says about runs that do not count."""

import json
import os
import re
from pathlib import Path

import pytest
from fake_runs import edit_answers, edit_json, score_by, share, write_failure, write_run
from rich.console import Console

from dsbs.core.errors import DataError
from dsbs.reporting.comparison_tables import list_controls, list_verdicts
from dsbs.reporting.document import to_document
from dsbs.reporting.notes import CHOSEN, all_notes, note_condition
from dsbs.reporting.provenance import trace_runs
from dsbs.reporting.reading import read_runs
from dsbs.reporting.report import Report, build_reports
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.tables import collect_caveats, list_conditions, list_facts
from dsbs.reporting.terminal import describe_equal_labels, list_caveats, show_report
from dsbs.reporting.wording import show_control
from dsbs.reporting.writing import write_report


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


def test_runs_that_differ_in_their_seed_alone_make_a_condition(tmp_path: Path) -> None:
    write_headline(tmp_path)
    cells = {cell.id: cell for cell in build(tmp_path).conditions}
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
    assert (first.claim, first.verdict) == ("shown", "better")
    assert (second.kind, second.baseline.id) == ("same fraction", "t5_scratch/finetune/gold/0.125")
    (headline,) = report.headlines
    assert "92.0% (3 seeds)" in headline
    assert "80.0% (3 seeds)" in headline
    assert "+12.0 points" in headline
    assert "Non-inferiority (at most 2 points worse) is shown" in headline
    assert "it is better, too" in headline


def test_a_claim_that_does_not_hold_is_told_as_such(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(70, 71, 69))
    report = build(tmp_path)
    assert not report.comparisons[0].holds
    assert (report.comparisons[0].claim, report.comparisons[0].verdict) == ("shown worse", "worse")
    assert "It is shown to be worse by more than 2 points" in report.headlines[0]


def test_a_mean_that_is_higher_shows_nothing_by_itself(tmp_path: Path) -> None:
    """Without any difference the mean is higher half of the time."""
    write_headline(tmp_path, eighth=(80, 85), everything=(78, 82))
    report = build(tmp_path)
    (comparison, *_) = to_document(report)["comparisons"]
    assert comparison["mean_at_least"]
    assert not comparison["holds"]
    assert (comparison["claim"], comparison["verdict"]) == ("not shown", "no difference shown")
    assert "is not shown" in report.headlines[0]
    assert re.search(r"about \d+ seeds on either side would show it|test examples are needed", report.headlines[0])


def test_the_margin_is_declared_and_decides(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(79, 80, 78))
    for margin, holds in ((2.0, False), (20.0, True)):
        (report,) = build_reports(tmp_path / "train", ReportSettings(margin=margin))
        (comparison, *_) = to_document(report)["comparisons"]
        assert comparison["holds"] is holds
        assert comparison["margin"] == margin / 100


def test_baseline_and_candidates_are_settings(tmp_path: Path) -> None:
    for objective, right in (("mine", 80), ("step_by_step", 60), ("finetune", 70)):
        for fraction in (0.125, 0.5, 1.0):
            write_run(tmp_path, share(right), objective=objective, fraction=fraction)
    settings = ReportSettings(baseline="step_by_step", candidates=["mine", "finetune"], fraction="1/2")
    (report,) = build_reports(tmp_path / "train", settings)
    headlines = [item for item in report.comparisons if item.kind == "headline"]
    sides = [(item.candidate.objective, item.candidate.data_fraction, item.baseline.objective) for item in headlines]
    assert sides == [("mine", 0.5, "step_by_step"), ("finetune", 0.5, "step_by_step")]
    assert all(item.baseline.data_fraction == 1 for item in headlines)
    assert ReportSettings(margin=0, candidates=["finetune"], fraction="2").faults()[0].startswith("margin=0")
    assert len(ReportSettings(margin=0, candidates=["finetune"], fraction="2").faults()) == 3


def test_what_is_missing_for_the_headline_comes_with_the_command(tmp_path: Path) -> None:
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0)
    (headline,) = build(tmp_path).headlines
    assert "`python -m dsbs.train task=triage objective=step_by_step data_fraction=1/8`" in headline
    assert "objective=finetune" not in headline


def test_the_missing_command_has_the_seeds_of_the_runs_and_no_search(tmp_path: Path) -> None:
    """A single seed would say nothing; `search=optuna` would be refused without -m, and would search with it."""
    for seed in (0, 1, 4):
        command = f"python -m dsbs.train training.learning_rate=0.002 search=optuna_rate objective=finetune seed={seed}"
        write_run(tmp_path, share(80 + seed), objective="finetune", seed=seed, manifest={"command": command})
    (headline,) = build(tmp_path).headlines
    wanted = "-m task=triage training.learning_rate=0.002 objective=step_by_step data_fraction=1/8 seed=0,1,4"
    assert f"`python -m dsbs.train {wanted}`" in headline


def test_no_rationales_are_suggested_where_the_whole_text_is_the_answer(tmp_path: Path) -> None:
    config = {"prompt.answer_format": "whole", "student.kind": "t5_scratch"}
    write_run(tmp_path, share(80), objective="respond", config=config)
    (headline,) = build(tmp_path).headlines
    assert "t5_scratch cannot be trained with step_by_step on answers without rationales (prompt=whole)" in headline
    assert "Missing" not in headline


def test_what_the_student_refuses_is_not_suggested(tmp_path: Path) -> None:
    logreg = {"student.kind": "logreg", "student.name": "logreg"}
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0, config=logreg, student="logreg")
    (headline,) = build(tmp_path).headlines
    assert "logreg cannot be trained with step_by_step. candidates=[...] names others." in headline
    assert "Missing" not in headline
    t5 = {"student.kind": "t5_scratch", "student.name": "t5_scratch"}
    command = {"command": "dsbs train student=t5_scratch task=triage"}
    write_run(tmp_path, share(80), objective="finetune", config=t5, suffix="bbbbbbbb", manifest=command)
    (headline,) = build(tmp_path).headlines
    assert "student=t5_scratch task=triage objective=step_by_step" in headline


def test_a_swept_setting_makes_variants_and_a_place_does_not(tmp_path: Path) -> None:
    for index, alpha in enumerate((0.2, 0.5)):
        config = {"objective.alpha": alpha, "output_dir": f"elsewhere{index}", "training.threads": index + 1}
        write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125, suffix=f"{index}", config=config)
    write_run(tmp_path, share(95), objective="step_by_step", fraction=0.25, config={"objective.alpha": 0.2})
    cells = build(tmp_path).conditions
    assert [(cell.variant_text, cell.data_fraction) for cell in cells] == [
        ("alpha=0.2", 0.125),
        ("alpha=0.2", 0.25),
        ("alpha=0.5", 0.125),
    ]
    assert all(CHOSEN in note_condition(cell) for cell in cells)  # which is best was seen on test


def test_steps_that_follow_the_share_of_the_data_make_no_variant_but_a_note(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125, config={"training.max_steps": 50})
    write_run(tmp_path, share(90), objective="step_by_step", fraction=1.0, config={"training.max_steps": 80})
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0, config={"training.max_steps": 80})
    report = build(tmp_path)
    assert {cell.variant_text for cell in report.conditions} == {""}
    assert "settings differ (max_steps 50 against 80)" in all_notes(report.comparisons[0])
    assert not any("settings differ" in note for note in all_notes(report.comparisons[1]))


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
    content = to_document(report)
    assert content["comparisons"] == []
    assert content["refused_comparisons"][0]["reason"] == "they were tested on different examples"


def test_predictions_that_contradict_the_metrics_are_not_compared(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125)
    write_run(tmp_path, share(80), objective="finetune", test={"accuracy": 0.99, "examples": 100})
    (tmp_path / "train/triage/t5_scratch/step_by_step/0.125/0-aaaaaaaa/predictions.parquet").write_text("broken")
    report = build(tmp_path)
    assert report.comparisons[0].refusal is not None
    assert "predictions.parquet cannot be read" in report.comparisons[0].refusal
    assert report.conditions[0].fault == (
        "seed 0: predictions.parquet and metrics.json do not agree on the test accuracy"
    )


def test_a_run_whose_best_checkpoint_is_its_last_is_flagged(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step", fraction=0.125)
    write_run(tmp_path, share(80), objective="finetune", fraction=1.0, best_step=100)
    report = build(tmp_path)
    assert any(note.startswith("baseline: perhaps not converged") for note in all_notes(report.comparisons[0]))
    assert [cell["perhaps_not_converged"] for cell in to_document(report)["cells"]] == [[0], []]
    logreg = {"student.kind": "logreg", "student.name": "logreg"}  # its steps are those of a solver
    write_run(tmp_path, share(80), fraction=0.5, best_step=100, config=logreg, student="logreg")
    assert [one.unconverged for one in build(tmp_path).conditions].count([0]) == 1


def test_a_run_without_an_error_on_validation_is_not_flagged(tmp_path: Path) -> None:
    write_run(tmp_path, share(80), best_step=100, validation={"accuracy": 1.0, "examples": 50})
    assert build(tmp_path).conditions[0].unconverged == []


def test_a_single_seed_is_said_to_be_one_student(tmp_path: Path) -> None:
    write_headline(tmp_path, eighth=(92,))
    report = build(tmp_path)
    comparison = report.comparisons[0]
    assert (comparison.claim, comparison.verdict, comparison.holds) == ("this student only", "this student only", False)
    assert any(note.startswith("candidate: one seed") for note in all_notes(comparison))
    assert "beyond" not in report.headlines[0]
    assert "about this student only" in report.headlines[0]


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
    assert "metrics.json is corrupt" in left_out["7"].reason
    assert "metrics.json lacks task" in left_out["6"].reason


def test_a_repeated_seed_counts_once_and_the_other_is_listed(tmp_path: Path) -> None:
    old = write_run(tmp_path, share(50), suffix="old")
    new = write_run(tmp_path, share(60), suffix="new")
    os.utime(old / "metrics.json", (1, 1))
    report = build(tmp_path)
    assert report.conditions[0].per_seed == [0.6]
    assert [(run.folder, str(new) in run.reason) for run in report.left_out] == [(old, True)]


def test_the_teachers_accuracy_on_the_test_split_is_shown_where_it_is_known(tmp_path: Path) -> None:
    write_headline(tmp_path)
    assert to_document(build(tmp_path))["teacher"]["accuracy"] is None
    folder = tmp_path / "rationales/triage/handbook-12345678"
    folder.mkdir(parents=True)
    splits = {"train": {"teacher_accuracy": 0.97}, "test": {"teacher_accuracy": 0.96}}
    (folder / "summary.json").write_text(json.dumps({"splits": splits}))
    assert to_document(build(tmp_path))["teacher"]["accuracy"] == 0.96


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
    assert page.count("<script") == 2  # ours, and the examples
    assert "alert('x')" not in page
    assert "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt; &amp; more" in page
    assert not re.search(r"src=|href=\"[^#]|@import|url\(|https?://", page)
    assert "at most 2 points worse: shown" in page
    assert "scripted stand-in" in page or "is a stand-in" in page
    assert "python -m dsbs.train objective=finetune data_fraction=1.0 seed=2" in page


def test_runs_that_are_missing_are_those_of_one_student_and_their_commands_can_be_pasted(tmp_path: Path) -> None:
    """Fine-tuned logistic regression is no baseline of a T5 that learns rationales."""
    write_run(tmp_path, share(80), suffix="bbbbbbbb", config={"student.kind": "logreg"}, student="logreg")
    write_run(tmp_path, share(80), objective="step_by_step", config={"student.kind": "t5_scratch"})
    report, console = build(tmp_path), Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    show_report(report, [], console)
    commands = re.findall(r"`(python -m dsbs\.train [^`\n]*)`", console.export_text())
    assert [re.findall("objective=.* data_fraction=.*", command) for command in commands] == [
        ["objective=step_by_step data_fraction=1/8"],
        ["objective=finetune data_fraction=1"],
    ]


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
    assert "Non-inferiority" in text
    assert "1 run was left out" in text
    assert "scripted stand-in" in text
    assert text.rstrip().endswith("outputs/report/triage/index.html")


def test_a_method_that_only_guesses_is_called_so(tmp_path: Path) -> None:
    always_yes = [index % 2 == 0 for index in range(40)]
    for objective, fraction in (("finetune", 1.0), ("step_by_step", 0.125)):
        folder = write_run(tmp_path, always_yes, objective=objective, fraction=fraction)
        edit_answers(folder, gold=["yes" if right else "no" for right in always_yes])
    notes = all_notes(build(tmp_path).comparisons[0])
    for role in ("candidate", "baseline"):
        assert any(note.startswith(f"{role}: not clearly better than the majority") for note in notes), notes


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
    monkeypatch.setattr("dsbs.reporting.writing.draw_scores", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_report(build(tmp_path), tmp_path / "report")
    assert (tmp_path / "report/report.json").exists()


def test_every_setting_that_differs_is_told_and_not_those_of_the_training_alone(tmp_path: Path) -> None:
    one = {"student.dropout_rate": 0.2, "training.eval_steps": 10, "objective.alpha": 0.2, "training.threads": 1}
    other = {"student.dropout_rate": 0.0, "training.eval_steps": 20, "training.threads": 2}
    write_run(tmp_path, share(90), objective="step_by_step", config=one)
    write_run(tmp_path, share(80), objective="finetune", config=other)
    (comparison,) = build(tmp_path).comparisons
    assert "settings differ (student.dropout_rate 0.2 against 0; eval_steps 10 against 20)" in all_notes(comparison)


def test_seeds_are_paired_on_equal_data_with_equal_settings_and_never_for_a_headline(tmp_path: Path) -> None:
    for seed in range(4):
        for objective in ("step_by_step", "finetune", "unequal"):
            config = {"training.max_steps": 50 if objective == "unequal" else 100}
            run = {"objective": objective, "seed": seed, "config": config}
            write_run(tmp_path, share(70 + 5 * seed, of=400), fraction=0.125, **run)
        write_run(tmp_path, share(60 + 5 * seed, of=400), seed=seed)
    found = {
        (item["kind"], item["candidate"].split("/")[1]): item for item in to_document(build(tmp_path))["comparisons"]
    }
    assert found["same fraction", "step_by_step"]["paired_by_seed"]
    assert not found["same fraction", "unequal"]["paired_by_seed"]
    assert not found["headline", "step_by_step"]["paired_by_seed"]


def test_intervals_beside_holms_p_value_agree_with_it(tmp_path: Path) -> None:
    for seed in range(3):
        for objective, right in (("finetune", 600), ("a", 640), ("b", 655), ("c", 700), ("d", 605)):
            write_run(tmp_path, share(right + seed, of=1000), objective=objective, seed=seed)
    comparisons = to_document(build(tmp_path))["comparisons"]
    assert len(comparisons) == 4
    for item in comparisons:
        outside = item["ci_low_adjusted"] > 0 or item["ci_high_adjusted"] < 0
        assert outside == (item["p_adjusted"] < 0.05)
        assert item["ci_low_adjusted"] <= item["ci_low"] <= item["ci_high"] <= item["ci_high_adjusted"]


def test_runs_scored_by_another_metric_are_left_out_of_the_report(tmp_path: Path) -> None:
    write_headline(tmp_path)
    other = score_by("mine:score", [0.5] * 50 + [0.7] * 50, write_run(tmp_path, share(50), seed=7))
    report = build(tmp_path)
    assert report.metric == "accuracy"
    assert [run.folder for run in report.left_out] == [other]
    assert report.left_out[0].reason.startswith("scored by mine:score, while this report is about accuracy")
    write_report(report, tmp_path / "report")


def test_scores_without_answers_have_no_interval_and_are_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, share(80), test={"accuracy": 0.8})
    for seed in (1, 2):
        folder = score_by("mine:score", [-5.0] * 50 + [-9.0] * 50, write_run(tmp_path, share(80), seed=seed))
        if seed == 2:
            (folder / "predictions.parquet").unlink()
    (tmp_path / "train/triage/t5_scratch/finetune/1.0/0-aaaaaaaa/predictions.parquet").unlink()
    finished, left_out = read_runs(tmp_path)
    assert [run.seed for run in finished] == [1]
    assert [run.reason for run in left_out] == ["predictions.parquet: cannot be read (No such file or directory)."] * 2


def test_large_scores_agree_with_their_mean_up_to_rounding(tmp_path: Path) -> None:
    scores = [1e9 + index / 7 for index in range(100)]
    folder = score_by("mine:score", scores, write_run(tmp_path, share(80)))
    edit_json(folder / "metrics.json", test={"mine:score": sum(scores) / 100 + 1e-4, "examples": 100})
    assert read_runs(tmp_path)[0][0].fault is None


def test_seeds_of_another_metric_on_different_examples_get_an_interval(tmp_path: Path) -> None:
    for seed, gold in enumerate(("yes", "yes", "maybe")):
        folder = write_run(tmp_path, share(80), seed=seed, gold=gold)
        score_by("mine:score", [-5.0] * 50 + [-9.0 - seed] * 50, folder)
    (cell,) = to_document(build(tmp_path))["cells"]
    assert cell["ci_low"] < cell["mine:score"] < cell["ci_high"]
    assert cell["notes"][0]["text"].startswith("in no comparison")


def test_a_teachers_accuracy_is_no_score_of_another_metric(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = write_run(tmp_path, share(80), seed=seed, objective="step_by_step")
        score_by("rouge_l", [0.5] * 50 + [0.7] * 50, run)
    folder = tmp_path / "rationales/triage/handbook-12345678"
    folder.mkdir(parents=True)
    (folder / "summary.json").write_text(json.dumps({"splits": {"test": {"teacher_accuracy": 0.96}}}))
    write_report(build(tmp_path), tmp_path / "report")
    assert "teacher handbook on test" not in (tmp_path / "report/accuracy_over_fraction.svg").read_text()
    assert len(list_conditions(json.loads((tmp_path / "report/report.json").read_text()), {})) == 1


@pytest.mark.parametrize("examples", [1, 2])
def test_a_test_split_of_hardly_an_example_gets_its_report(tmp_path: Path, examples: int) -> None:
    for seed in range(5):
        write_run(tmp_path, [True] * examples, seed=seed, objective="step_by_step", fraction=0.125)
        write_run(tmp_path, [True] * examples, seed=seed)
    document = to_document(build(tmp_path))
    alone = any(note["text"].startswith("one test example") for note in document["cells"][0]["notes"])
    assert alone == (examples == 1)
    assert [item["reason"] for item in document["refused_comparisons"]] == ["there is a single test example"] * alone


def test_classes_count_what_is_right_however_it_is_written(tmp_path: Path) -> None:
    """Of numbers 7.0 is 7; and a seed whose answers are lost does not count as one."""
    for seed in (0, 1, 2):
        folder = write_run(tmp_path, share(80), seed=seed)
        golds = ["7", "8"] * 50
        labels = [f"{gold}.0" if right else None for gold, right in zip(golds, share(80), strict=True)]
        edit_answers(folder, gold=golds, label=labels)
    (folder / "predictions.parquet").unlink()
    (found,) = to_document(build(tmp_path))["classes"]
    assert [(one["examples"], one["precision"], one["recall"]) for one in found["scores"]] == [(50, 1.0, 0.8)] * 2
    assert found["confusion"]["columns"] == ["7", "8", "(no answer)"]


def test_nearly_all_of_an_imbalanced_test_split_is_more_than_the_majority_class(tmp_path: Path) -> None:
    golds = ["a"] * 985 + ["b"] * 15
    for seed, right in enumerate((985, 990, 996)):
        edit_answers(write_run(tmp_path, share(right, of=1000), fraction=1 / 2**seed), gold=golds)
    notes = [[note.text for note in note_condition(one)] for one in build(tmp_path).conditions]  # smallest share first
    assert [any(text.startswith("not clearly better") for text in one) for one in notes] == [False, True, True]


def test_fraction_1_is_no_claim_and_a_control_is_no_candidate(tmp_path: Path) -> None:
    for seed in (0, 1):
        for objective in ("finetune", "step_by_step"):
            write_run(tmp_path, share(80 + seed), objective=objective, seed=seed)
    (report,) = build_reports(tmp_path / "train", ReportSettings(fraction=1))
    assert report.headlines[0].startswith("With fraction=1 there is no claim about less data")
    assert [item.candidate.data_fraction for item in report.equal_labels] == [1.0]
    write_run(tmp_path, share(60), objective="step_by_step", fraction=0.07, control="shuffled")
    (report,) = build_reports(tmp_path / "train", ReportSettings(fraction=0.07))
    assert "Missing: `python -m dsbs.train" in report.headlines[0]
    assert "objective=step_by_step data_fraction=0.07" in report.headlines[0]


def test_equal_labels_are_those_of_the_claims_share(tmp_path: Path) -> None:
    for fraction in (0.125, 0.25):
        for objective in ("finetune", "step_by_step"):
            write_run(tmp_path, share(80), objective=objective, fraction=fraction)
    (report,) = build_reports(tmp_path / "train", ReportSettings(fraction="1/4"))
    assert [item.candidate.data_fraction for item in report.equal_labels] == [0.25]


def test_caveats_in_the_terminal_name_what_they_are_about(tmp_path: Path) -> None:
    """Also without a headline, and for what is in no comparison."""
    for objective in ("finetune", "step_by_step"):
        config = {"training.max_steps": len(objective)}
        write_run(tmp_path, share(80), objective=objective, fraction=0.125, config=config)
    write_run(tmp_path, share(80), objective="step_by_step", fraction=0.5, test={"accuracy": 0.7, "examples": 100})
    caveats = list_caveats(build(tmp_path))
    assert "step_by_step on 1/8 of the data: one seed: the result is about that student, not the method" in caveats
    assert (
        "step_by_step on 1/8 of the data against finetune on 1/8 of the data: settings differ (max_steps 12 against 8)"
    ) in caveats
    assert any(one.startswith("step_by_step on 1/2 of the data: in no comparison") for one in caveats)


def test_a_search_without_a_validation_score_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, share(50))
    for seed, validation in ((1, {}), (2, {"accuracy": None, "examples": 0})):
        write_run(tmp_path, share(50), seed=seed, validation=validation, test=...)
    assert [run.reason for run in build(tmp_path).left_out] == [
        "cannot be read: metrics.json lacks validation.accuracy"
    ] * 2


@pytest.mark.parametrize("name", ["rouge_l", "my_scores:length"])
def test_another_metric_is_read_by_its_name_and_gets_an_interval_of_a_mean(tmp_path: Path, name: str) -> None:
    for seed in (0, 1):
        for objective, level in (("step_by_step", 0.6), ("finetune", 0.5)):
            folder = write_run(tmp_path, share(50), objective=objective, seed=seed)
            score_by(name, [level + 0.001 * seed + 0.001 * index for index in range(100)], folder)
    content = to_document(build(tmp_path))
    assert content["metric"] == name
    assert content["cells"][0][name] == pytest.approx(0.55, abs=0.01)
    assert content["comparisons"][0]["difference"] == pytest.approx(0.1)
    write_report(build(tmp_path), tmp_path / "report")


def test_data_that_differ_are_no_line_and_are_not_compared(tmp_path: Path) -> None:
    for objective, fraction, files in (
        ("step_by_step", 0.125, "aaaa"),
        ("finetune", 1.0, "bbbb"),
        ("finetune", 0.5, "cccc"),
    ):
        manifest = {"settings": {"task": {"name": "triage", "files": {"train": files}}}}
        write_run(tmp_path, share(80), objective=objective, fraction=fraction, manifest=manifest)
    report = build(tmp_path)
    assert len({cell.line for cell in report.conditions}) == 3
    assert report.comparisons[0].result is None
    assert "they learned from different data (data " in report.headlines[0]


@pytest.mark.parametrize("key", ["filter", "samples", "model"])
def test_what_a_run_learnt_from_tells_conditions_apart(tmp_path: Path, key: str) -> None:
    for index, value in enumerate(("1", "3")):
        annotations = {"folder": "handbook-12345678", "filter": "none", "samples": 1, "rows": 800 + index, key: value}
        manifest = {"annotations": annotations}
        write_run(tmp_path, share(80 + index), objective="step_by_step", suffix=str(index), manifest=manifest)
    report = build(tmp_path)
    assert [cell.variant for cell in report.conditions] == [{key: "1"}, {key: "3"}]
    assert report.left_out == []
    assert to_document(report)["cells"][0]["variant_settings"] == {f"learnt.{key}": "1"}


def test_another_evaluation_interval_is_no_method(tmp_path: Path) -> None:
    for index, steps in enumerate((10, 20)):
        write_run(tmp_path, share(80), suffix=str(index), config={"training.eval_steps": steps})
    report = build(tmp_path)
    assert len(report.conditions) == 1
    assert "They differ in: eval_steps" in report.left_out[0].reason


@pytest.mark.parametrize("name", ["shuffled", "extra_compute(noise=0.3)", "teacher_noise(rate=0.4)"])
def test_a_control_is_a_condition_of_its_own_and_no_candidate(tmp_path: Path, name: str) -> None:
    write_headline(tmp_path)
    for seed in range(3):
        run = {"objective": "step_by_step", "fraction": 0.125, "seed": seed}
        write_run(tmp_path, share(50), **run, suffix="c", control=name, config={"control.name": name.partition("(")[0]})
    for metrics in (tmp_path / "train/triage/t5_scratch/finetune").rglob("metrics.json"):
        edit_json(metrics, control="none")
    report = build(tmp_path)
    (control,) = [item for item in report.comparisons if item.kind == "control"]
    assert (control.candidate.control, control.baseline.control) == (None, name)
    assert "settings differ" not in str(all_notes(control))
    assert f"do better than {show_control(name)}." in to_document(report)["controls"]
    assert f"t5_scratch/step_by_step/gold/handbook/{name}/0.125" in {cell.id for cell in report.conditions}
    assert [item.candidate.control for item in report.comparisons if item.kind == "headline"] == [None]


@pytest.mark.parametrize(
    ("shuffled", "opening"),
    [
        (28, "The content of the rationales matters: with those of other examples no gain over the baseline is shown."),
        (60, "The content of the rationales matters: those of other examples do worse."),
        (90, "The content of the rationales is not shown to matter"),
    ],
)
def test_the_controls_end_in_a_sentence_on_the_content_of_the_rationales(
    tmp_path: Path, shuffled: int, opening: str
) -> None:
    for seed in range(3):
        write_run(tmp_path, share(28 + seed), fraction=0.125, seed=seed)
        run = {"objective": "step_by_step", "fraction": 0.125, "seed": seed}
        write_run(tmp_path, share(90 + seed), **run)
        write_run(tmp_path, share(shuffled + seed), **run, suffix="c", control="shuffled")
    report = build(tmp_path)
    document = to_document(report)
    assert document["controls"].startswith(opening)
    (group,) = list_controls(document, collect_caveats(document)[1])
    (row,) = [row for row in group["rows"] if row["control"]]
    assert (row["name"], row["learned"]) == ("shuffled", "the rationale of another example")
    assert (len(row["true"]), len(row["baseline"])) == (1, 1)
    assert [row["name"] for row in group["rows"] if not row["control"]] == ["step_by_step", "finetune"]


def test_page_and_terminal_tell_the_same_comparisons_on_equal_labels(tmp_path: Path) -> None:
    """Without fine-tuning on all data there is no headline: then those on the smallest share count."""
    for objective, right in (("finetune", 70), ("step_by_step", 80)):
        for fraction in (0.125, 0.25):
            for seed in range(2):
                write_run(tmp_path, share(right + seed), objective=objective, fraction=fraction, seed=seed)
    report = build(tmp_path)
    [told] = describe_equal_labels(report)
    document = to_document(report)
    found = list_verdicts(document, collect_caveats(document)[1])
    cards = [card for card in found if card["title"].startswith("Equal labels")]
    assert [card["title"] for card in cards] == ["Equal labels: both on 1/8 of the data"]
    assert told.startswith("Equal labels: step_by_step on 1/8 of the data")
    assert f"Difference {cards[0]['points']} points ({cards[0]['interval']}, p " in told
    assert all(f"reaches {score} (2 seeds)" in told for _, score in cards[0]["sides"])
    assert cards[0]["text"].startswith("It is better" if document["comparisons"][0]["verdict"] == "better" else "No")


@pytest.mark.parametrize(
    ("program", "again"),
    [
        ("dsbs train", "python -m dsbs.train"),
        ("python mine.py", "python -m dsbs.train"),
        ("python -m dsbs.train --config-dir my", "python -m dsbs.train --config-dir my"),
    ],
)
def test_the_missing_command_is_right_however_the_runs_were_started(tmp_path: Path, program: str, again: str) -> None:
    command = f"{program} experiment=mine control=teacher_noise control.rate=0.2 data_fraction=1/8 rationales=theirs"
    write_run(tmp_path, share(80), objective="step_by_step", fraction=0.125, manifest={"command": command})
    (headline,) = build(tmp_path).headlines
    assert f"`{again} experiment=mine rationales=theirs objective=finetune data_fraction=1`" in headline


def test_the_missing_command_carries_all_that_the_runs_were_made_with(tmp_path: Path) -> None:
    command = (
        "python -m dsbs.train -m task=table task.path='/data/my train.jsonl' task.label=verdict"
        " student=smollm2,t5_scratch teacher=openai teacher.model=gpt-x objective=finetune"
        " seed=0,1,2 training.max_steps=50"
    )
    write_run(tmp_path, share(80), config={"student.name": "smollm2"}, manifest={"command": command})
    (headline,) = build(tmp_path).headlines
    assert (
        "`python -m dsbs.train task=table 'task.path=/data/my train.jsonl' task.label=verdict student=smollm2 "
        "teacher=openai teacher.model=gpt-x training.max_steps=50 objective=step_by_step data_fraction=1/8`" in headline
    )


def test_a_search_is_listed_by_validation_with_the_command_that_reads_test(tmp_path: Path) -> None:
    write_headline(tmp_path)
    for index, (rate, validation) in enumerate(((0.1, 0.7), (0.2, 0.9))):
        for seed in (0, 1):
            command = "python -m dsbs.train --config-dir my -m seed=0,1 student.dropout=0.1,0.2 test=false"
            parts = {"config": {"student.dropout": rate}, "manifest": {"command": command}}
            found = {"accuracy": validation, "examples": 80}
            write_run(tmp_path, share(50), seed=seed, suffix=f"s{index}", validation=found, test=..., **parts)
    report = build(tmp_path)
    (search,) = to_document(report)["searches"]
    assert [(one["variant"], one["validation"]) for one in search["tried"]] == [
        ("dropout=0.2", 0.9),
        ("dropout=0.1", 0.7),
    ]
    again = "python -m dsbs.train --config-dir my -m student.dropout=0.2 seed=0,1 test=true"
    assert search["tried"][0]["command"] == again
    assert len(report.conditions) == 3  # what is searched is no condition
    write_report(report, tmp_path / "report")
    assert "Searches on validation" in (tmp_path / "report/index.html").read_text()


def test_searches_on_different_data_are_apart(tmp_path: Path) -> None:
    for index, products in enumerate((84, 120)):
        write_run(tmp_path, share(50), suffix=str(index), config={"task.products": products}, test=...)
    found = to_document(build(tmp_path))["searches"]
    variants = sorted([one["variant"] for one in search["tried"]] for search in found)
    assert variants == [["products=120"], ["products=84"]]


def test_a_search_alone_makes_a_report(tmp_path: Path) -> None:
    write_run(tmp_path, share(50), test=...)
    report = build(tmp_path)
    paths = write_report(report, tmp_path / "report")
    assert [path.name for path in paths] == ["report.json", "index.html"]
    console = Console(width=80, record=True, file=open(os.devnull, "w"))  # noqa: SIM115, PTH123
    show_report(report, paths, console)
    said = console.export_text()
    assert "of runs that left test alone (test=false)" in said
    assert "t5_scratch, finetune" in said
    assert "test accuracy" not in said  # there are no conditions


def test_filters_go_by_their_names_where_these_tell_them_apart(tmp_path: Path) -> None:
    for index, name in enumerate(("none", "strict (min_words=5)", "strict (min_words=9)", "gold (agrees_with_gold)")):
        parts = {
            "manifest": {"annotations": {"folder": "handbook-12345678", "filter": name}},
            "student": f"s{index % 2}",
        }
        write_run(tmp_path, share(80), objective="step_by_step", suffix=str(index), **parts)
    found = {cell.variant["filter"] for cell in build(tmp_path).conditions}
    assert found == {"none", "strict", "gold"}


def test_test_inputs_that_were_learnt_from_stand_under_provenance(tmp_path: Path) -> None:
    for fraction, near in ((0.125, 20), (1.0, 112)):
        overlap = {"examples": 200, "same": 0, "near": near, "compared": 200, "complete": True}
        write_run(tmp_path, share(90), fraction=fraction, overlap=overlap)
    origin = trace_runs(read_runs(tmp_path)[0])
    assert (origin["overlap"]["near"], origin["overlap"]["data_fraction"]) == (112, 1.0)
    facts = list_facts({"runs": "outputs", "dsbs": "0.1", "provenance": origin, "settings": {"margin": 1.0}})
    assert dict(facts)["report"] == "python -m dsbs.report runs=outputs margin=1.0 (dsbs 0.1)"
    told = dict(facts)["test split"]
    assert told.startswith("Of 200 test inputs, 112 are near duplicates of one in train or validation (90%")


def test_a_run_whose_overlap_is_no_count_is_left_out(tmp_path: Path) -> None:
    write_run(tmp_path, share(90), overlap={"examples": "many"})
    (left_out,) = read_runs(tmp_path)[1]
    assert "metrics.json: overlap" in left_out.reason


def test_what_is_said_before_the_headlines_is_the_first_card(tmp_path: Path) -> None:
    write_headline(tmp_path)
    document = to_document(build(tmp_path))
    document["headline"].insert(0, "These runs are of several tables.")
    cards = list_verdicts(document, collect_caveats(document)[1])
    assert [card["title"] for card in cards] == [
        "Caution",
        "Fewer labels: 1/8 of the data against all",
        "Equal labels: both on 1/8 of the data",
    ]
    assert cards[0]["text"] == "These runs are of several tables."
