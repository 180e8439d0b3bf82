"""The page of an extraction, for people who have no Python."""

import re
from pathlib import Path
from typing import Any

from scripted import CountTask, ScriptedTeacher, correct, job_for

from dsbs.core.errors import TeacherError
from dsbs.core.records import Annotation, Example, Request
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.filters import Filter
from dsbs.extraction.page import SHOWN, PageData, build_page


def page_of(folder: Path, **changes: Any) -> str:
    run_extraction(job_for(folder, **({"teacher": ScriptedTeacher()} | changes)))
    return (folder / "rationales.html").read_text()


def test_it_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    assert not re.search(r"<script|<link|src=|href=|@import|url\(", page)
    assert page.startswith("<!doctype html>")


def test_failures_are_told_with_their_reason_and_an_example(tmp_path: Path) -> None:
    def says(request: Request) -> Any:
        if request.id == "train-1":
            return TeacherError("HTTP 400: far too long", reason="HTTP 400")
        return "<b>No & idea.</b>" if request.id == "train-2" else correct(request)

    page = page_of(tmp_path, teacher=ScriptedTeacher(says=says), filter=Filter(max_words=4), size=5)
    assert "request_failed: HTTP 400</strong>: 1" in page
    assert "far too long" in page
    assert "no_cue</strong>: 1" in page
    assert "&lt;b&gt;No &amp; idea.&lt;/b&gt;" in page
    assert "<b>No" not in page
    assert "filter: max_words</strong>: 3 (rejected by a filter)" in page


def test_fifty_random_annotations_stand_beside_gold_and_stay_the_same(tmp_path: Path) -> None:
    first = page_of(tmp_path / "a", size=200)
    assert first.count("✓") == SHOWN
    again = page_of(tmp_path / "b", size=200)
    shown = [re.findall(r"train train-\d+", page) for page in (first, again)]
    assert shown[0] == shown[1]
    assert shown[0] != sorted(shown[0])


def test_every_class_of_many_is_counted_and_the_worst_stand_first() -> None:
    labels = tuple(f"intent {number}" for number in range(77))
    data = PageData()
    for number in range(770):
        gold = labels[number % 77]
        said = labels[3] if gold in (labels[7], labels[5]) or number == 9 else gold
        if number == 82:
            said = None
        example = Example(str(number), f"question {number}", gold, labels)
        annotation = Annotation(str(number), said, "so")
        data.add("train", example, annotation, [], right=said == gold)
    assert len(data.classes) == 77
    counts = data.classes["intent 7"]
    assert (counts.examples, counts.right, counts.wrong) == (10, 0, 10)
    assert data.classes["intent 5"].taken_for == {labels[3]: 9, None: 1}
    split = {"examples": 770, "parsed": 770, "teacher_accuracy": 0.9, "statuses": {"ok": 770}, "cost_usd": None}
    split |= {"prompt_tokens": 0, "completion_tokens": 0}
    summary = {"task": "t", "teacher": "t", "model": "m", "splits": {"train": split}, "stopped": None, "prompt": "p"}
    page = build_page(summary | {"filter": "none", "seconds": 1.0, "stand_in": None}, data)
    table = page[page.index("Accuracy by class") : page.index("Unused annotations, by reason")]
    assert table.count("<tr") == 78
    order = [table.index(f"{label}</td>") for label in ("intent 5", "intent 7", "intent 9", "intent 0")]
    assert order == sorted(order)
    assert "intent 3 (9), no answer (1)" in table
    assert page.count('class="differs"') + page.count('class="more"') == 21  # all that are wrong
    assert 'id="wrong-only"' in page


def test_answers_that_differ_from_row_to_row_are_no_classes() -> None:
    data = PageData()
    for number in range(3):
        choices = (f"a{number}", "b")
        data.add("train", Example(str(number), "x", "b", choices), Annotation(str(number), "b", "so"), [], right=True)
    assert (data.kind, data.classes) == ("own", {})
    free = PageData()
    free.add("train", Example("1", "x", "b"), Annotation("1", "b", "so"), [], right=True)
    assert (free.kind, free.classes) == ("free", {})


def test_without_gold_labels_there_is_still_a_page(tmp_path: Path) -> None:
    class Unlabelled(CountTask):
        def examples(self, split: str) -> Any:
            return (Example(example.id, example.input) for example in super().examples(split))

    page = page_of(tmp_path, task=Unlabelled())
    assert "no gold labels" in page
