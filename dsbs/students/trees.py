"""Closed answers as a tree of tokens: common beginnings are scored once, and branches that cannot win are pruned."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tree:
    """A prefix tree of token sequences. Node 0 is the root; parents come before their children.

    Attributes:
        tokens: the token of each node; that of the root is the decoder's start token.
        parents: the parent of each node; that of the root is itself.
        depths: number of tokens before each node's own.
        children: the children of each node; only nodes with children are read, to score these.
        ends: the last node of each sequence, in the order of the sequences.
    """

    tokens: list[int]
    parents: list[int]
    depths: list[int]
    children: list[list[int]]
    ends: list[int]

    @classmethod
    def of(cls, start: int, rows: Iterable[Sequence[int]]) -> "Tree":
        """Return the tree of some sequences.

        Args:
            rows: the sequences; none is empty.

        >>> tree = Tree.of(7, [[1, 2, 9], [1, 3, 9], [1, 2, 9]])
        >>> tree.tokens, tree.parents, tree.ends
        ([7, 1, 2, 9, 3, 9], [0, 0, 1, 2, 1, 4], [3, 5, 3])
        """
        tree = cls([start], [0], [0], [[]], [])
        children: dict[tuple[int, int], int] = {}
        for row in rows:
            node = 0
            for token in row:
                child = children.setdefault((node, token), len(tree.tokens))
                if child == len(tree.tokens):
                    tree.tokens.append(token)
                    tree.parents.append(node)
                    tree.depths.append(tree.depths[node] + 1)
                    tree.children.append([])
                    tree.children[node].append(child)
                node = child
            tree.ends.append(node)
        return tree

    @property
    def inner(self) -> list[int]:
        """The nodes that have children, parents first."""
        return [node for node, children in enumerate(self.children) if children]

    def path(self, node: int) -> list[int]:
        """Return the tokens from the root to a node, both included.

        >>> Tree.of(7, [[1, 2, 9], [1, 3, 9]]).path(4)
        [7, 1, 3]
        """
        tokens = [self.tokens[node]]
        while node:
            node = self.parents[node]
            tokens.append(self.tokens[node])
        return tokens[::-1]

    def run(self, node: int) -> list[int]:
        """Return a node and its descendants down to the next branch or leaf, which are read together."""
        found = [node]
        while len(self.children[node]) == 1 and self.children[self.children[node][0]]:
            node = self.children[node][0]
            found.append(node)
        return found


@dataclass
class Search:
    """The search for the best answer to one example: the scores so far, and which nodes to read next.

    Attributes:
        negligible: unfinished answers that are together less probable than this share of the finished ones are not
            read to their end; 0: all are.
        scores: node -> log-probability of its path, in nats.
        read: the nodes that were read, in order.
    """

    tree: Tree
    negligible: float
    scores: dict[int, float] = field(default_factory=lambda: {0: 0.0})
    read: list[int] = field(default_factory=list)
    _open: set[int] = field(default_factory=lambda: {0})

    def __post_init__(self) -> None:
        self._whole = set(self.tree.ends)

    def next(self) -> list[int]:
        """Return the nodes to read next, parents before children; empty when the search is done."""
        if not self.negligible:
            return self.tree.inner[len(self.read) :]
        order = sorted(self._open, key=lambda node: -self.scores[node])
        known = [self.scores[node] for node in self._whole if node in self.scores]
        best = max(known, default=-math.inf)
        if not order:
            return []
        if not known:  # the likeliest open node is at least as probable as any answer, so what is left now may wait
            best, known = self.scores[order[0]], [self.scores[order[0]]]
            order, kept = order[1:], order[:1]
        else:
            kept = []
        bar, left = self.negligible * math.fsum(math.exp(log - best) for log in known), 0.0
        while order and self.scores[order[-1]] < best:
            left += math.exp(self.scores[order[-1]] - best)
            if left > bar:
                break
            order.pop()
        return [one for node in kept + order for one in self.tree.run(node)]

    def tell(self, node: int, logs: Sequence[float]) -> None:
        """Add the log-probabilities, in nats, of a node's children."""
        self.read.append(node)
        self._open.discard(node)
        for child, log in zip(self.tree.children[node], logs, strict=True):
            self.scores[child] = self.scores[node] + log
            if self.tree.children[child]:
                self._open.add(child)

    def confidence(self) -> float:
        """Return the probability of the best answer among all; a lower bound where some were not read to their end."""
        logs = [self.scores[node] for node in (self._whole & self.scores.keys()) | self._open]
        most = max(logs)
        return math.exp(max(self.answers()) - most) / math.fsum(math.exp(log - most) for log in logs)

    def answers(self) -> list[float]:
        """Return the log-probability of each answer, in nats; an upper bound where it was not read to its end."""
        found = []
        for node in self.tree.ends:
            while node not in self.scores:
                node = self.tree.parents[node]
            found.append(self.scores[node])
        return found
