"""From rows of token ids to the tensors of a batch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from dsbs.core.records import Target
from dsbs.students.model import Batch, StudentModel
from dsbs.students.tensors import IGNORED, pad

SHARED = "shared"  # the name of the encoder inputs that all kinds of targets read


@dataclass(frozen=True, slots=True)
class Row:
    """One example, tokenised.

    Attributes:
        inputs: name of the encoder input -> token ids.
        targets: (kind, name of its encoder input, token ids, weight) of each target.
    """

    inputs: dict[str, list[int]]
    targets: list[tuple[str, str, list[int], float]]

    @property
    def tokens(self) -> int:
        """How many tokens are read and written."""
        return sum(map(len, self.inputs.values())) + sum(len(ids) for _, _, ids, _ in self.targets)


def tokenize(
    student: StudentModel,
    inputs: Sequence[str],
    targets: Sequence[list[Target]],
    max_input_tokens: int,
    max_target_tokens: int,
) -> tuple[list[Row], dict[str, int]]:
    """Return a row for each example, and how many inputs and targets had to be cut."""
    kinds = sorted({target.kind for row in targets for target in row})
    sources = {kind: SHARED if student.prefix_on == "target" else kind for kind in kinds}
    encoded = {sources[kind]: student.encode_inputs(list(inputs), kind, max_input_tokens + 1) for kind in kinds}
    ids = iter(student.encode_targets([target.text for row in targets for target in row]))
    cut = {"inputs_cut": 0, "targets_cut": 0}
    rows = []
    for position, row in enumerate(targets):
        # In the order of the targets: a set's order differs from process to process, and with it the draws of dropout.
        names = dict.fromkeys(sources[target.kind] for target in row)
        row_inputs = {}
        for name in names:
            row_inputs[name], was_cut = _cut(encoded[name][position], max_input_tokens)
            cut["inputs_cut"] += was_cut
        row_targets = []
        for target in row:
            target_ids, was_cut = _cut(next(ids), max_target_tokens)
            cut["targets_cut"] += was_cut
            row_targets.append((target.kind, sources[target.kind], target_ids, target.weight))
        rows.append(Row(row_inputs, row_targets))
    return rows, cut


def _cut(ids: list[int], limit: int) -> tuple[list[int], bool]:
    """Cut in the middle, so that the end token stays."""
    return ([*ids[: limit - 1], ids[-1]], True) if len(ids) > limit else (ids, False)


def cut_passes(rows: Sequence[Row], tokens: int | None) -> list[list[Row]]:
    """Cut a batch into passes of rows of about equal length, the longest first, so that little of a pass is padding.

    The loss is a mean over the tokens of the whole optimiser step, so it does not matter how a batch is cut.

    Args:
        rows: the batch.
        tokens: a pass holds at most so many tokens, padding included, but at least one row; None: one pass.
    """
    if tokens is None:
        return [list(rows)]
    passes: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.tokens):
        if not passes or (len(passes[-1]) + 1) * passes[-1][0].tokens > tokens:
            passes.append([])
        passes[-1].append(row)
    return passes


class Collator:
    """Make a batch of rows: encoder inputs, each once, and targets by kind."""

    def __init__(self, student: StudentModel) -> None:
        self.pad_id = student.pad_id
        self.start_ids = {kind: student.start_id(kind) for kind in ("label", "rationale")}

    def __call__(self, rows: list[Row]) -> Batch:
        """Return ``inputs``: name -> input_ids, attention_mask [B, S], and ``targets``: kind -> source, rows [R],
        whether each occurs once, decoder_input_ids, labels [R, T], weights [R].
        """
        inputs: dict[str, list[list[int]]] = {}
        targets: dict[str, list[tuple[int, list[int], float]]] = {}
        sources: dict[str, str] = {}
        for row in rows:
            places = {}
            for name, ids in row.inputs.items():
                places[name] = len(inputs.setdefault(name, []))
                inputs[name].append(ids)
            for kind, source, ids, weight in row.targets:
                sources[kind] = source
                targets.setdefault(kind, []).append((places[source], ids, weight))
        return {
            "inputs": {
                name: {"input_ids": pad(ids, self.pad_id), "attention_mask": pad([[1] * len(row) for row in ids], 0)}
                for name, ids in inputs.items()
            },
            "targets": {
                kind: {
                    "source": sources[kind],
                    "rows": torch.tensor([place for place, _, _ in part]),
                    "once": len({place for place, _, _ in part}) == len(part),
                    "decoder_input_ids": pad([[self.start_ids[kind], *ids[:-1]] for _, ids, _ in part], self.pad_id),
                    "labels": pad([ids for _, ids, _ in part], IGNORED),
                    "weights": torch.tensor([weight for _, _, weight in part]),
                }
                for kind, part in sorted(targets.items())
            },
        }
