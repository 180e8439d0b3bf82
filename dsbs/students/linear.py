"""The base of students that are a logistic regression over features. No torch here."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dsbs.core.checks import AT_LEAST_1, range_faults
from dsbs.students.base import Student


@dataclass
class LinearStudent(Student):
    """Base of the students that are a logistic regression over features of the input, trained by scikit-learn.

    Attributes:
        C: inverse L2 regularization strengths to try; the best one on validation is used.
        max_iter: maximum L-BFGS iterations for each of them.
    """

    backend: ClassVar[str] = "sklearn"
    reads_training: ClassVar[bool] = False

    C: list[float] = field(default_factory=lambda: [0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0])
    max_iter: int = 500

    def faults(self) -> list[str]:
        faults = super().faults() + range_faults(self, AT_LEAST_1, "max_iter", prefix="student.")
        if not self.C or any(not 0 < value < float("inf") for value in self.C):
            faults.append(f"student.C={self.C}: expected one or more numbers above 0, such as [0.1,1,10].")
        return faults

    def build_features(self, cache: Path) -> Any:
        """Return the transformer from texts to features [N, d], with ``fit_transform`` and ``transform``.

        Args:
            cache: a folder for files that may be deleted.

        Raises:
            StudentError: where it needs weights that are not available.
        """
        raise NotImplementedError
