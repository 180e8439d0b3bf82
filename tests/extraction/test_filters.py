"""Filters, each on its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from dsbs.core.records import Annotation, Example
from dsbs.extraction.annotations import variant_dir
from dsbs.extraction.filters import Filter, FilterCheck, restore
from dsbs.tasks.answers import ClosedAnswers

EXAMPLE = Example("1", "It was cracked.", "refund", ("refund", "replace"))
SOUND = Annotation("1", "refund", "The kettle was cracked, which is damage.", "ok", 0.6)


def refused(chosen: Filter, **changes: object) -> str:
    fields = {name: getattr(SOUND, name) for name in ("id", "label", "rationale", "status", "agreement")}
    return FilterCheck(chosen, ClosedAnswers()).check(EXAMPLE, Annotation(**(fields | changes))).status  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("filter", "changes"),
    [
        (Filter(agrees_with_gold=True), {"label": "replace"}),
        (Filter(min_agreement=0.7), {}),
        (Filter(min_words=9), {}),
        (Filter(max_words=6), {}),
        (Filter(max_repetition=0.3), {"rationale": "it is so and it is so and it is so and it is so"}),
        (Filter(other_answer=True), {"rationale": "We replace what is cracked."}),
        (Filter(gives_away=True), {"rationale": "Damage means a refund."}),
    ],
)
def test_each_filter_refuses_what_it_is_for_and_is_named(filter: Filter, changes: dict[str, object]) -> None:
    on = next(name for name, value in vars(filter).items() if name != "name" and value)
    assert refused(filter, **changes) == f"filter: {on}"
    assert refused(Filter(), **changes) == "ok"


def test_a_sound_annotation_passes_all_filters_that_need_no_samples() -> None:
    filter = Filter(
        agrees_with_gold=True, min_words=4, max_words=50, max_repetition=0.3, other_answer=True, duplicates=True
    )
    assert refused(filter) == "ok"
    assert refused(filter, rationale="Not replace but refund, for the kettle was cracked.") == "ok"


def test_the_second_of_two_equal_rationales_is_refused() -> None:
    keeper = FilterCheck(Filter(duplicates=True), ClosedAnswers())
    assert [keeper.check(EXAMPLE, SOUND).status for _ in range(2)] == ["ok", "filter: duplicates"]


def test_what_failed_before_keeps_its_own_reason() -> None:
    assert refused(Filter(min_words=99), status="no_cue") == "no_cue"


@pytest.mark.parametrize(
    ("filter", "changes"),
    [(Filter(agrees_with_gold=True), {"label": "replace"}), (Filter(min_agreement=0.7), {})],
)
def test_filters_of_the_label_hold_for_answers_without_a_rationale(filter: Filter, changes: dict[str, object]) -> None:
    on = next(iter(filter.asked))
    alone = replace(SOUND, rationale=None, status="no_rationale", **changes)  # type: ignore[arg-type]
    told = FilterCheck(filter, ClosedAnswers()).check(EXAMPLE, alone)
    assert told.status == f"filter: {on} (no_rationale)"
    assert restore(told) == alone
    for one in (replace(alone, status="ok"), replace(alone, status="ok", rationale="Why not?")):
        assert restore(FilterCheck(filter, ClosedAnswers()).check(EXAMPLE, one)) == one


def test_filters_of_the_rationale_leave_answers_without_one_alone() -> None:
    filter = Filter(min_words=1, max_words=0, max_repetition=0.0, other_answer=True, gives_away=True, duplicates=True)
    assert refused(filter, rationale=None, status="no_rationale") == "no_rationale"


@pytest.mark.parametrize("filter", [Filter(max_repetition=0.0), Filter(max_words=0)])
def test_a_filter_of_0_is_asked_for_and_its_annotations_lie_in_a_folder_of_their_own(filter: Filter) -> None:
    on = next(iter(filter.asked))
    base = Path("rationales/quiz/teacher-0123456789abcdef")
    assert filter.title == f"none ({on}={getattr(filter, on)})"
    assert variant_dir(base, filter.asked, 1) != variant_dir(base, Filter().asked, 1) == base


def test_faults_are_told_all_at_once() -> None:
    filter = Filter(min_agreement=2.0, min_words=9, max_words=3, other_answer=True, gives_away=True)
    assert len(filter.faults()) == 3
    assert Filter().faults() == []
