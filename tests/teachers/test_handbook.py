"""The scripted stand-in for the built-in task."""

import asyncio
from collections import Counter

import pytest
from scripted import CountTask

from dsbs.core.errors import TeacherError
from dsbs.core.records import Annotation, Completion, Example
from dsbs.extraction.filters import Filter, FilterCheck
from dsbs.extraction.parsing import annotate
from dsbs.tasks.triage import TriageTask, read_facts
from dsbs.teachers.handbook import HandbookTeacher

TASK = TriageTask(kind="triage", name="triage", train=400, validation=10, test=10)


def annotate_all(**rates: float) -> list[tuple[Example, Annotation]]:
    teacher = HandbookTeacher(name="handbook", **rates)  # type: ignore[arg-type]
    pairs = []
    for example in TASK.examples("train"):
        said = Completion(teacher.write(example.input), "stop")
        pairs.append((example, annotate(example, said, teacher.cue, TASK.answers)))
    return pairs


def test_without_errors_every_answer_is_parsed_and_right() -> None:
    for example, annotation in annotate_all():
        facts = read_facts(example.input)
        assert facts is not None
        assert (annotation.status, annotation.label) == ("ok", example.label)
        assert annotation.rationale is not None
        assert facts.family in annotation.rationale
        assert facts.kind in annotation.rationale


def test_its_rationales_do_not_give_the_answer_away() -> None:
    keeper = FilterCheck(Filter(gives_away=True), TASK.answers)
    assert {keeper.check(example, annotation).status for example, annotation in annotate_all()} == {"ok"}


def test_error_rates_are_kept_to() -> None:
    wrong = [(e, a) for e, a in annotate_all(wrong_label=0.2) if a.label != e.label]
    assert 50 <= len(wrong) <= 110
    assert all(read_facts(example.input).kind in annotation.rationale for example, annotation in wrong)  # type: ignore
    statuses = Counter(annotation.status for _, annotation in annotate_all(broken_format=0.25))
    assert 60 <= 400 - statuses["ok"] <= 140


def test_a_wrong_kind_is_reasoned_on_from() -> None:
    pairs = annotate_all(wrong_kind=1.0)
    assert pairs
    for example, annotation in pairs:
        assert read_facts(example.input).kind not in annotation.rationale.split("complaint is ")[1]  # type: ignore


def test_the_same_request_gives_the_same_completion_and_another_sample_may_differ() -> None:
    teacher, message = HandbookTeacher(wrong_label=0.5), next(TASK.examples("train")).input
    assert teacher.write(message) == teacher.write(message)
    assert len({teacher.write(message, sample) for sample in range(20)}) > 1


def test_it_says_what_it_is_and_answers_its_own_task_alone() -> None:
    assert "scripted stand-in" in str(HandbookTeacher().identity()["model"])

    async def connect() -> None:
        async with HandbookTeacher().connect(CountTask()):
            pass

    with pytest.raises(TeacherError, match="stand-in for the built-in task triage"):
        asyncio.run(connect())


def test_rates_out_of_range_are_told() -> None:
    assert len(HandbookTeacher(wrong_kind=2, wrong_label=-1).faults()) == 2
    assert len(HandbookTeacher(wrong_kind=0.6, wrong_label=0.6).faults()) == 1
    [fault] = HandbookTeacher(model="gpt-4o").faults()
    assert "did you mean teacher=openai teacher.model=gpt-4o?" in fault
