"""The annotations that a run learns from: apart for each filter and each number of samples, found by what fits."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from trained import TINY, small_triage

from dsbs.core.errors import DataError
from dsbs.extraction.annotations import (
    AnnotationFile,
    load_summary,
    rationales_dir,
    rationales_root,
    variant_dir,
)
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.filters import Filter
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.extraction.settings import ExtractionSettings
from dsbs.objectives import SoftTargets, StepByStep
from dsbs.teachers.handbook import HandbookTeacher
from dsbs.training.annotated import NotAnnotated, describe_annotations, stored_tokens
from dsbs.training.plan import prepare_run
from dsbs.training.settings import TrainSettings


class Paid(HandbookTeacher):
    """A teacher that wants money, so that nobody asks it on their own."""

    free = False


def settings(folder: Path, **changes: Any) -> TrainSettings:
    exemplar = Exemplar("I bought a kettle. It leaks.", "A kettle is a kitchen product, to leak is wear.", "refund")
    parts: dict[str, Any] = {
        "task": small_triage(),
        "teacher": Paid(name="paid", wrong_label=0.5),
        "prompt": Prompt(name="triage", exemplars=[exemplar]),
        "objective": StepByStep(name="step_by_step"),
        "student": TINY,
        "output_dir": str(folder / "outputs"),
    }
    return TrainSettings(**(parts | changes))


def extract(of: TrainSettings, filter: Filter = Filter(), samples: int = 1) -> Path:  # noqa: B008
    base = rationales_dir(of.output_dir, of.task, of.teacher, of.prompt)
    folder = variant_dir(base, filter.asked, samples)
    settings = ExtractionSettings(samples=samples)
    beside: dict[str, Any] = {"settings": settings, "neighbours": rationales_root(of.output_dir), "base": base.name}
    run_extraction(Job(of.task, of.teacher, of.prompt, folder, ["train"], filter, **beside))
    return folder


def test_filtered_annotations_lie_apart_and_each_run_takes_those_that_fit(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    gold = Filter("gold", agrees_with_gold=True)
    filtered = dataclasses.replace(mine, filter=gold)
    apart = extract(mine, gold)
    assert prepare_run(filtered).rationales == prepare_run(mine).rationales == apart  # the one that is there
    before = prepare_run(mine).run.folder
    all_of_them = extract(mine)
    assert "filter: agrees_with_gold" in {one.status for one in AnnotationFile(apart, "train")}
    assert {one.status for one in AnnotationFile(all_of_them, "train")} == {"ok"}
    assert prepare_run(filtered).rationales == apart
    plan = prepare_run(mine)
    assert (plan.rationales, plan.run.folder) == (all_of_them, before)
    assert prepare_run(filtered).run.folder != before
    described = [describe_annotations(one, folder) for one, folder in ((mine, all_of_them), (filtered, apart))]
    assert described[0]["annotations"]["folder"] == described[1]["annotations"]["folder"]


def test_rationales_that_were_taken_otherwise_than_this_run_says_are_told(tmp_path: Path, caplog) -> None:
    mine = settings(tmp_path)
    folder = extract(mine)
    thinking = dataclasses.replace(mine, prompt=dataclasses.replace(mine.prompt, rationale_from="thinking"))
    describe_annotations(mine, folder)
    assert "rationale_from" not in caplog.text
    describe_annotations(thinking, folder)
    assert "prompt.rationale_from=thinking" in caplog.text
    caplog.clear()
    assert extract(thinking) == folder
    describe_annotations(thinking, folder)
    assert "rationale_from" not in caplog.text


def test_where_nothing_fits_the_command_asks_for_the_same_filter_and_samples(tmp_path: Path) -> None:
    mine = settings(tmp_path, filter=Filter("gold", agrees_with_gold=True), samples=3)
    with pytest.raises(NotAnnotated, match=r"dsbs\.extract .*filter=gold .*samples=3"):
        prepare_run(mine, ["filter=gold", "samples=3"])
    extract(mine, mine.filter, samples=3)
    assert len(prepare_run(mine, ["filter=gold", "samples=3"]).data.train) == 64


def test_annotations_of_other_samples_lie_apart_and_are_asked_for_by_name(tmp_path: Path) -> None:
    mine = settings(tmp_path)
    voted = extract(mine, samples=3)
    assert prepare_run(mine).rationales == voted  # nothing else is there
    with pytest.raises(NotAnnotated, match=r"dsbs\.extract .*samples=1"):
        prepare_run(dataclasses.replace(mine, samples=1))
    single = extract(mine)
    with pytest.raises(DataError, match=r"annotations of 1 and of 3 samples .*\n    samples=1 .*\n    samples=3 "):
        prepare_run(mine)
    folders = [prepare_run(dataclasses.replace(mine, samples=count)).rationales for count in (1, 3)]
    assert folders == [single, voted]


def test_an_older_folder_of_several_samples_is_still_read(tmp_path: Path) -> None:
    mine = settings(tmp_path, samples=3)
    folder = rationales_dir(mine.output_dir, mine.task, mine.teacher, mine.prompt)
    extract(dataclasses.replace(mine, samples=None), samples=3).rename(folder)
    summary = {key: value for key, value in load_summary(folder).items() if key != "extraction"}  # type: ignore[union-attr]
    (folder / "summary.json").write_text(json.dumps(summary))
    assert prepare_run(mine).rationales == folder


def test_where_no_store_is_left_the_command_that_extracts_again_is_told(tmp_path: Path) -> None:
    of = settings(tmp_path, objective=SoftTargets(name="soft_targets", source="stored"), labels="teacher")
    with pytest.raises(DataError, match=r"python -m dsbs\.extract task=triage teacher=paid .*teacher\.top_logprobs=20"):
        stored_tokens(of, tmp_path, None)  # type: ignore[arg-type]
