"""Scoring of closed answers as a tree of tokens, for engines that give the next token's log-probabilities."""

import heapq
import itertools
import math
from collections.abc import Callable, Mapping


def score_tree(
    paths: Mapping[str, tuple[int, ...]],
    read: Callable[[tuple[int, ...], set[int]], Mapping[int, float]],
    negligible: float,
) -> dict[str, float]:
    """Return answer -> log-probability in nats, reading common beginnings once, the most probable first.

    An answer is at most as probable as its beginning. So the most probable beginning is continued, until the best
    answer is known and the unfinished ones together are at most ``negligible`` times as probable as the finished ones;
    the unfinished ones keep the log-probability of their beginning, an upper bound.

    Args:
        paths: answer -> token ids, the end token included.
        read: (tokens before, tokens wanted) -> log-probabilities of these.
        negligible: see above; 0 reads all answers to their end.

    >>> table = {(): {1: math.log(0.8), 2: math.log(0.2)}, (1,): {3: math.log(0.5), 4: math.log(0.5)}, (2,): {5: 0.0}}
    >>> asked = []
    >>> def read(before, wanted):
    ...     asked.append(before)
    ...     return {token: table[before][token] for token in wanted}
    >>> scores = score_tree({"a": (1, 3), "b": (1, 4), "c": (2, 5)}, read, 0.0)
    >>> {answer: round(math.exp(score), 2) for answer, score in scores.items()}, asked
    ({'a': 0.4, 'b': 0.4, 'c': 0.2}, [(), (1,), (2,)])
    """
    scores: dict[str, float] = {}
    numbers = itertools.count()
    waiting: list[tuple[float, int, tuple[int, ...], list[str]]] = [(0.0, next(numbers), (), list(paths))]
    while waiting:
        cost, _, before, answers = waiting[0]
        known = math.fsum(map(math.exp, scores.values()))
        rest = math.fsum(math.exp(-one) * len(of) for one, _, _, of in waiting)
        if scores and max(scores.values()) > -cost and rest <= negligible * known:
            break
        heapq.heappop(waiting)
        ended = [answer for answer in answers if len(paths[answer]) == len(before)]
        scores |= dict.fromkeys(ended, -cost)
        branches: dict[int, list[str]] = {}
        for answer in answers:
            if len(paths[answer]) > len(before):
                branches.setdefault(paths[answer][len(before)], []).append(answer)
        found = read(before, set(branches)) if branches else {}
        for token, of in branches.items():
            heapq.heappush(waiting, (cost - found[token], next(numbers), (*before, token), of))
    return {**scores, **{answer: -cost for cost, _, _, of in waiting for answer in of}}
