"""Scoring of closed answers by a torch student: as trees of tokens, or one by one where it cannot do that."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F

from dsbs.students.answer_cache import AnswerCache
from dsbs.students.model import StudentModel
from dsbs.students.tensors import IGNORED, pad
from dsbs.students.trees import Search, Tree

LOGITS = 2**24  # logits of one pass; larger tensors are allocated and freed every time
OVERHEAD = 64  # cost of a further pass, in positions
CLOSE = 1e-3  # relative difference to scores of single answers that a tree may have; see `can_grow`


@dataclass(frozen=True)
class Group:
    """Examples that are scored in the same passes.

    Attributes:
        states: inputs, and the cache of the nodes that were read.
        paths: for each example, node -> positions in the cache of its path from the root, its own last.
    """

    searches: list[Search]
    states: AnswerCache
    paths: list[dict[int, list[int]]]

    def keep(self, rows: Sequence[int]) -> "Group":
        """Return some of the examples as a group of their own."""
        return Group([self.searches[n] for n in rows], self.states.keep(rows), [self.paths[n] for n in rows])


def score_trees(student: StudentModel, inputs: dict[str, torch.Tensor], searches: list[Search]) -> None:
    """Read nodes, those of all examples in the same passes, until no search needs more.

    Args:
        student: one that can score trees (``can_grow``).
        inputs: ``input_ids`` and ``attention_mask`` [B, S], padded at the end.
        searches: of the B examples; updated.
    """
    waiting = [Group(searches, student.begin(inputs), [{} for _ in searches])]
    while waiting:
        group = waiting.pop()
        wanted = [search.next() for search in group.searches]
        for rows, width in share_out([len(nodes) for nodes in wanted], LOGITS // student.vocabulary):
            part = group.keep(rows)
            waiting.append(_read(student, part, [wanted[row][:width] for row in rows]))


def share_out(counts: Sequence[int], max_positions: int) -> list[tuple[list[int], int]]:
    """Return passes over examples: the examples of each pass, and how many nodes of each are read.

    Examples with similar counts share a pass, as long as another pass would cost more than the padding.

    Args:
        counts: number of nodes that each example waits for.
        max_positions: maximum positions of a pass, padding included.

    >>> share_out([1, 0, 200, 2], max_positions=150)
    [([2], 150), ([3, 0], 2)]
    """
    order = sorted((row for row, count in enumerate(counts) if count), key=lambda row: -counts[row])
    passes: list[tuple[list[int], int]] = []
    while order:
        width = min(counts[order[0]], max_positions)
        size = min(len(order), max(1, max_positions // width))
        spared = [(size - position) * (width - counts[order[position]]) for position in range(size)]
        best = max(range(size), key=spared.__getitem__)
        if spared[best] > OVERHEAD:
            size = best
        passes.append((order[:size], width))
        order = order[size:]
    return passes


def _read(student: StudentModel, group: Group, wanted: list[list[int]]) -> Group:
    """Read some nodes of each example in one pass; tell the searches."""
    states = group.states
    known, width = states.depths.shape[1], max(map(len, wanted))
    # Where all read the same nodes of the same tree, one row stands for all.
    trees = [id(search.tree) for search in group.searches]
    same = len(wanted) == 1 or (not known and _all_same(trees) and _all_same(wanted))
    rows = list(zip(group.searches, group.paths, wanted, strict=True))[: 1 if same else None]
    seen = torch.zeros(len(rows), width, known + width, dtype=torch.bool)
    seen[:, range(width), range(known, known + width)] = True  # padding sees itself
    for number, (search, paths, nodes) in enumerate(rows):
        for position, node in enumerate(nodes):
            before = paths[search.tree.parents[node]] if node else []
            paths[node] = [*before, known + position]
            seen[number, position, before] = True
    ids = pad([[search.tree.tokens[node] for node in nodes] for search, _, nodes in rows], student.pad_id)
    depths = pad([[search.tree.depths[node] for node in nodes] for search, _, nodes in rows], 0)
    if same:
        for paths in group.paths[1:]:
            paths.update(group.paths[0])
        ids = ids.expand(len(wanted), -1)
    depths, seen = depths.to(student.device), seen.to(student.device)
    logits, cache = student.extend(states, ids.to(student.device), depths, seen)
    _tell(group.searches, wanted, logits)
    if len(states.depths) != len(depths):
        states = replace(states, depths=states.depths.expand(len(depths), -1))
    depths = torch.cat([states.depths, depths], dim=1)
    return Group(group.searches, replace(states, cache=cache, depths=depths), group.paths)


def _all_same(values: list[Any]) -> bool:
    return next((False for value in values if value != values[0]), True)


def _tell(searches: list[Search], wanted: list[list[int]], logits: torch.Tensor) -> None:
    """Update searches with the log-probabilities of the children of the nodes that were read.

    The logits [R, T, V] are overwritten.
    """
    asked = [
        (row, position, token)
        for row, (search, nodes) in enumerate(zip(searches, wanted, strict=True))
        for position, node in enumerate(nodes)
        for token in (search.tree.tokens[child] for child in search.tree.children[node])
    ]
    at = torch.tensor(asked, device=logits.device).unbind(1)
    logits = logits.float()
    highest = logits.amax(-1, keepdim=True)
    chosen = logits[at]
    norms = logits.sub_(highest).exp_().sum(-1).log_().add_(highest.squeeze(-1))
    found = iter((chosen - norms[at[:2]]).tolist())
    for search, nodes in zip(searches, wanted, strict=True):
        for node in nodes:
            search.tell(node, [next(found) for _ in search.tree.children[node]])


def score_rows(
    student: StudentModel, inputs: dict[str, torch.Tensor], choices: list[list[list[int]]]
) -> list[list[float]]:
    """Return the log-probability, in nats, of each choice of each example, scored in a row of its own.

    Args:
        inputs: ``input_ids`` and ``attention_mask`` [B, S], padded at the end.
    """
    states = student.encode(inputs, readers=max(map(len, choices)))
    flat = [(owner, row) for owner, rows in enumerate(choices) for row in rows]
    rows_per_pass = max(1, LOGITS // student.vocabulary // max(len(row) for _, row in flat))
    found: list[float] = []
    for start in range(0, len(flat), rows_per_pass):
        part = flat[start : start + rows_per_pass]
        positions = torch.tensor([owner for owner, _ in part], device=student.device)
        labels = pad([row for _, row in part], IGNORED).to(student.device)
        ids = pad([[student.start_id("label"), *row[:-1]] for _, row in part], student.pad_id).to(student.device)
        mask = inputs["attention_mask"].index_select(0, positions)
        logits = student.decode_logits(student.select(states, positions), mask, ids).float()
        tokens = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
        found += (-tokens.view_as(labels).sum(1)).tolist()
    numbers = iter(found)
    return [[next(numbers) for _ in rows] for rows in choices]


def can_grow(student: StudentModel) -> bool:
    """Return whether a student scores answers in a tree as it scores each alone.

    Architectures differ in positions and masks, so it is tried on a few tokens rather than decided by name; the result
    is kept in ``student.grows``.
    """
    if student.grows is None:
        student.grows = _grows(student)
    return student.grows


def _grows(student: StudentModel) -> bool:
    one, two, three = (number % student.vocabulary for number in (5, 6, 7))
    rows = [[one, two, three, two], [one, two, two], [three, one, two]]
    ids = torch.tensor([[two, one, three], [three, three, student.pad_id]], device=student.device)
    inputs = {"input_ids": ids, "attention_mask": torch.tensor([[1, 1, 1], [1, 1, 0]], device=student.device)}
    tree = Tree.of(student.start_id("label"), rows)
    searches = [Search(tree, 0.0), Search(tree, 1e-9)]  # one reads all at once, the other step by step
    with torch.autocast(student.device.type, enabled=False):
        try:
            score_trees(student, inputs, searches)
        except (AttributeError, IndexError, RuntimeError, TypeError, ValueError):
            return False
        alone = torch.tensor(score_rows(student, inputs, [rows, rows]))
    found = torch.tensor([search.answers() for search in searches])
    return bool((found - alone).abs().max() < CLOSE * alone.abs().max())
