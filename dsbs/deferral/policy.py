"""The deferral policy in ``defer.json``: the confidence below which an answer is left to the teacher."""

import math
import os
import shlex
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.files import write_json
from dsbs.core.records import Prediction
from dsbs.core.untrusted import Fields, is_finite, read_object
from dsbs.deferral.calibration import Calibration
from dsbs.inference.confidence import MAX_SAMPLES, MEASURED, SAMPLES, SCORED

NAME = "defer.json"


@dataclass(frozen=True)
class Policy:
    """When to defer.

    Attributes:
        threshold: answers with a lower confidence are deferred; infinite: all.
        share: of validation that is deferred.
        labels: answer -> its share among the student's answers to validation, to detect drift; empty where examples
            have no closed answers in common.
        examples: of validation; 0 where unknown.
        source: a hash of the checkpoint that it was chosen for, if known.
    """

    calibration: Calibration
    threshold: float
    share: float = 0.0
    labels: dict[str, float] = field(default_factory=dict)
    examples: int = 0
    source: str | None = None

    def confidence(self, prediction: Prediction) -> float:
        """Return the confidence in a prediction; see ``Calibration.apply``."""
        return self.calibration.apply(prediction)

    def defers(self, prediction: Prediction) -> bool:
        """Return whether the teacher should answer instead."""
        return self.confidence(prediction) < self.threshold


def shares_of(predictions: list[Prediction]) -> dict[str, float]:
    """Return answer -> its share of the predictions."""
    counts = Counter(str(one.label) for one in predictions)
    return {label: count / len(predictions) for label, count in sorted(counts.items())}


def save_policy(path: Path, policy: Policy, measured: dict[str, Any]) -> None:
    """Write ``defer.json``: the policy and the figures measured with it."""
    finite = policy.threshold if math.isfinite(policy.threshold) else None
    write_json(path, {**asdict(policy), "threshold": finite, **measured})


def load_policy(path: Path) -> Policy:
    """Read ``defer.json``.

    Raises:
        DataError: it is missing or broken.
    """
    choose = f"python -m dsbs.defer {shlex.quote(f'checkpoint={path.parent}')} accuracy=0.95, or share=0.2"
    if not os.path.exists(path):  # noqa: PTH110 - which raises nothing where a folder may not be searched
        raise DataError(f"{path}: there is no such file. Choose a threshold: {choose}.")
    try:
        values = read_object(path)
        stored = values["calibration"]
        steps = tuple((float(start), float(level)) for start, level in stored["steps"])
        calibration = Calibration(
            str(stored["confidence"]), float(stored["temperature"]), steps, int(stored.get("samples", SAMPLES))
        )
        threshold = math.inf if values["threshold"] is None else float(values["threshold"])
        labels = {str(label): float(share) for label, share in values["labels"].items()}
        examples, source = Fields(values).count("examples") or 0, Fields(values).text("source")
        policy = Policy(calibration, threshold, float(values["share"]), labels, examples, source)
    except (DataError, OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError):
        raise DataError(f"{path}: not written by dsbs.defer. Choose a threshold again: {choose}.") from None
    numbers = [calibration.temperature, policy.share, *labels.values(), *(number for step in steps for number in step)]
    if (
        not all(map(is_finite, numbers))
        or math.isnan(threshold)
        or calibration.temperature <= 0
        or calibration.confidence not in (*SCORED, *MEASURED)
        or not 2 <= calibration.samples <= MAX_SAMPLES
    ):
        raise DataError(f"{path}: its calibration is invalid. Choose a threshold again: {choose}.")
    return policy


def policy_path(folder: Path, run: Path | None) -> Path:
    """Return the path of the policy: in the run of a checkpoint, else in the folder of an export or a copy."""
    own = run is not None and folder.resolve() == (run / "checkpoint").resolve()
    return run / NAME if run is not None and own else folder / NAME
