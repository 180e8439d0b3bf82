"""Controls: what each of them takes away from rationales, and what it leaves as it is."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dsbs.core.errors import ConfigError
from dsbs.core.records import Annotation
from dsbs.data.controls import CONTROLS, Control, TokenizedExample, derange
from dsbs.tasks import TASKS

NAMES = [name for name in CONTROLS if name != "none"]
SAME_LENGTH = ["permuted", "label_repeated", "random_text", "extra_compute"]
EXCHANGING = ["shuffled", "same_label"]


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, dtype=np.int32)


def subset(count: int = 60, labels: int = 3) -> list[TokenizedExample]:
    """Return examples of some labels with rationales of different lengths and, mostly, wordings."""
    rng = np.random.default_rng(7)
    return [
        TokenizedExample(
            ids(*rng.integers(10, 90, 4 + n % 5), 1),
            ids(100 + n % labels, 200),
            ids(*rng.integers(10, 30, 1 + n % 7)),
        )
        for n in range(count)
    ]


def apply(name: str, examples: list[TokenizedExample], seed: int = 0, **changes: float) -> list[TokenizedExample]:
    return CONTROLS[name](name=name, **changes).rearrange(examples, np.random.default_rng(seed))  # type: ignore[arg-type]


def words(examples: list[TokenizedExample]) -> list[tuple[int, ...]]:
    return [tuple(one.rationale.tolist()) for one in examples if one.rationale is not None]


@pytest.mark.parametrize("name", NAMES)
def test_labels_and_inputs_are_never_touched(name: str) -> None:
    before, after = subset(), apply(name, subset())
    for one, other in zip(before, after, strict=True):
        assert one.label.tolist() == other.label.tolist()
        assert one.input.tolist() == other.input.tolist()
        assert other.rationale is not None
        assert other.rationale.dtype == np.int32


@pytest.mark.parametrize("name", NAMES)
def test_a_control_depends_on_its_seed_alone(name: str) -> None:
    first, again, other = (words(apply(name, subset(), seed)) for seed in (0, 0, 1))
    assert first == again
    if name not in ("label_repeated", "matched_information", "extra_compute"):
        assert first != other


@pytest.mark.parametrize("name", EXCHANGING)
def test_exchanging_keeps_all_rationales_and_leaves_none_in_its_place(name: str) -> None:
    before, after = subset(), apply(name, subset())
    assert Counter(words(before)) == Counter(words(after))
    assert not any(one == other for one, other in zip(words(before), words(after), strict=True))


def test_same_label_stays_within_the_label() -> None:
    before, after = subset(), apply("same_label", subset())
    owners = {
        words: {one.label.tobytes() for one in before if tuple(one.rationale.tolist()) == words}
        for words in words(before)
    }
    for one, said in zip(after, words(after), strict=True):
        assert one.label.tobytes() in owners[said]


def test_the_only_example_of_a_label_learns_no_rationale() -> None:
    alone = TokenizedExample(ids(1), ids(999), ids(5, 6))
    *others, last = apply("same_label", [*subset(6), alone])
    assert last.rationale is None
    assert all(one.rationale is not None for one in others)


@pytest.mark.parametrize("name", SAME_LENGTH)
def test_lengths_match_in_the_students_tokens(name: str) -> None:
    assert [len(one) for one in words(subset())] == [len(one) for one in words(apply(name, subset()))]


def test_permuted_keeps_the_tokens_of_each_rationale() -> None:
    before, after = words(subset()), words(apply("permuted", subset()))
    assert [sorted(one) for one in before] == [sorted(one) for one in after]
    assert before != after


def test_label_repeated_holds_nothing_but_the_label() -> None:
    for one in apply("label_repeated", subset()):
        assert one.rationale is not None
        assert one.rationale.tolist() == [*one.label.tolist() * 9][: len(one.rationale)]


def test_random_text_is_drawn_from_the_rationales_own_tokens() -> None:
    many = subset(2000)
    before, after = Counter(token for one in words(many) for token in one), Counter()
    after.update(token for one in words(apply("random_text", many)) for token in one)
    assert set(after) <= set(before)
    for token, count in before.items():
        assert after[token] == pytest.approx(count, abs=6 * count**0.5)


def test_extra_compute_writes_the_input_again_from_a_copy_with_gaps() -> None:
    examples = subset()
    found = apply("extra_compute", examples)
    for one in found:
        assert one.noised is not None
        assert one.noised[-1] == one.input[-1]
        rest = iter(one.input.tolist())
        assert all(token in rest for token in one.noised.tolist())  # in their order
        assert set(one.rationale.tolist()) <= set(one.input.tolist()[:-1])  # type: ignore[union-attr]
    lost = 1 - sum(len(one.noised) for one in found) / sum(len(one.input) for one in found)  # type: ignore[arg-type]
    assert 0.15 < lost < 0.35


def test_noise_gives_a_share_of_rationales_that_came_with_another_label() -> None:
    examples = subset(200)
    home = {tuple(one.rationale.tolist()): one.label.tobytes() for one in examples if len(one.rationale) > 4}  # type: ignore[arg-type,union-attr]
    changed = {}
    for rate in (0.1, 0.4):
        after = apply("teacher_noise", examples, rate=rate)
        pairs = list(zip(examples, after, strict=True))
        changed[rate] = {n for n, (one, other) in enumerate(pairs) if one.rationale is not other.rationale}
        assert len(changed[rate]) == 200 * rate
        for position in changed[rate]:
            said = tuple(after[position].rationale.tolist())  # type: ignore[union-attr]
            assert home.get(said) != examples[position].label.tobytes()
    assert changed[0.1] < changed[0.4]


def test_matched_information_is_the_hidden_facts_alone() -> None:
    task = TASKS["triage"](name="triage")
    example = next(iter(task.examples("train")))
    annotation = Annotation(example.id, example.label, "The product is garden, the complaint is delivery.")
    control = CONTROLS["matched_information"](name="matched_information")
    assert control.rewrite(task, example, annotation).rationale == task.hidden_facts(example)
    with pytest.raises(ConfigError, match="does not know what is hidden"):
        control.rewrite(TASKS["table"](name="reviews"), example, annotation)


def test_no_control_changes_nothing_and_leaves_runs_their_names() -> None:
    assert Control().identity() is None
    assert Control().rearrange(subset(), np.random.default_rng(0)) is not None
    assert words(apply("none", subset())) == words(subset())


@pytest.mark.parametrize("name", CONTROLS)
def test_nothing_comes_of_nothing(name: str) -> None:
    assert apply(name, []) == []


@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_a_derangement_is_a_permutation_without_fixed_points(values: list[int], seed: int) -> None:
    order = derange(values, np.random.default_rng(seed))
    assert sorted(order) == list(range(len(values)))
    assert all(position != donor for position, donor in enumerate(order))


@given(st.lists(st.integers(0, 9), min_size=30, max_size=60), st.integers(0, 2**32 - 1))
@settings(max_examples=40, deadline=None)
def test_nobody_gets_an_equal_value_where_values_are_many(values: list[int], seed: int) -> None:
    order = derange(values, np.random.default_rng(seed))
    if max(Counter(values).values()) < len(values) / 3:
        assert all(values[position] != values[donor] for position, donor in enumerate(order))


@pytest.mark.parametrize(("name", "key", "value"), [("teacher_noise", "rate", 0), ("extra_compute", "noise", 1.0)])
def test_shares_are_checked(name: str, key: str, value: float) -> None:
    [fault] = CONTROLS[name](name=name, **{key: value}).faults()  # type: ignore[arg-type]
    assert fault.startswith(f"control.{key}={value}: expected a share")
