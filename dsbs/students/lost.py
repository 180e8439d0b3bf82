"""What of its inputs a student does not read: what is cut off, and what it knows nothing of."""

from collections.abc import Iterable, Mapping, Sequence

WORTH_TELLING = 0.001  # share of unknown tokens


def count_lost(rows: Iterable[Sequence[int]], limit: int, unknown: int | None) -> dict[str, int]:
    """Count over inputs.

    Args:
        rows: their token ids; of those that are cut, more than ``limit``.
        limit: tokens that the student reads.
        unknown: the id that stands for whatever the tokenizer does not know, or None.

    Returns:
        ``inputs``, ``inputs_cut``, ``inputs_tokens`` and ``inputs_unknown`` (tokens).

    >>> count_lost([[5, 6, 7], [5, 0]], limit=2, unknown=0)
    {'inputs': 2, 'inputs_cut': 1, 'inputs_tokens': 5, 'inputs_unknown': 1}
    """
    counts = dict.fromkeys(("inputs", "inputs_cut", "inputs_tokens", "inputs_unknown"), 0)
    for row in rows:
        counts["inputs"] += 1
        counts["inputs_cut"] += len(row) > limit
        counts["inputs_tokens"] += len(row)
        counts["inputs_unknown"] += list(row).count(unknown) if unknown is not None else 0
    return counts


def tell_lost(counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each loss.

    Args:
        counts: of ``count_lost``, or ``inputs`` and ``inputs_blank``: those in which nothing is known.

    >>> tell_lost({"inputs": 300, "inputs_cut": 12, "inputs_tokens": 1000, "inputs_unknown": 20})
    ['12 of 300 inputs are too long for the student and were truncated.', '2.0% of the tokens of the inputs are \
unknown to its tokenizer.']
    """
    told, of = [], f"of {counts.get('inputs', 0):,} inputs"
    if counts.get("inputs_cut"):
        told.append(f"{counts['inputs_cut']:,} {of} are too long for the student and were truncated.")
    share = counts.get("inputs_unknown", 0) / max(counts.get("inputs_tokens", 0), 1)
    if share > WORTH_TELLING:
        told.append(f"{100 * share:.1f}% of the tokens of the inputs are unknown to its tokenizer.")
    if counts.get("inputs_blank"):
        told.append(f"{counts['inputs_blank']:,} {of} have no known feature: the student guesses.")
    return told
