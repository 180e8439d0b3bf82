"""Test examples with the answers of conditions and the rationales of student and teacher, for reading."""

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

from dsbs.core.errors import DataError
from dsbs.extraction.annotations import AnnotationFile
from dsbs.reporting.conditions import Condition
from dsbs.reporting.report import Report
from dsbs.reporting.teachers import annotation_folders

logger = logging.getLogger(__name__)
MAX_SAMPLES, MAX_CHARACTERS = 500, 2000


def choose_conditions(report: Report) -> list[Condition]:
    """Return the conditions whose answers are shown side by side, in the order of the comparisons."""
    compared = [side for item in report.comparisons if item.result for side in (item.baseline, item.candidate)]
    chosen = list({condition.id: condition for condition in [*compared, *report.conditions]}.values())
    usable = [condition for condition in chosen if condition.test_set]
    return [condition for condition in usable if condition.test_set == usable[0].test_set]


def build_samples(report: Report, limit: int = MAX_SAMPLES) -> dict[str, Any]:
    """Return at most ``limit`` test examples with all answers.

    If there are more, those on which the first two conditions differ most are taken, then the others by id.

    Returns:
        ``conditions``: their ids; ``total``: number of test examples; ``examples``: for each its ``id``, ``input``,
        ``gold``, ``teacher`` (``label``, ``rationale``) or None, and ``answers``: for each condition its most frequent
        ``label``, the number of seeds that are ``right``, the mean ``score``, and the ``rationale`` of a seed that gave
        the label.
    """
    conditions = choose_conditions(report)
    if not conditions:
        return {"conditions": [], "total": 0, "examples": []}
    first = conditions[0].runs[0].answers
    assert first is not None
    shares = [condition.scores().mean(axis=0) for condition in conditions[:2]]
    differs = abs(shares[0] - shares[-1])
    shown = sorted(
        sorted(range(len(first.ids)), key=lambda position: (-differs[position], first.ids[position]))[:limit]
    )
    teacher = _read_teacher(conditions, {first.ids[position] for position in shown})
    inputs = _find_inputs(conditions)
    examples = [
        {
            "id": first.ids[position],
            "input": _cut(inputs[position]),
            "gold": _cut(first.golds[position]),
            "teacher": teacher.get(first.ids[position]),
            "answers": [_answer(condition, position) for condition in conditions],
        }
        for position in shown
    ]
    return {"conditions": [condition.id for condition in conditions], "total": len(first.ids), "examples": examples}


def _answer(condition: Condition, position: int) -> dict[str, Any]:
    runs = [run.answers for run in condition.runs if run.answers]
    label = Counter(answers.labels[position] for answers in runs).most_common(1)[0][0]
    rationales = [answers.rationales[position] for answers in runs if answers.labels[position] == label]
    right = sum(bool(answers.correct[position]) for answers in runs)
    score = round(sum(float(answers.scores[position]) for answers in runs) / len(runs), 4)
    return {
        "label": _cut(label),
        "right": right,
        "score": score,
        "rationale": _cut(next(filter(None, rationales), None)),
    }


def _find_inputs(conditions: Sequence[Condition]) -> list[str | None]:
    found = [run.answers.inputs for condition in conditions for run in condition.runs if run.answers]
    return next((inputs for inputs in found if any(inputs)), found[0])


def _read_teacher(conditions: Sequence[Condition], ids: set[str]) -> dict[str, dict[str, str | None]]:
    """Return example id -> label and rationale of the first teacher with annotations of test."""
    for run in (run for condition in conditions if not condition.control for run in condition.runs):
        for folder in annotation_folders(run):
            if (folder / "test.parquet").is_file():
                try:
                    return {
                        one.id: {"label": _cut(one.label), "rationale": _cut(one.rationale)}
                        for one in AnnotationFile(folder, "test")
                        if one.id in ids
                    }
                except DataError as error:
                    logger.warning("The teacher's rationales cannot be shown: %s", error)
                    return {}
    return {}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS] + " …"
