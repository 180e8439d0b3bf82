"""Controls on tokenized rows: the student learns something else in place of its rationales."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from dsbs.core.fingerprint import fingerprint
from dsbs.data.controls import Control, Material
from dsbs.students.collator import Row
from dsbs.training.tokenized import RowFile

NOISED = "noised"  # name of the encoder input with gaps


def control_rows(rows: RowFile, control: Control, seed: int, folder: Path) -> RowFile:
    """Return the rows with their rationales replaced by a control, in another file; without a control, as they are."""
    if control.identity() is None:
        return rows
    materials = {place: material for place in range(len(rows)) if (material := to_material(rows[place]))}
    changed = control.rearrange(list(materials.values()), np.random.default_rng(seed))
    by_place = dict(zip(materials, changed, strict=True))
    path = folder / f"rows-{fingerprint([rows.path.name, control.identity(), seed], length=16)}.arrow"
    return rows.rewrite(path, lambda place, row: with_material(row, by_place[place]) if place in by_place else row)


def to_material(row: Row) -> Material | None:
    """Return a row's token ids for a control; None where a rationale is not a target of its own."""
    targets = {kind: (source, ids) for kind, source, ids, _ in row.targets}
    if "rationale" not in targets or "label" not in targets:
        return None
    source, rationale = targets["rationale"]
    label = targets["label"][1]
    read, label_ids, rationale_ids = (
        np.array(ids, dtype=np.int32) for ids in (row.inputs[source], label[:-1], rationale[:-1])
    )
    return Material(read, label_ids, rationale_ids)


def with_material(row: Row, material: Material) -> Row:
    """Return a row with the rationale of ``material``, or none, and its noised input where there is one."""
    targets, inputs = [], dict(row.inputs)
    for kind, source, ids, weight in row.targets:
        if kind != "rationale":
            targets.append((kind, source, ids, weight))
        elif material.rationale is not None:
            if material.noised is not None:
                inputs[NOISED], source = material.noised.tolist(), NOISED
            targets.append((kind, source, [*material.rationale.tolist(), ids[-1]], weight))
    used = {source for _, source, _, _ in targets}
    return replace(row, inputs={name: ids for name, ids in inputs.items() if name in used}, targets=targets)
