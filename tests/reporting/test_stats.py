"""Intervals and comparisons, against numbers worked out by other means and by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dsbs.reporting.stats import (
    adjust_holm,
    choose_verdict,
    compare_accuracies,
    estimate_accuracy,
    wilson_interval,
)


def answers(generator: np.random.Generator, seeds: int, examples: int, spread: float) -> NDArray[np.bool_]:
    """Draw crossed answers: examples of different difficulty, seeds of different quality."""
    difficulty = generator.normal(1.2, 1.5, examples)
    quality = generator.normal(0, spread, (seeds, 1))
    return difficulty + quality + generator.logistic(0, 0.7, (seeds, examples)) > 0


def test_two_seeds_give_students_interval() -> None:
    estimate = estimate_accuracy([0.80, 0.84], examples=1000)
    low, high = stats.t.interval(0.95, df=1, loc=0.82, scale=0.02)
    assert estimate.mean == pytest.approx(0.82)
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(min(1.0, high)))
    assert estimate.method == "seeds"


def test_one_seed_gives_wilsons_interval_and_says_so() -> None:
    estimate = estimate_accuracy([0.9], examples=200)
    expected = stats.binomtest(180, 200).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == (pytest.approx(expected.low), pytest.approx(expected.high))
    assert estimate.method == "test set"


def test_seeds_that_agree_exactly_do_not_pretend_to_be_certain() -> None:
    estimate = estimate_accuracy([0.9, 0.9], examples=200)
    assert (estimate.low, estimate.high) == wilson_interval(0.9, 200)


def test_an_interval_stays_between_nothing_and_everything() -> None:
    assert estimate_accuracy([0.5, 1.0], examples=10).high == 1.0
    assert estimate_accuracy([0.0], examples=10).low == 0.0
    assert estimate_accuracy([1.0], examples=10).low < 0.8


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("examples", [1, 7, 100, 1221, 2000, 9741])
def test_wilsons_interval_holds_the_share_at_both_ends(share: float, examples: int) -> None:
    low, high = wilson_interval(share, examples)
    assert 0.0 <= low <= share <= high <= 1.0
    assert high - low > 0


def test_an_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        estimate_accuracy([], examples=10)


def test_with_one_seed_each_the_comparison_is_the_paired_test_on_examples() -> None:
    generator = np.random.default_rng(0)
    candidate, baseline = answers(generator, 1, 500, 0), answers(generator, 1, 500, 0)
    result = compare_accuracies(candidate, baseline)
    expected = stats.ttest_rel(candidate[0].astype(float), baseline[0].astype(float))
    assert result.difference == pytest.approx(candidate.mean() - baseline.mean())
    assert result.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (result.low, result.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_where_every_example_is_alike_the_comparison_is_welchs_test_on_seeds() -> None:
    # Each seed answers all right or all wrong, so that only the spread between seeds is left.
    candidate = np.repeat([[True], [True], [True], [False]], 50, axis=1)
    baseline = np.repeat([[True], [False], [False]], 50, axis=1)
    result = compare_accuracies(candidate, baseline)
    expected = stats.ttest_ind([1, 1, 1, 0], [1, 0, 0], equal_var=False)
    assert result.p_value == pytest.approx(expected.pvalue)


def test_swapping_the_two_turns_the_sign() -> None:
    generator = np.random.default_rng(1)
    one, other = answers(generator, 3, 200, 0.2), answers(generator, 2, 200, 0.2)
    there, back = compare_accuracies(one, other), compare_accuracies(other, one)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert there.p_value == pytest.approx(back.p_value)


def test_equal_answers_show_no_difference() -> None:
    same = np.array([[True, False, True]])
    assert compare_accuracies(same, same).p_value == 1.0
    assert compare_accuracies(np.ones((1, 5), bool), np.zeros((1, 5), bool)).p_value == 0.0


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", [0.05, 0.4])
def test_the_interval_covers_no_difference_at_least_about_95_times_in_100(seeds: int, spread: float) -> None:
    """A bootstrap over two seeds covers it 75 times in 100 at the larger spread."""
    generator = np.random.default_rng(seeds)
    covered = 0
    for _ in range(300):
        difficulty = generator.normal(1.2, 1.5, 300)
        sides = [
            difficulty + generator.normal(0, spread, (seeds, 1)) + generator.logistic(0, 0.7, (seeds, 300)) > 0
            for _ in range(2)
        ]
        result = compare_accuracies(*sides)
        covered += result.low <= 0 <= result.high
    assert covered >= 0.92 * 300


def test_answers_to_different_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        compare_accuracies(np.ones((2, 5), bool), np.ones((2, 6), bool))
    with pytest.raises(ValueError, match="two test examples"):
        compare_accuracies(np.ones((2, 1), bool), np.ones((2, 1), bool))


def test_holm_keeps_the_order_and_never_exceeds_one() -> None:
    assert adjust_holm([]) == []
    assert adjust_holm([0.2]) == [0.2]
    assert adjust_holm([0.9, 0.01, 0.8]) == pytest.approx([1.0, 0.03, 1.0])


def test_the_verdict_says_how_sure_a_difference_is() -> None:
    assert choose_verdict(0.05, 0.01) == "better"
    assert choose_verdict(-0.05, 0.01) == "worse"
    assert choose_verdict(0.05, 0.06) == "no difference shown"
    assert choose_verdict(0.0, 1.0) == "no difference shown"
