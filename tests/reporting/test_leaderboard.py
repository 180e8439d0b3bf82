"""Which student to take: the frontier of score and time, and advice that names its requirement."""

import pytest

from dsbs.reporting.leaderboard import Entry, TeacherCosts, advise, draw_frontier, mark_frontier, price_teacher
from dsbs.reporting.teachers import TeacherFacts


def entry(student: str, score: float, milliseconds: float | None, low: float | None = None) -> Entry:
    low = score - 0.01 if low is None else low
    return Entry(student, "finetune", 1.0, 3, score, low, score + 0.01, 1000, 5000, 12.0, milliseconds)


RUNGS = [entry("t5", 0.96, 20.0), entry("encoder", 0.95, 5.0), entry("slow", 0.94, 9.0), entry("logreg", 0.88, 0.1)]
TEACHER = TeacherCosts("llm", 0.98, "test", 2.0, 300.0)


def test_the_frontier() -> None:
    assert [one.student for one in mark_frontier([*RUNGS, entry("untimed", 0.99, None)]) if one.on_frontier] == [
        "t5",
        "encoder",
        "logreg",
    ]
    assert [one.on_frontier for one in mark_frontier([entry("a", 0.9, 1.0), entry("b", 0.9, 1.0)])] == [True, True]


def test_advice_takes_the_fastest_that_is_good_enough() -> None:
    first, second = advise(RUNGS, TEACHER)
    assert first == "At least 99% of the teacher's accuracy: no student."
    assert second == "At least 95% or 90% of the teacher's accuracy: encoder, finetune, all of the data, 5 ms."
    [only] = advise([entry("logreg", 0.99, 0.1)], TEACHER)
    assert "99% or 95% or 90%" in only
    assert "the best student's score" in advise(RUNGS, None)[0]
    assert advise([entry("a", 0.9, None)], None) == []


def test_an_interval_that_reaches_below_is_said() -> None:
    [said] = advise([entry("a", 0.98, 1.0, low=0.8)], TEACHER)
    assert said.endswith("though its interval extends below.")


def test_the_teacher_is_priced_by_its_extraction() -> None:
    facts = [TeacherFacts("llm", 0.9, "test")]
    summary = {"seconds": 60.0, "splits": {"train": {"requests": 300, "completions": 900, "cost_usd": 1.5}}}
    costs = price_teacher(facts, summary)
    assert costs is not None
    assert costs.usd_per_1000 == pytest.approx(5 / 3)
    assert costs.milliseconds == pytest.approx(200.0)
    unknown = price_teacher(facts, {"splits": {"train": {"requests": 3, "completions": 3, "cost_usd": None}}})
    assert unknown is not None
    assert unknown.usd_per_1000 is None
    assert price_teacher([], None) is None
    replay = {"seconds": 0.3, "splits": {"train": {"requests": 300, "completions": 300, "cost_usd": 0.0}}}
    replayed = price_teacher([TeacherFacts("recorded", 0.9, "test", replayed=True)], replay)
    assert replayed is not None
    assert (replayed.usd_per_1000, replayed.milliseconds) == (None, None)  # reading files is neither


def test_a_resumed_extraction_prices_all_of_its_answers_and_is_no_measure_of_speed() -> None:
    """Dollars are those of all runs, so they buy all answers and not those of the last run."""
    train = {"examples": 900, "requests": 0, "cached": 0, "cost_usd": 9.0}  # of an earlier run
    test = {"examples": 100, "requests": 20, "cached": 80, "cost_usd": 1.0}
    costs = price_teacher(
        [TeacherFacts("llm", 0.9, "test")], {"seconds": 5.0, "splits": {"train": train, "test": test}}
    )
    assert costs is not None
    assert (costs.usd_per_1000, costs.milliseconds) == (10.0, None)


def test_a_teachers_accuracy_is_no_measure_of_students_with_another_metric() -> None:
    costs = price_teacher([TeacherFacts("llm", 0.9, "test")], None, "rouge_l")
    assert costs is not None
    assert (costs.score, costs.split) == (None, None)
    assert "the best student's score" in advise(RUNGS, costs)[0]
    assert advise([entry("a", -3.0, 1.0)], costs) == []  # no share of a score below zero is a requirement


def test_the_plot_is_drawn() -> None:
    assert b"<svg" in draw_frontier(mark_frontier(RUNGS), TEACHER, "svg")
    assert draw_frontier([entry("a$b", 0.5, None)], None, "png").startswith(b"\x89PNG")
