"""Objectives: targets and loss of a student. A new one is a dataclass with ``targets`` and a line in this registry."""

from dsbs.core.registry import Registry
from dsbs.objectives.base import Objective
from dsbs.objectives.context import Context
from dsbs.objectives.finetune import Finetune, Respond
from dsbs.objectives.gkd import GKD
from dsbs.objectives.joint import LabelThenRationale, RationaleThenLabel
from dsbs.objectives.minillm import MiniLLM
from dsbs.objectives.soft_targets import SoftTargets
from dsbs.objectives.step_by_step import StepByStep
from dsbs.objectives.step_by_step_mi import StepByStepMI

OBJECTIVES: Registry[type[Objective]] = Registry(
    "dsbs.objectives",
    {
        "finetune": Finetune,
        "respond": Respond,
        "step_by_step": StepByStep,
        "step_by_step_mi": StepByStepMI,
        "soft_targets": SoftTargets,
        "context": Context,
        "gkd": GKD,
        "minillm": MiniLLM,
        "rationale_then_label": RationaleThenLabel,
        "label_then_rationale": LabelThenRationale,
    },
    Objective,
)

__all__ = [
    "GKD",
    "OBJECTIVES",
    "Context",
    "Finetune",
    "LabelThenRationale",
    "MiniLLM",
    "Objective",
    "RationaleThenLabel",
    "Respond",
    "SoftTargets",
    "StepByStep",
    "StepByStepMI",
]
