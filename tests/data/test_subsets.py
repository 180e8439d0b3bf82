"""Which examples a run uses."""

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import Example
from dsbs.core.terminal import log_once
from dsbs.data.subsets import cut_validation, parse_fraction, sample_fraction, sample_ids, select
from dsbs.tasks.answers import FreeAnswers
from dsbs.tasks.base import Task
from dsbs.tasks.triage import TriageTask

IDS = [f"example {number}" for number in range(200)]


@dataclass
class Bare(Task):
    """Some splits of some sizes; ``shuffled`` changes the order of the source, ``repeated`` asks everything twice."""

    kind: str = "bare"
    name: str = "bare"
    train: int = 100
    validation: int = 0
    shuffled: int = 0
    repeated: bool = False

    @property
    def answers(self) -> FreeAnswers:
        return FreeAnswers()

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test") if self.validation else ("train", "test")

    def examples(self, split: str) -> Iterator[Example]:
        ids = [f"{split} {number}" for number in range(getattr(self, split, 10))]
        random.Random(self.shuffled).shuffle(ids)
        for id in ids:
            yield Example(id, f"Number {' ' * int(id[-1])}{int(id.split()[1]) // 2}?" if self.repeated else id, "yes")


@given(st.permutations(IDS[:40]), st.sampled_from([1 / 8, 0.3, 0.5, 1.0]), st.integers(0, 5))
@settings(max_examples=30, deadline=None)
def test_the_order_of_the_source_does_not_change_what_is_drawn(ids: list[str], fraction: float, seed: int) -> None:
    assert sample_fraction(ids, fraction, seed) == sample_fraction(IDS[:40], fraction, seed)


@pytest.mark.parametrize("seed", range(5))
def test_a_smaller_fraction_lies_within_a_larger_one(seed: int) -> None:
    draws = [sample_fraction(IDS, fraction, seed) for fraction in (0.01, 1 / 8, 1 / 4, 1 / 3, 1 / 2, 1)]
    assert [len(draw) for draw in draws] == [2, 25, 50, 67, 100, 200]
    assert all(small <= large for small, large in itertools.pairwise(draws))


def test_another_seed_draws_other_examples() -> None:
    assert sample_fraction(IDS, 1 / 4, 0) != sample_fraction(IDS, 1 / 4, 1)


def test_the_smallest_fraction_is_one_example() -> None:
    assert len(sample_fraction(IDS, 1e-9, 0)) == 1
    assert sample_fraction([], 0.5, 0) == set()


@pytest.mark.parametrize("fraction", [1 / 8, 1 / 4, 1])
def test_validation_is_cut_off_train_and_is_the_same_at_every_fraction_and_seed(fraction: float) -> None:
    whole = select(Bare(), 1, seed=0, split_seed=0)
    part = select(Bare(), fraction, seed=7, split_seed=0)
    assert part.validation == whole.validation
    assert len(part.validation) == 10
    assert not part.validation & part.train
    assert len(part.train) == round(90 * fraction)
    assert part.validation_split == "train"


def test_split_seed_alone_moves_the_cut() -> None:
    assert select(Bare(), 1, 0, split_seed=0).validation != select(Bare(), 1, 0, split_seed=1).validation


def test_an_own_validation_split_stays_whole_and_train_gives_nothing_away() -> None:
    chosen = select(Bare(validation=30), 1 / 4, seed=0, split_seed=0)
    assert (len(chosen.train), len(chosen.validation), chosen.validation_split) == (25, 30, "validation")


def test_validation_shrinks_with_the_fraction_where_asked_to() -> None:
    task = Bare(train=1000, validation_fraction=True)
    small, large = (select(task, fraction, 0, 0) for fraction in (1 / 4, 1 / 2))
    assert (len(small.validation), len(large.validation)) == (25, 50)
    assert small.validation < large.validation


@pytest.mark.parametrize("with_validation", [False, True])
def test_the_teacher_is_asked_about_exactly_what_the_run_uses(with_validation: bool) -> None:
    chosen = select(Bare(), 1 / 4, seed=3, split_seed=0)
    asked = chosen.by_split(with_validation)
    assert asked == {"train": chosen.train | (chosen.validation if with_validation else frozenset())}
    own = select(TriageTask(name="triage", products=12, complaints=12, train=64, validation=16, test=16), 0.25, 3, 0)
    assert set(own.by_split(with_validation)) == ({"train", "validation"} if with_validation else {"train"})


def test_a_source_in_another_order_gives_the_same_selection() -> None:
    assert select(Bare(shuffled=1), 1 / 4, 0, 0) == select(Bare(shuffled=2), 1 / 4, 0, 0)


@pytest.mark.parametrize("size", [0, 1])
def test_too_few_examples_are_told(size: int) -> None:
    with pytest.raises(DataError, match="at least one of each is needed"):
        select(Bare(train=size), 1, 0, 0)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", "1/0", "nan", "inf", "half", "", None])
def test_a_share_out_of_range_names_the_key_and_an_example(value: object) -> None:
    with pytest.raises(ConfigError, match=r"data_fraction=.*such as 0.125 or 1/8"):
        parse_fraction(value)  # type: ignore[arg-type]


@given(st.fractions(min_value=Fraction(1, 1000), max_value=1))
def test_any_fraction_can_be_written_as_one(fraction: Fraction) -> None:
    assert parse_fraction(str(fraction)) == pytest.approx(float(fraction))


@given(st.lists(st.integers(0, 30), min_size=2, max_size=60), st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.5]))
@settings(max_examples=60, deadline=None)
def test_equal_inputs_stay_on_one_side_of_the_cut(numbers: list[int], seed: int, share: float) -> None:
    inputs = {f"train-{place}": bytes([number]) for place, number in enumerate(numbers)}
    cut = cut_validation(inputs, share, seed)
    if len(set(numbers)) > 1:
        assert not {inputs[id] for id in cut} & {key for id, key in inputs.items() if id not in cut}
    assert cut == cut_validation(dict(reversed(inputs.items())), share, seed)
    if len(set(numbers)) == len(numbers):
        assert cut == sample_ids(inputs, round(share * len(inputs)), seed, "validation")  # as it always was
    elif round(share * len(inputs)):
        assert cut


def test_rows_of_a_table_with_equal_inputs_are_validated_on_or_learnt_from() -> None:
    selection = select(Bare(repeated=True), 1, 0, 0)
    assert len(selection.validation) == 10
    assert all(
        (f"train {number}" in selection.train) == (f"train {number ^ 1}" in selection.train) for number in range(100)
    )


@pytest.mark.parametrize(
    ("labels", "told"), [("yyynnn", ""), ("ynyyyn", ", 2 of them with another label"), ("y?nyy?", ", 1 of them with")]
)
def test_equal_inputs_with_other_labels_are_reported(
    labels: str, told: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    inputs = ("It leaks.", "it  leaks.", "It leaks.", "It broke.", "It fell.", "It fell.")
    rows = [
        Example(str(number), text, None if label == "?" else label)
        for number, (text, label) in enumerate(zip(inputs, labels, strict=True))
    ]
    monkeypatch.setattr(Bare, "examples", lambda self, split: iter(rows))
    log_once.cache_clear()
    with caplog.at_level("INFO"):
        select(Bare(validation_share=0.3), 1, 0, 0)
    assert f"3 rows of train with the input of another row{told}" in caplog.text
    assert bool(told) == ("another label" in caplog.text)


@pytest.mark.parametrize("rows", [2, 3, 4, 7])
def test_what_is_said_of_too_few_rows_helps(rows: int) -> None:
    with pytest.raises(DataError, match=r"0 to validate on.*task\.validation_share=([\d.]+) splits one off") as refused:
        select(Bare(train=rows, validation_share=0.01), 1, 0, 0)
    share = float(str(refused.value).rsplit("validation_share=", 1)[1].split()[0])
    assert len(select(Bare(train=rows, validation_share=share), 1, 0, 0).validation) == 1
    with pytest.raises(DataError, match="Give more rows"):
        select(Bare(train=1), 1, 0, 0)
