"""What each objective lets a student learn, and how its answer is read."""

from typing import Any

import pytest

from dsbs.core.records import Annotation, Example, Target
from dsbs.objectives import OBJECTIVES, Finetune, LabelThenRationale, Objective, RationaleThenLabel, StepByStep
from dsbs.students.answering import DecodingConfig
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers
from dsbs.training.settings import TrainSettings

EXAMPLE = Example("1", "Is fire cold?", "no", ("yes", "no"))
ANNOTATION = Annotation("1", "no", "Fire is hot.")


@pytest.mark.parametrize(
    ("objective", "targets", "without"),
    [
        (Finetune(), [Target("label", "no")], [Target("label", "no")]),
        (
            StepByStep(alpha=0.2),
            [Target("label", "no"), Target("rationale", "Fire is hot.")],
            [Target("label", "no")],
        ),
        (
            RationaleThenLabel(),
            [Target("label", "Fire is hot. So the answer is no", kept=" So the answer is no")],
            [Target("label", "no")],
        ),
        (LabelThenRationale(), [Target("label", "no explanation: Fire is hot.")], [Target("label", "no")]),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_targets_with_and_without_a_rationale(
    objective: Objective, targets: list[Target], without: list[Target]
) -> None:
    assert objective.targets(EXAMPLE, ANNOTATION) == targets
    assert objective.targets(EXAMPLE, None) == without
    assert objective.targets(EXAMPLE, Annotation("1", "no", None)) == without


def test_the_label_is_the_examples_which_may_be_gold_where_the_teacher_erred() -> None:
    wrong = Annotation("1", "yes", "Fire is blue.")
    assert StepByStep().targets(EXAMPLE, wrong)[0].text == "no"
    assert RationaleThenLabel().targets(EXAMPLE, wrong)[0].text.endswith("So the answer is no")


class Scripted:
    """Writes what it is told, whatever it reads."""

    def __init__(self, *texts: str) -> None:
        self.texts = list(texts)

    def write(self, examples: Any, reading: Any, kind: str = "label") -> list[str]:
        return self.texts


def read(objective: Objective, text: str, choices: tuple[str, ...] | None = ("yes", "no")) -> tuple[Any, Any]:
    answers = ClosedAnswers() if choices else FreeAnswers()
    student: Any = Scripted(text)
    [prediction] = objective.read(
        student, [Example("1", "Is fire cold?", "no", choices)], answers, DecodingConfig("generate")
    )
    return prediction.rationale, prediction.label


@pytest.mark.parametrize(
    ("text", "rationale", "label"),
    [
        ("Fire is hot. So the answer is no", "Fire is hot.", "no"),
        ("fire is hot. so the answer is no", "fire is hot.", "no"),  # WordPiece has no capitals
        ("Fire is hot .So the answeris no", "Fire is hot .", "no"),  # SentencePiece may lose a space
        ("So the answer is yes? So the answer is no", "So the answer is yes?", "no"),  # the last cue counts
        ("no", None, "no"),  # learnt from an example without a rationale
        ("So the answer is no", None, "no"),
        ("Fire is hot, and that is all", None, None),
        ("Fire is hot. So the answer is", "Fire is hot.", None),
        ("", None, None),
    ],
)
def test_rationale_then_label_is_read_behind_the_cue(text: str, rationale: str | None, label: str | None) -> None:
    assert read(RationaleThenLabel(), text) == (rationale, label)


@pytest.mark.parametrize(
    ("text", "rationale", "label"),
    [
        ("no explanation: Fire is hot.", "Fire is hot.", "no"),
        ("no explanation : fire is hot.", "fire is hot.", "no"),
        ("NO  Explanation:Fire is hot.", "Fire is hot.", "no"),
        ("no explanation: explanation: twice", "explanation: twice", "no"),
        ("no", None, "no"),
        ("no explanation:", None, "no"),
        ("perhaps explanation: Fire is hot.", "Fire is hot.", None),
    ],
)
def test_label_then_rationale_is_read_before_the_cue(text: str, rationale: str | None, label: str | None) -> None:
    assert read(LabelThenRationale(), text) == (rationale, label)


def test_free_answers_are_read_the_same_way() -> None:
    assert read(RationaleThenLabel(), "It is big. So the answer is Paris", None) == ("It is big.", "Paris")
    assert read(LabelThenRationale(), "Paris explanation: It is big.", None) == ("It is big.", "Paris")


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range_says_what_its_ends_mean(alpha: float) -> None:
    [fault] = StepByStep(name="step_by_step", alpha=alpha).faults()
    assert "from 0 (rationales alone) to 1 (labels alone)" in fault


@pytest.mark.parametrize("kind", OBJECTIVES)
def test_the_prefix_stands_on_target_or_input(kind: str) -> None:
    sound = OBJECTIVES[kind](name=kind, prefix_on="input").faults()
    assert not [fault for fault in sound if "prefix_on" in fault]
    [fault] = [fault for fault in OBJECTIVES[kind](name=kind, prefix_on="output").faults() if fault not in sound]
    assert "objective.prefix_on=output: expected target or input" in fault


def test_distill_refuses_gold_labels_and_says_what_to_type() -> None:
    distill = Finetune(name="distill", teacher_labels_only=True)
    [fault] = TrainSettings(objective=distill).faults()
    assert "labels=teacher" in fault
    assert TrainSettings(objective=distill, labels="teacher").faults() == []


def test_who_needs_a_teacher() -> None:
    without = {kind for kind in OBJECTIVES if not OBJECTIVES[kind](name=kind).needs_rationales}
    assert without == {"finetune", "respond", "soft_targets", "context", "gkd", "minillm"}
    assert not TrainSettings(objective=Finetune(name="finetune")).needs_annotations
    assert TrainSettings(objective=Finetune(name="distill"), labels="teacher").needs_annotations
