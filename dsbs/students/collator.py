"""From rows of token ids to the tensors of a batch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from dsbs.core.records import Target
from dsbs.students.model import Batch, StudentModel
from dsbs.students.prefixes import KINDS
from dsbs.students.tensors import IGNORED, pad

CUT = ("inputs_cut", "targets_cut", "teacher_inputs_cut")
SHARED = "shared"  # the name of the encoder inputs that all kinds of targets read


@dataclass(frozen=True, slots=True)
class Row:
    """One example, tokenized.

    Attributes:
        inputs: name of the encoder input -> token ids.
        targets: (kind, name of its encoder input, token ids, weight) of each target.
        signals: kind -> name -> a number for each token of its target, where an objective has some.
    """

    inputs: dict[str, list[int]]
    targets: list[tuple[str, str, list[int], float]]
    signals: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    @property
    def tokens(self) -> int:
        """The number of tokens of all inputs and targets."""
        return sum(map(len, self.inputs.values())) + sum(len(ids) for _, _, ids, _ in self.targets)


@dataclass(frozen=True)
class Reader:
    """How inputs are encoded for targets that a teacher beside the student reads.

    Attributes:
        model: the teacher, which has the student's tokens.
        kind: of target, ``label`` or ``rationale``.
    """

    model: StudentModel
    kind: str
    max_input_tokens: int


def tokenize(
    student: StudentModel,
    inputs: Sequence[str],
    targets: Sequence[list[Target]],
    max_input_tokens: int,
    max_target_tokens: int,
    readers: Mapping[str, Reader] | None = None,
) -> tuple[list[Row], dict[str, int]]:
    """Return a row for each example, and the counts ``CUT`` of what was truncated.

    Args:
        inputs: the examples' inputs, which targets without an input of their own read.
        max_target_tokens: longer targets are truncated; see ``StudentModel.cut_target``.
        readers: kind of target -> how its inputs are encoded, where the student does not read them.
    """
    readers = readers or {}
    names = [_name_inputs(student, row) for row in targets]
    read = _encode_inputs(student, inputs, targets, names, max_input_tokens, readers)
    ids = iter(student.encode_targets([target.text for row in targets for target in row]))
    cut = dict.fromkeys(CUT, 0)
    rows = []
    for position, row in enumerate(targets):
        # In the order of the targets: a set's order differs from process to process, and with it the draws of dropout.
        row_inputs = {}
        kinds = dict(zip(names[position], (target.kind for target in row), strict=True))
        for name, kind in kinds.items():
            row_inputs[name], was_cut = read[position, name]
            cut["teacher_inputs_cut" if kind in readers else "inputs_cut"] += was_cut
        row_targets = []
        for target, name in zip(row, names[position], strict=True):
            target_ids, was_cut = student.cut_target(next(ids), max_target_tokens, target.kept)
            cut["targets_cut"] += was_cut and target.kind not in readers  # a teacher's copies are the student's targets
            row_targets.append((target.kind, name, target_ids, target.weight))
        rows.append(Row(row_inputs, row_targets))
    return rows, cut


def _name_inputs(student: StudentModel, targets: list[Target]) -> list[str]:
    """Return the name of the input that each target of an example reads: equal names, equal token ids.

    Inputs of a target's own are numbered by kind: ``label 1``, ``label 2``.
    """
    names, known = [], list[tuple[str, str]]()
    for target in targets:
        if target.input is None:
            names.append(SHARED if student.prefix_on == "target" else target.kind)
            continue
        if (target.kind, target.input) not in known:
            known.append((target.kind, target.input))
        own = [text for kind, text in known if kind == target.kind]
        names.append(f"{target.kind} {own.index(target.input) + 1}")
    return names


def _encode_inputs(
    student: StudentModel,
    inputs: Sequence[str],
    targets: Sequence[list[Target]],
    names: list[list[str]],
    max_input_tokens: int,
    readers: Mapping[str, Reader],
) -> dict[tuple[int, str], tuple[list[int], bool]]:
    """Return the token ids of the inputs by example and name, and whether they were cut; a kind at a time."""
    wanted: dict[str, dict[tuple[int, str], str]] = {}
    for position, row in enumerate(targets):
        for target, name in zip(row, names[position], strict=True):
            text = inputs[position] if target.input is None else target.input
            wanted.setdefault(SHARED if name == SHARED else target.kind, {})[position, name] = text
    found: dict[tuple[int, str], tuple[list[int], bool]] = {}
    for kind, texts in wanted.items():
        reader = readers.get(kind, Reader(student, "label" if kind == SHARED else kind, max_input_tokens))
        rows = reader.model.encode_inputs(list(texts.values()), reader.kind, reader.max_input_tokens + 1)
        found |= dict(zip(texts, (reader.model.cut(row, reader.max_input_tokens) for row in rows), strict=True))
    return found


def cut_passes(rows: Sequence[Row], tokens: int | None) -> list[list[Row]]:
    """Split a batch into passes of rows of similar length, longest first, to reduce padding.

    The loss is a mean over the tokens of the whole optimizer step, so the split does not matter to it.

    Args:
        tokens: maximum tokens of a pass, padding included, but at least one row; None: one pass.
    """
    if tokens is None:
        return [list(rows)]
    passes: list[list[Row]] = []
    for row in sorted(rows, key=lambda row: -row.tokens):
        if not passes or (len(passes[-1]) + 1) * passes[-1][0].tokens > tokens:
            passes.append([])
        passes[-1].append(row)
    return passes


# Of a target in a batch: its example, the row of its input, token ids, weight, signals.
_Part = tuple[int, int, list[int], float, dict[str, list[float]]]


class Collator:
    """Collates rows into a batch: encoder inputs, each once, and targets by kind."""

    def __init__(self, student: StudentModel) -> None:
        self.student = student

    def __call__(self, rows: list[Row]) -> Batch:
        """Return a batch: ``inputs`` and ``targets``.

        ``inputs``: name -> ``input_ids`` and ``attention_mask`` [B, S].

        ``targets``: kind -> ``source`` (the name of its inputs), ``rows`` [R] (in the source), ``examples`` [R] (in the
        batch), ``once`` (whether no row occurs twice), ``decoder_input_ids`` and ``labels`` [R, T], ``weights`` [R],
        and ``signals``: name -> numbers [R, T].
        """
        sources = _name_sources(rows)
        inputs: dict[str, list[list[int]]] = {}
        targets: dict[str, list[_Part]] = {}
        for number, row in enumerate(rows):
            positions: dict[tuple[str, str], int] = {}  # of the row's inputs among those of the batch
            for kind, name, ids, weight in row.targets:
                source = sources[kind]
                if (source, name) not in positions:
                    read = inputs.setdefault(source, [])
                    positions[source, name] = len(read)
                    read.append(row.inputs[name])
                part = (number, positions[source, name], ids, weight, row.signals.get(kind, {}))
                targets.setdefault(kind, []).append(part)
        return {
            "inputs": {name: self._pad_inputs(ids) for name, ids in inputs.items()},
            "targets": {
                kind: {"source": sources[kind], **self._pad_targets(kind, part)}
                for kind, part in sorted(targets.items())
            },
        }

    def _pad_inputs(self, ids: list[list[int]]) -> dict[str, torch.Tensor]:
        mask = pad([[1] * len(row) for row in ids], 0)
        return {"input_ids": pad(ids, self.student.pad_id), "attention_mask": mask}

    def _pad_targets(self, kind: str, part: list[_Part]) -> dict[str, Any]:
        examples, rows, ids, weights, signals = map(list, zip(*part, strict=True))
        own = kind.rpartition(" ")[2]  # ``teacher label`` starts as ``label`` does
        start = self.student.start_id(own) if own in KINDS else self.student.pad_id
        width = max(map(len, ids))
        return {
            "rows": torch.tensor(rows),
            "examples": torch.tensor(examples),
            "once": len(set(rows)) == len(rows),
            "decoder_input_ids": pad([[start, *row[:-1]] for row in ids], self.student.pad_id),
            "labels": pad(ids, IGNORED),
            "weights": torch.tensor(weights),
            "signals": {
                name: torch.tensor([(own := one.get(name, [])) + [0.0] * (width - len(own)) for one in signals])
                for name in sorted({name for one in signals for name in one})
            },
        }


def _name_sources(rows: Sequence[Row]) -> dict[str, str]:
    """Return the name of the inputs that each kind of target reads in a batch, one name for all of a kind."""
    names: dict[str, set[str]] = {}
    for row in rows:
        for kind, name, _, _ in row.targets:
            names.setdefault(kind, set()).add(name)
    return {kind: found.pop() if len(found) == 1 else f"{kind} *" for kind, found in names.items()}
