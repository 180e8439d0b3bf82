"""The settings of ``dsbs.report`` and ``dsbs.compare``."""

import math
import shlex
from dataclasses import dataclass, field
from typing import Any

from dsbs.core.errors import ConfigError
from dsbs.data.subsets import parse_fraction


@dataclass
class ReportSettings:
    """Keys of ``dsbs.report`` that decide what is compared.

    Attributes:
        baseline: the objective to compare with.
        candidates: the objectives claimed to match the baseline on all data with a fraction of it.
        fraction: the fraction of the data for the claim, such as 1/8; null: the smallest available.
        margin: non-inferiority margin, in points (hundredths of the metric). Choose it before you see the results.
    """

    baseline: str = "finetune"
    candidates: list[str] = field(default_factory=lambda: ["step_by_step"])
    fraction: float | int | str | None = None
    margin: float = 2.0

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = []
        if not 0 < self.margin < math.inf:
            faults.append(f"margin={self.margin}: expected a number of points above 0, such as margin=2.")
        if not self.candidates:
            faults.append("candidates=[]: expected at least one objective, such as candidates=[step_by_step].")
        if self.baseline in self.candidates:
            faults.append(f"candidates: {self.baseline} is the baseline; choose others, or another baseline.")
        if self.fraction is not None:
            try:
                parse_fraction(self.fraction)
            except ConfigError as error:
                faults.append(str(error).replace("data_fraction=", "fraction="))
        return faults

    @property
    def share(self) -> float | None:
        """``fraction`` as a number, or None."""
        return None if self.fraction is None else parse_fraction(self.fraction)

    @property
    def allowance(self) -> float:
        """The margin as a difference of scores."""
        return self.margin / 100


@dataclass
class CompareConfig:
    """Keys of ``dsbs.compare``; overrides of task, teacher, prompt, labels and rationales go to every run.

    Attributes:
        methods: ``student:objective`` pairs to train.
        fractions: fractions of the training data.
        seeds: random seeds.
        labels: ``gold`` or ``teacher``.
        rationales: a folder of annotations; None: the one of ``task``, ``teacher`` and ``prompt``.
        train: further arguments of every run, such as ``training.max_steps=500``.
        each: further arguments for one student, after those of ``train``: student -> arguments separated by spaces,
            such as ``each={encoder:"training.max_steps=500 training.learning_rate=5e-5"}``.
        other: file of other texts, one per line, to measure what ``objective=context`` forgets: their perplexity
            before and after; null: none.
        dry_run: only list what would be trained.
        output_dir: root folder of all outputs.
    """

    task: Any = None
    teacher: Any = None
    prompt: Any = None
    methods: list[str] = field(
        default_factory=lambda: [
            "logreg:finetune",
            "embedding:finetune",
            "encoder:finetune",
            "t5_scratch:finetune",
            "t5_scratch:step_by_step",
        ]
    )
    fractions: list[str] = field(default_factory=lambda: ["1"])
    seeds: list[int] = field(default_factory=lambda: [0])
    labels: str = "gold"
    rationales: str | None = None
    train: list[str] = field(default_factory=list)
    each: dict[str, str] = field(default_factory=dict)
    other: str | None = None
    dry_run: bool = False
    output_dir: str = "outputs"

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = [
            f"{key}: expected at least one." for key in ("methods", "fractions", "seeds") if not getattr(self, key)
        ]
        faults += [
            f"methods: {method}: expected student:objective, such as logreg:finetune."
            for method in self.methods
            if method.count(":") != 1 or not all(method.split(":"))
        ]
        students = {method.split(":")[0] for method in self.methods}
        faults += [
            f"each: {student}: expected a student of methods ({', '.join(sorted(students))})."
            for student in self.each
            if student not in students
        ]
        for student, words in self.each.items():
            try:
                shlex.split(words)
            except ValueError as error:
                faults.append(f"each: {student}: {words}: {str(error).lower()}.")
        faults += [
            f"{word}: students are compared by their test scores: drop it."
            for word in (*self.train, *(word for words in self.each.values() for word in words.split()))
            if word.startswith("test=") and word.lower() != "test=true"
        ]
        return faults
