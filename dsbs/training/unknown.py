"""Unknown tokens: parts of inputs and targets that a student's tokenizer encodes as ``<unk>``."""

from collections.abc import Iterable
from itertools import islice

from dsbs.core.errors import StudentError
from dsbs.core.records import Target
from dsbs.students.model import StudentModel
from dsbs.training.tokenized import RowFile

_SHOWN_SIGNS = 8
_SHOWN_TEXT = 60


def check_unknown(
    student: StudentModel, rows: RowFile, texts: Iterable[tuple[str, list[Target]]], max_share: float, writes: bool
) -> dict[str, int]:
    """Count the unknown tokens of inputs and targets.

    Args:
        writes: whether the student generates its targets, or only chooses among them.

    Returns:
        ``inputs_tokens``, ``inputs_unknown``, ``targets_tokens``, ``targets_unknown``; ``{}`` if all are known.

    Raises:
        StudentError: inputs or targets have a larger share; with what to type.
    """
    unknown = student.unknown_id
    if unknown is None:
        return {}
    counts, first = rows.count_unknown(unknown)
    for part in ("inputs", "targets") if writes else ("inputs",):
        share = counts[f"{part}_unknown"] / max(counts[f"{part}_tokens"], 1)
        if share > max_share:
            text, targets = next(islice(iter(texts), first[part], None))
            shown = text if part == "inputs" else " ".join(target.text for target in targets)
            raise StudentError(
                f"{100 * share:.1f}% of the tokens of the {part} are unknown to the student's tokenizer, which uses "
                f"{student.tokenizer.unk_token} instead: {_name_signs(student, shown, unknown)} in "
                f"{' '.join(shown.split())[:_SHOWN_TEXT]!r}. Choose a student whose tokenizer knows the script; "
                "training.max_unknown=1 trains anyway."
            )
    if not writes:
        counts["targets_unknown"] = 0
    return counts if counts["inputs_unknown"] or counts["targets_unknown"] else {}


def _name_signs(student: StudentModel, text: str, unknown: int) -> str:
    def is_unknown(sign: str) -> bool:
        return unknown in student.tokenizer(sign, add_special_tokens=False)["input_ids"]

    signs = [sign for sign in dict.fromkeys(text) if not sign.isspace() and is_unknown(sign)]
    return " ".join(signs[:_SHOWN_SIGNS]) or "some of the characters"
