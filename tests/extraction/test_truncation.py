"""Prompts that a server truncates and says nothing of."""

import pytest

from dsbs.extraction.truncation import CutPrompts


@pytest.mark.parametrize(
    ("seen", "count"),
    [
        ([(20_000, 2048)], 1),  # ten characters a token
        ([(9_000, 2048), (10_000, 2048), (12_000, 2048), (8_000, 1900), (13_000, 2048)], 2),  # whatever their length
        ([(3_000, 2048), (4_000, 2048), (5_000, 2048)], 1),  # Chinese
        ([(9_000, 2048), (12_000, 2700), (15_000, 3400)], 0),
        ([(9_000, 2048), (9_050, 2048), (9_100, 2048), (9_150, 2048)], 0),  # prompts that hardly differ
        ([(2_100, 0), (90_000, 0), (3_000, 0)], 0),  # unknown
        ([(300, 20), (900, 20), (1_900, 20)], 0),  # too short to tell
    ],
)
def test_prompts_with_too_few_tokens_or_all_with_the_same_are_noticed(seen: list[tuple[int, int]], count: int) -> None:
    prompts = CutPrompts()
    told = [prompts.look(characters, tokens) for characters, tokens in seen]
    assert (prompts.count, sum(told)) == (count, bool(count))
    assert not count or f"{seen[-1][1] if len(seen) > 1 else 2048:,} prompt tokens" in prompts.describe()
