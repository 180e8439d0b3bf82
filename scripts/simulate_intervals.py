"""How often the report's intervals hold the truth, and how often its verdicts are wrong, in simulated studies.

    python scripts/simulate_intervals.py                the tables of docs/report.md, some 20 minutes on one core
    python scripts/simulate_intervals.py --studies 100  a quick look

An answer is right with probability Phi(level + difficulty of the example + quality of the seed): seeds and examples are
crossed, as in a study. The true mean is known in closed form, so truth needs no simulation.
"""

import argparse
import itertools
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from dsbs.reporting.claims import SHOWN, choose_claim
from dsbs.reporting.savings import bootstrap_crossing, find_crossing
from dsbs.reporting.stats import adjust_holm, compare_scores, estimate_score

DIFFICULTY = 1.5  # spread between examples, in the units of Phi
ALIKE = 0.8  # how far what is hard for one method is hard for the other
MARGIN = 0.02
REGIMES = ((0.80, 1000), (0.95, 200), (0.99, 1000))  # accuracy, test examples
SPREADS = (0.0, 0.5, 1.0, 2.0, 4.0)  # standard deviation between seeds, in points
SEEDS = (2, 3, 5, 10)


class Method:
    """A method of known accuracy.

    Args:
        accuracy: its true mean over seeds and examples.
        spread: standard deviation of a seed's true accuracy, in points.
    """

    def __init__(self, accuracy: float, spread: float) -> None:
        place = stats.norm.ppf(accuracy)
        # A seed of quality u has the accuracy Phi((level + quality u) / sqrt(1 + difficulty^2)); its slope at u = 0.
        slope = stats.norm.pdf(place) / math.sqrt(1 + DIFFICULTY**2)
        self.quality = spread / 100 / slope
        self.level = place * math.sqrt(1 + DIFFICULTY**2 + self.quality**2)

    def answer(
        self, difficulty: NDArray[np.float64], qualities: NDArray[np.float64], rng: np.random.Generator
    ) -> NDArray[np.float64]:
        """Return the scores of some seeds, (seeds, examples)."""
        chance = self.level + DIFFICULTY * difficulty + self.quality * qualities[:, None]
        return (chance + rng.standard_normal((len(qualities), len(difficulty))) > 0).astype(float)


def draw_difficulties(examples: int, methods: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return how hard each example is for each method, (methods, examples); positive is easy."""
    shared = rng.standard_normal(examples)
    own = rng.standard_normal((methods, examples))
    return math.sqrt(ALIKE) * shared + math.sqrt(1 - ALIKE) * own


def studies(count: int) -> Iterator[np.random.Generator]:
    """Yield independent random generators, the same in every run."""
    yield from (np.random.default_rng([0, number]) for number in range(count))


def simulate_condition(accuracy: float, examples: int, spread: float, seeds: int, count: int) -> tuple[float, float]:
    """Return how often the interval of a condition holds the truth: ours, and one over seeds alone."""
    method, ours, alone = Method(accuracy, spread), 0, 0
    for rng in studies(count):
        (difficulty,) = draw_difficulties(examples, 1, rng)
        scores = method.answer(difficulty, rng.standard_normal(seeds), rng)
        estimate = estimate_score(scores)
        ours += estimate.low <= accuracy <= estimate.high
        means = scores.mean(axis=1)
        reach = stats.t.ppf(0.975, seeds - 1) * means.std(ddof=1) / math.sqrt(seeds)
        alone += abs(means.mean() - accuracy) <= reach
    return ours / count, alone / count


def simulate_pair(
    accuracy: float, examples: int, spread: float, seeds: int, count: int, difference: float, alike_seeds: float = 0.0
) -> dict[str, float]:
    """Return how a comparison comes out where the truth is ``difference``, unpaired and paired by seed."""
    candidate, baseline = Method(accuracy + difference, spread), Method(accuracy, spread)
    told = dict.fromkeys(("covered", "significant", "shown", "paired covered", "width", "paired width"), 0.0)
    for rng in studies(count):
        hard = draw_difficulties(examples, 2, rng)
        shared, own = rng.standard_normal(seeds), rng.standard_normal((2, seeds))
        qualities = math.sqrt(alike_seeds) * shared + math.sqrt(1 - alike_seeds) * own
        first, second = [method.answer(hard[i], qualities[i], rng) for i, method in enumerate((candidate, baseline))]
        result = compare_scores(first, second)
        told["covered"] += result.low <= difference <= result.high
        told["significant"] += result.p_value < 0.05
        told["shown"] += choose_claim(result.p_above(-MARGIN), result.p_below(-MARGIN), one_seed=False) == SHOWN
        told["width"] += 100 * (result.high - result.low)
        if alike_seeds:
            paired = compare_scores(first, second, paired=True)
            told["paired covered"] += paired.low <= difference <= paired.high
            told["paired width"] += 100 * (paired.high - paired.low)
    return {name: value / count for name, value in told.items()}


def simulate_family(accuracy: float, effects: tuple[float, ...], seeds: int, spread: float, count: int) -> list[float]:
    """Return how often a family of comparisons with one baseline finds a difference that is not there, and how often
    all its intervals hold the truth.
    """
    methods = [Method(accuracy + effect, spread) for effect in (0.0, *effects)]
    false, all_held = 0, 0
    for rng in studies(count):
        hard = draw_difficulties(1000, len(methods), rng)
        baseline, *others = (
            method.answer(hard[i], rng.standard_normal(seeds), rng) for i, method in enumerate(methods)
        )
        results = [compare_scores(other, baseline) for other in others]
        adjusted = adjust_holm([result.p_value for result in results])
        false += any(p < 0.05 for p, effect in zip(adjusted, effects, strict=True) if not effect)
        levels = [1 - 0.05 / max(1.0, p / result.p_value) for result, p in zip(results, adjusted, strict=True)]
        ends = [result.interval(level) for result, level in zip(results, levels, strict=True)]
        all_held += all(low <= effect <= high for (low, high), effect in zip(ends, effects, strict=True))
    return [false / count, all_held / count]


def simulate_saving(seeds: int, spread: float, count: int) -> float:
    """Return how often the bootstrap interval holds the share on which a curve reaches a baseline's score."""
    shares = np.array([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0])
    curve, target, held = np.array([0.66, 0.73, 0.79, 0.83, 0.86]), 0.80, 0
    truth = find_crossing(shares, curve, target)
    methods = [Method(level, spread) for level in (*curve, target)]
    for number, rng in enumerate(studies(count)):
        hard = draw_difficulties(1000, len(methods), rng)
        *line, baseline = (method.answer(hard[i], rng.standard_normal(seeds), rng) for i, method in enumerate(methods))
        low, high = bootstrap_crossing(shares, line, baseline, resamples=500, seed=number)
        held += low <= truth <= high
    return held / count


def percent(*shares: float) -> list[str]:
    """Return shares as they stand in the tables."""
    return [f"{100 * share:.1f}" for share in shares]


def fits(accuracy: float, spread: float) -> bool:
    """Tell whether seeds can spread so far: beyond, accuracies pile up below 100% and no interval is of use."""
    return spread <= 100 * (1 - accuracy)


def fill(cells: list[str]) -> list[str]:
    """Return the cells of a row, with a dash for each spread that does not fit."""
    return cells + ["-"] * (len(SPREADS) - len(cells))


def show(title: str, heads: list[str], rows: list[list[str]]) -> None:
    """Print a table in Markdown."""
    print(f"\n{title}\n")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000, help="simulated studies of each cell")
    count = parser.parse_args().studies
    grid = list(itertools.product(REGIMES, SEEDS))
    print(f"{count:,} studies a cell, so a share of 95% is known to {196 * math.sqrt(0.95 * 0.05 / count):.1f} points.")
    heads = ["accuracy, examples", "seeds", *(f"spread {spread:g}" for spread in SPREADS)]

    rows, alone = [], []
    for (accuracy, examples), seeds in grid:
        fitting = [spread for spread in SPREADS if fits(accuracy, spread)]
        found = [simulate_condition(accuracy, examples, spread, seeds, count) for spread in fitting]
        name = [f"{100 * accuracy:g}%, {examples:,}", str(seeds)]
        rows.append([*name, *fill(percent(*(ours for ours, _ in found)))])
        alone.append([*name, *fill(percent(*(seeds_alone for _, seeds_alone in found)))])
    show("Interval of a condition: how often it holds the truth (95 is aimed at)", heads, rows)
    show("The same for Student's interval over seeds alone, as it was before", heads, alone)

    tables: dict[str, list[list[str]]] = {"covered": [], "significant": [], "wrong": [], "shown": []}
    for (accuracy, examples), seeds in grid:
        name = [f"{100 * accuracy:g}%, {examples:,}", str(seeds)]
        fitting = [spread for spread in SPREADS if fits(accuracy, spread)]
        same = [simulate_pair(accuracy, examples, spread, seeds, count, 0.0) for spread in fitting]
        worse = [simulate_pair(accuracy, examples, spread, seeds, count, -MARGIN) for spread in fitting]
        for key in ("covered", "significant", "shown"):
            tables[key].append([*name, *fill(percent(*(one[key] for one in same)))])
        tables["wrong"].append([*name, *fill(percent(*(one["shown"] for one in worse)))])
    show("Interval of a difference: how often it holds the truth (no difference; 95)", heads, tables["covered"])
    show("Any difference is claimed where there is none (at most 5)", heads, tables["significant"])
    show("Non-inferiority is shown where the candidate is worse by the margin (at most 5)", heads, tables["wrong"])
    show("Non-inferiority is shown where there is no difference (power)", heads, tables["shown"])

    rows = []
    for seeds, spread in itertools.product((4, 5, 10), (1.0, 2.0, 4.0)):
        pair = simulate_pair(0.8, 1000, spread, seeds, count, 0.0, alike_seeds=0.8)
        widths = [f"{pair[key]:.1f}" for key in ("width", "paired width")]
        rows.append([str(seeds), f"{spread:g}", *percent(pair["covered"], pair["paired covered"]), *widths])
    heads = ["seeds", "spread", "unpaired holds", "paired holds", "unpaired width, points", "paired width, points"]
    show("Seeds that correlate by 0.8 between the methods (80%, 1,000 examples)", heads, rows)

    rows = []
    for effects in ((0.0,) * 4, (0.05, 0.0, 0.0, 0.0), (0.05, 0.03, 0.0, 0.0)):
        for seeds in (3, 5):
            differences = ", ".join(f"{100 * effect:+g}" for effect in effects)
            rows.append([differences, str(seeds), *percent(*simulate_family(0.8, effects, seeds, 1.0, count))])
    heads = ["true differences, points", "seeds", "a false claim (at most 5)", "all intervals hold (95)"]
    show("Four comparisons with one baseline, p-values by Holm (80%, 1,000 examples, spread 1)", heads, rows)

    few = max(1, count // 4)
    cells = itertools.product((3, 5), (0.5, 1.0, 2.0))
    rows = [[str(seeds), f"{spread:g}", *percent(simulate_saving(seeds, spread, few))] for seeds, spread in cells]
    heads = ["seeds", "spread", "holds"]
    show(f"Labels saved: how often the bootstrap interval holds the true share (95; {few} studies)", heads, rows)


if __name__ == "__main__":
    main()
