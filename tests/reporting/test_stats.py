"""Intervals and comparisons, against numbers worked out by other means and by simulation."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from dsbs.reporting.claims import choose_claim, choose_verdict, seeds_to_settle
from dsbs.reporting.stats import (
    adjust_holm,
    compare_scores,
    estimate_means,
    estimate_score,
    wilson_interval,
)


def answers(generator: np.random.Generator, seeds: int, examples: int, spread: float) -> NDArray[np.float64]:
    """Draw crossed answers: examples of different difficulty, seeds of different quality."""
    difficulty = generator.normal(1.2, 1.5, examples)
    quality = generator.normal(0, spread, (seeds, 1))
    return (difficulty + quality + generator.logistic(0, 0.7, (seeds, examples)) > 0).astype(float)


def test_one_seed_gives_wilsons_interval_and_says_so() -> None:
    estimate = estimate_score(np.array([[1.0] * 180 + [0.0] * 20]))
    expected = stats.binomtest(180, 200).proportion_ci(method="wilson")
    assert (estimate.low, estimate.high) == (
        pytest.approx(expected.low, abs=1e-3),
        pytest.approx(expected.high, abs=1e-3),
    )
    assert estimate.method == "test set"


def test_several_seeds_count_the_spread_of_seeds_and_of_examples() -> None:
    generator = np.random.default_rng(3)
    scores = answers(generator, 3, 400, 0.02)
    estimate = estimate_score(scores)
    seeds = scores.mean(axis=1).var(ddof=1) / 3
    examples = scores.mean(axis=0).var(ddof=1) / 400
    reach = np.hypot(stats.t.ppf(0.975, 2) * np.sqrt(seeds), 1.96 * np.sqrt(examples))
    assert estimate.method == "seeds and test set"
    assert estimate.high - estimate.low == pytest.approx(2 * reach, rel=0.05)  # Wilson's, so not quite symmetrical


def test_without_the_single_answers_the_interval_is_about_the_same() -> None:
    scores = answers(np.random.default_rng(4), 3, 400, 0.1)
    whole, part = estimate_score(scores), estimate_means(list(scores.mean(axis=1)), 400)
    assert part.mean == pytest.approx(whole.mean)
    assert (part.low, part.high) == (pytest.approx(whole.low, abs=0.02), pytest.approx(whole.high, abs=0.02))


def test_seeds_that_agree_exactly_do_not_pretend_to_be_certain() -> None:
    estimate = estimate_score(np.array([[1.0] * 180 + [0.0] * 20] * 2))
    assert estimate.low < 0.86
    assert estimate.high > 0.93


def test_from_five_seeds_on_the_noise_of_single_answers_is_counted_once() -> None:
    """Answers that are nothing but noise: the variance of their mean is p q / (seeds examples), not twice as much."""
    generator = np.random.default_rng(5)
    errors = {}
    for seeds in (4, 5):
        sides = ((generator.random((2, seeds, 300)) < 0.7).astype(float) for _ in range(200))
        variances = [compare_scores(one, other).error ** 2 for one, other in sides]
        errors[seeds] = np.mean(variances) / (2 * 0.7 * 0.3 / (seeds * 300))
    assert errors[4] == pytest.approx(2.0, abs=0.15)
    assert errors[5] == pytest.approx(1.0, abs=0.4)  # a little more: it is never less than its largest part


def test_scores_that_are_no_shares_get_the_interval_of_a_mean() -> None:
    scores = np.random.default_rng(6).normal(2.0, 0.5, (1, 200))
    estimate = estimate_score(scores)
    low, high = stats.norm.interval(0.95, loc=scores.mean(), scale=stats.sem(scores[0]))
    assert (estimate.low, estimate.high) == (pytest.approx(low), pytest.approx(high))


def test_an_interval_stays_between_nothing_and_everything() -> None:
    assert estimate_score(np.array([[1.0, 0.0] * 5, [1.0] * 10])).high <= 1.0
    assert estimate_score(np.zeros((1, 10))).low == 0.0
    assert estimate_score(np.ones((3, 10))).low < 0.8


@pytest.mark.parametrize("share", [0.0, 1.0])
@pytest.mark.parametrize("examples", [1, 7, 100, 1221, 2000, 9741])
def test_wilsons_interval_holds_the_share_at_both_ends(share: float, examples: int) -> None:
    low, high = wilson_interval(share, examples)
    assert 0.0 <= low <= share <= high <= 1.0
    assert high - low > 0


def test_an_accuracy_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one seed"):
        estimate_score(np.zeros((0, 10)))


def test_with_one_seed_each_the_comparison_is_the_paired_test_on_examples() -> None:
    generator = np.random.default_rng(0)
    candidate, baseline = answers(generator, 1, 500, 0), answers(generator, 1, 500, 0)
    result = compare_scores(candidate, baseline)
    expected = stats.ttest_rel(candidate[0].astype(float), baseline[0].astype(float))
    assert result.difference == pytest.approx(candidate.mean() - baseline.mean())
    assert result.p_value == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval()
    assert (result.low, result.high) == (pytest.approx(interval.low), pytest.approx(interval.high))


def test_where_every_example_is_alike_the_comparison_is_welchs_test_on_seeds() -> None:
    # Each seed answers all right or all wrong, so that only the spread between seeds is left.
    candidate = np.repeat([[1.0], [1.0], [1.0], [0.0]], 500, axis=1)
    baseline = np.repeat([[1.0], [0.0], [0.0]], 500, axis=1)
    result = compare_scores(candidate, baseline)
    expected = stats.ttest_ind([1, 1, 1, 0], [1, 0, 0], equal_var=False)
    assert result.p_value == pytest.approx(expected.pvalue, rel=1e-3)


def test_swapping_the_two_turns_the_sign() -> None:
    generator = np.random.default_rng(1)
    one, other = answers(generator, 3, 200, 0.2), answers(generator, 2, 200, 0.2)
    there, back = compare_scores(one, other), compare_scores(other, one)
    assert there.difference == pytest.approx(-back.difference)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert there.p_value == pytest.approx(back.p_value)


def test_equal_answers_show_no_difference() -> None:
    same = np.array([[1.0, 0.0, 1.0]])
    assert compare_scores(same, same).p_value == 1.0
    assert compare_scores(np.full((1, 5), 0.25), np.zeros((1, 5))).p_value == 0.0  # numbers that leave no doubt


def test_answers_that_are_all_alike_do_not_pretend_to_be_certain() -> None:
    """Two students that are right everywhere on 60 examples may still differ by three points on others."""
    few, many = (compare_scores(np.ones((1, count)), np.ones((1, count))) for count in (60, 1000))
    assert few.low < -0.02
    assert few.p_above(-0.02) > 0.05
    assert many.p_above(-0.02) < 0.05


def test_paired_seeds_cancel_what_they_share_and_are_the_paired_test_where_examples_are_alike() -> None:
    shared = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    candidate = (np.arange(1000) < (shared + np.array([0.02, 0.03, 0.01, 0.02, 0.02]))[:, None] * 1000).astype(float)
    baseline = (np.arange(1000) < shared[:, None] * 1000).astype(float)
    paired, apart = compare_scores(candidate, baseline, paired=True), compare_scores(candidate, baseline)
    assert paired.difference == pytest.approx(apart.difference)
    assert paired.p_value < 0.01 < apart.p_value
    assert paired.spread.paired
    with pytest.raises(ValueError, match="as many seeds"):
        compare_scores(candidate, baseline[:4], paired=True)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("spread", [0.05, 0.4])
def test_the_interval_covers_no_difference_at_least_about_95_times_in_100(seeds: int, spread: float) -> None:
    """A bootstrap over two seeds covers it 75 times in 100 at the larger spread."""
    generator = np.random.default_rng(seeds)
    covered = 0
    for _ in range(300):
        difficulty = generator.normal(1.2, 1.5, 300)
        sides = [
            (difficulty + generator.normal(0, spread, (seeds, 1)) + generator.logistic(0, 0.7, (seeds, 300)) > 0) * 1.0
            for _ in range(2)
        ]
        result = compare_scores(*sides)
        covered += result.low <= 0 <= result.high
    assert covered >= 0.92 * 300


def test_answers_to_different_examples_are_refused() -> None:
    with pytest.raises(ValueError, match="same examples"):
        compare_scores(np.ones((2, 5)), np.ones((2, 6)))
    with pytest.raises(ValueError, match="two test examples"):
        compare_scores(np.ones((2, 1)), np.ones((2, 1)))


def test_holm_keeps_the_order_and_never_exceeds_one() -> None:
    assert adjust_holm([]) == []
    assert adjust_holm([0.2]) == [0.2]
    assert adjust_holm([0.9, 0.01, 0.8]) == pytest.approx([1.0, 0.03, 1.0])


def test_the_verdict_says_how_sure_a_difference_is() -> None:
    assert choose_verdict(0.05, 0.01) == "better"
    assert choose_verdict(-0.05, 0.01) == "worse"
    assert choose_verdict(0.05, 0.06) == "no difference shown"
    assert choose_verdict(0.0, 1.0) == "no difference shown"


def test_a_single_seed_is_never_more_than_this_student() -> None:
    assert choose_verdict(0.05, 1e-9, one_seed=True) == "this student only"
    assert choose_claim(1e-9, 1.0, one_seed=True) == "this student only"


def test_a_claim_is_held_against_the_margin_and_not_against_zero() -> None:
    """A point worse for sure, and no worse than two points for sure: the claim is shown, and so is the loss."""
    generator = np.random.default_rng(7)
    baseline = (generator.random((5, 20_000)) < 0.90).astype(float)
    candidate = np.where(generator.random(baseline.shape) < 0.01, 0.0, baseline)
    result = compare_scores(candidate, baseline)
    assert choose_claim(result.p_above(-0.02), result.p_below(-0.02), one_seed=False) == "shown"
    assert choose_verdict(result.difference, result.p_value) == "worse"


def test_seeds_that_settle_a_claim_settle_it_and_one_seed_cannot_tell() -> None:
    generator = np.random.default_rng(8)
    sides = [answers(generator, 3, 2000, 0.25) for _ in range(2)]
    remedy = seeds_to_settle(compare_scores(*sides), margin=0.02)
    assert remedy is not None
    assert remedy.seeds is not None
    assert 2 <= remedy.seeds <= 100
    assert seeds_to_settle(compare_scores(sides[0][:1], sides[1]), margin=0.02) is None


def test_seeds_are_not_promised_to_show_what_holms_adjustment_leaves_open() -> None:
    """Eight comparisons share the 5%: more seeds than there are, where p is 0.01 for one of them."""
    generator = np.random.default_rng(11)
    for _ in range(200):
        result = compare_scores(*(answers(generator, 5, 400, 0.25) for _ in range(2)))
        adjusted = [min(1.0, 8 * p) for p in (result.p_above(-0.02), result.p_below(-0.02))]
        remedy = seeds_to_settle(result, margin=0.02, family=8)
        assert remedy is not None
        if choose_claim(*adjusted, one_seed=False) == "not shown" and remedy.seeds:
            assert remedy.seeds > 5


def test_a_test_set_that_is_too_small_is_said_to_be_so() -> None:
    generator = np.random.default_rng(9)
    sides = [(generator.random(50) + 0.05 * generator.random((3, 50)) < 0.5).astype(float) for _ in range(2)]
    remedy = seeds_to_settle(compare_scores(*sides), margin=0.02)
    assert remedy is not None
    assert remedy.seeds is None
    assert remedy.test_examples is not None
    assert remedy.test_examples > 50


def test_no_difference_of_accuracies_lies_beyond_100_points() -> None:
    few = compare_scores(np.array([[1.0, 1.0, 1.0], [1.0, 0.0, 1.0]]), np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    assert few.interval(0.99) == (-1.0, 1.0)
    means = compare_scores(np.array([[7.0, 9.0, 1.0], [9.0, 0.0, 5.0]]), np.array([[0.5, 2.0, 1.0], [0.0, 1.0, 4.0]]))
    assert means.high > 1
