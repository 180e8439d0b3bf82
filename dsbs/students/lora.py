"""LoRA (Hu et al., 2021, arXiv 2106.09685): low-rank updates are trained, the weights are frozen."""

import importlib.util
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dsbs.core.checks import ABOVE_0, SHARE_BELOW_1, range_faults
from dsbs.core.errors import StudentError

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel


@dataclass
class Lora:
    """Settings of LoRA; names as in ``peft``.

    Attributes:
        r: rank of the update of each matrix; 0: no LoRA, all weights are trained.
        alpha: the update is scaled by alpha / r.
        dropout: dropout before each update.
        target_modules: names of the updated matrices; empty: every linear layer but the output's.
    """

    r: int = 0
    alpha: float = 16.0
    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = []
        if self.r < 0:
            faults.append(f"student.lora.r={self.r}: expected 0 (no LoRA) or more.")
        faults += range_faults(self, ABOVE_0, "alpha", prefix="student.lora.")
        faults += range_faults(self, SHARE_BELOW_1, "dropout", prefix="student.lora.")
        if self.r > 0 and importlib.util.find_spec("peft") is None:
            faults.append(f"student.lora.r={self.r} needs the package peft: pip install 'dsbs[lora]'")
        return faults

    def apply(self, student: "StudentModel") -> "StudentModel":
        """Return a student with LoRA added, in place; all else is frozen but the added task prefixes.

        Raises:
            StudentError: where no matrix has one of the names, or peft does not support one.
        """
        if self.r == 0:
            return student
        from peft import LoraConfig
        from peft.tuners import LoraModel

        table = student.embedding_tables()[0]
        # One weight may lie in several modules; peft knows that of the first one, and keeps them as one.
        modules = [name for name, module in student.model.named_modules() if getattr(module, "weight", None) is table]
        tied = table is student.embedding_tables()[1]
        config = LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,  # a float: peft divides it by r, whatever its type
            lora_dropout=self.dropout,
            target_modules=list(self.target_modules) or "all-linear",
            trainable_token_indices={modules[0 if tied else -1]: student.prefix_ids} if student.prefix_ids else None,
        )
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # GPT-2 keeps its matrices transposed; peft notices and tells
                student.merge_lora = LoraModel(student.model, config, "default").merge_and_unload
        except ValueError as error:
            raise StudentError(
                f"student.lora cannot be applied: {str(error).splitlines()[0]} Leave student.lora.target_modules empty "
                "for every linear layer."
            ) from error
        return student
