"""Controls on tokenized rows: the student learns something else in place of its rationales."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dsbs.core.fingerprint import fingerprint
from dsbs.data.controls import Control, TokenizedExample
from dsbs.students.collator import Row
from dsbs.students.model import StudentModel
from dsbs.training.tokenized import RowFile

NOISED = "noised"  # name of the encoder input with gaps


def control_rows(
    rows: RowFile, control: Control, student: StudentModel, max_target_tokens: int, seed: int, folder: Path
) -> RowFile:
    """Return the rows with their rationales replaced by a control, in another file; without a control, as they are."""
    if control.identity() is None:
        return rows
    end_id = student.end_id
    examples = {position: example for position in range(len(rows)) if (example := to_tokenized(rows[position], end_id))}
    changed = control.rearrange(list(examples.values()), np.random.default_rng(seed))
    by_position = dict(zip(examples, changed, strict=True))
    path = folder / f"rows-{fingerprint([rows.path.name, control.identity(), seed], length=16)}.arrow"

    def change(position: int, row: Row) -> Row:
        return with_rationale(row, by_position[position], end_id, max_target_tokens) if position in by_position else row

    return rows.rewrite(path, change)


def to_tokenized(row: Row, end_id: int) -> TokenizedExample | None:
    """Return a row's token ids for a control; None where a rationale is not a target of its own."""
    targets = {kind: (source, ids) for kind, source, ids, _ in row.targets}
    if "rationale" not in targets or "label" not in targets:
        return None
    source, rationale = targets["rationale"]
    written = (unended(ids, end_id) for ids in (targets["label"][1], rationale))
    return TokenizedExample(*(np.array(ids, dtype=np.int32) for ids in (row.inputs[source], *written)))


def unended(ids: list[int], end_id: int) -> list[int]:
    """Return a target's token ids without its end token, which one that was truncated does not have."""
    return ids[:-1] if ids[-1] == end_id else ids


def with_rationale(row: Row, example: TokenizedExample, end_id: int, max_target_tokens: int) -> Row:
    """Return a row with the rationale of ``example``, or none, and its noised input where there is one.

    A rationale that fills ``max_target_tokens`` was truncated, so it has no end token.
    """
    targets, inputs = [], dict(row.inputs)
    for kind, source, ids, weight in row.targets:
        if kind != "rationale":
            targets.append((kind, source, ids, weight))
        elif example.rationale is not None:
            if example.noised is not None:
                inputs[NOISED], source = example.noised.tolist(), NOISED
            ids = [*example.rationale.tolist(), end_id][:max_target_tokens]
            targets.append((kind, source, ids, weight))
    used = {source for _, source, _, _ in targets}
    return replace(row, inputs={name: ids for name, ids in inputs.items() if name in used}, targets=targets)
