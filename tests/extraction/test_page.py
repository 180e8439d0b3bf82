"""A look at an extraction for people who have no Python."""

import re
from pathlib import Path
from typing import Any

from scripted import CountTask, ScriptedTeacher, correct, job_for

from dsbs.core.errors import TeacherError
from dsbs.core.records import Annotation, Example, Request
from dsbs.extraction import run_extraction
from dsbs.extraction.filters import Filter
from dsbs.extraction.look import MOST_CLASSES, SHOWN, Look


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
    assert "filter: max_words</strong>: 3 (refused by a filter)" in page


def test_fifty_random_annotations_stand_beside_gold_and_stay_the_same(tmp_path: Path) -> None:
    first = page_of(tmp_path / "a", size=200)
    assert first.count("✓") == SHOWN
    again = page_of(tmp_path / "b", size=200)
    shown = [re.findall(r"train train-\d+", page) for page in (first, again)]
    assert shown[0] == shown[1]
    assert shown[0] != sorted(shown[0])


def test_classes_are_counted_unless_there_are_too_many() -> None:
    look = Look()
    for number in range(MOST_CLASSES):
        example = Example(str(number), "x", str(number % 2))
        look.add("train", example, Annotation(str(number), "1", "so"), [], right=number % 2 == 1)
    assert look.classes == {"0": [20, 0], "1": [20, 20]}
    for number in range(MOST_CLASSES):
        look.add("train", Example(f"n{number}", "x", f"n{number}"), Annotation("x", "1", "so"), [], right=False)
    assert look.too_many_classes


def test_without_gold_labels_there_is_still_a_page(tmp_path: Path) -> None:
    class Unlabelled(CountTask):
        def examples(self, split: str) -> Any:
            return (Example(example.id, example.input) for example in super().examples(split))

    page = page_of(tmp_path, task=Unlabelled())
    assert "No gold labels" in page
    assert "no gold labels" in page
