"""Which students go with which objectives, decodings and data; checked before a model is loaded."""

from collections.abc import Iterable

from dsbs.core.errors import ConfigError
from dsbs.core.records import Example
from dsbs.inference.checkpoint import shared_choices
from dsbs.objectives.base import Objective
from dsbs.students.base import Student
from dsbs.tasks.base import Task

WRITER = "a student that writes (student=t5_small)"


def combination_faults(student: Student, objective: Objective, decoding: str) -> list[str]:
    """Return a sentence for each fault of a combination of student, objective and decoding."""
    if student.writes:
        return []
    faults = []
    who = f"student={student.name} has no decoder"
    if objective.needs_rationales:
        faults.append(
            f"objective={objective.name}: {who}, so it cannot learn to write rationales: type objective=finetune, "
            f"objective=distill labels=teacher, or {WRITER}."
        )
    elif objective.learns_texts:
        faults.append(
            f"objective={objective.name}: {who}, so it cannot learn to write whole answers: type objective=finetune, "
            f"objective=distill labels=teacher, or {WRITER}."
        )
    elif type(objective).loss is not Objective.loss and not (student.fits_any_loss and objective.needs_choices):
        faults.append(
            f"objective={objective.name} has its own loss over texts, which student={student.name} cannot be "
            f"trained with: type objective=finetune, objective=distill labels=teacher, or {WRITER}."
        )
    if decoding == "generate":
        faults.append(f"decoding=generate: {who}; without it the closed answers are ranked.")
    return faults


def check_answers(student: Student, task: Task, examples: Iterable[Example]) -> None:
    """Check that a student without a decoder finds closed answers to choose among.

    Raises:
        ConfigError: answers are free; or they differ by example, and the student has one fixed set.
    """
    if student.writes:
        return
    shared, closed = shared_choices(examples)
    if not closed:
        raise ConfigError(
            f"task={task.name} has free answers, and student={student.name} only chooses among closed ones: type "
            f"{WRITER}, or name the answers, where there are few, with task.labels=[...]."
        )
    if shared is None and not student.own_choices:
        raise ConfigError(
            f"task={task.name} is multiple choice, with different answers for each example, and student={student.name} "
            f"has one fixed set of answers: type {WRITER}."
        )
