"""Keys of ``dsbs.defer``."""

from dataclasses import dataclass

from dsbs.core.checks import AT_LEAST_1, option_faults, range_faults
from dsbs.inference.confidence import MAX_SAMPLES, MEASURED, SAMPLES, SCORED

CONFIDENCES = (*SCORED, *MEASURED)
CALIBRATIONS = ("auto", "temperature", "isotonic", "none")
GOALS = ("accuracy", "agreement", "share", "usd_per_1000")


@dataclass
class DeferConfig:
    """Keys of ``dsbs.defer``. Exactly one of accuracy, agreement, share, usd_per_1000 is given: it sets the threshold.

    Attributes:
        checkpoint: the folder of a finished run, its checkpoint, or an export.
        confidence: ``probability`` of the label, or its ``margin`` over the second best, among closed answers;
            ``agreement`` of sampled answers with the label, or ``logprob`` of the label per token, also for free
            answers.
        samples: answers sampled for ``confidence=agreement``.
        compare: only print how well each confidence separates right answers from wrong ones, and how many answers it
            keeps at ``accuracy`` (0.9 by default); no threshold is chosen.
        calibration: ``temperature``, ``isotonic``, ``none``, or ``auto``: isotonic from 1,000 validation examples on.
        accuracy: target accuracy of the answers that the student keeps, with 95% confidence.
        agreement: target agreement of kept answers with the teacher, with 95% confidence.
        share: share of answers to defer, from 0 to 1.
        usd_per_1000: maximum dollars per 1,000 answers.
        teacher_usd_per_1000: price of 1,000 teacher answers, in dollars; None: the extraction's, if known.
        batch_size: examples per forward pass.
        trust_run: trust the run's ``config.yaml``: its data may lie outside this folder, and its ``task.metric`` may be
            a function.
    """

    checkpoint: str = "???"
    confidence: str = "probability"
    samples: int = SAMPLES
    compare: bool = False
    calibration: str = "auto"
    accuracy: float | None = None
    agreement: float | None = None
    share: float | None = None
    usd_per_1000: float | None = None
    teacher_usd_per_1000: float | None = None
    batch_size: int = 64
    trust_run: bool = False

    @property
    def goal(self) -> str:
        """Name of the setting that decides the threshold."""
        return next(name for name in GOALS if getattr(self, name) is not None)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = option_faults(self, confidence=CONFIDENCES, calibration=CALIBRATIONS)
        faults += range_faults(self, AT_LEAST_1, "batch_size")
        given = [name for name in GOALS if getattr(self, name) is not None]
        if self.compare and (beside := [name for name in given if name != "accuracy"]):
            faults.append(f"compare=true chooses no threshold: leave out {' and '.join(beside)}.")
        if len(given) != 1 and not self.compare:
            found = f"found {' and '.join(given)}" if given else "found none"
            faults.append(f"Expected one of {', '.join(GOALS)}, such as accuracy=0.95; {found}.")
        for key in ("accuracy", "agreement", "share"):
            value = getattr(self, key)
            if value is not None and not 0 <= value <= 1:
                faults.append(f"{key}={value}: expected from 0 to 1, such as 0.95.")
        for key in ("usd_per_1000", "teacher_usd_per_1000"):
            value = getattr(self, key)
            if value is not None and not 0 <= value < float("inf"):
                faults.append(f"{key}={value}: expected dollars, 0 or more.")
        if self.confidence in MEASURED and self.calibration == "temperature":
            faults.append(f"calibration=temperature: confidence={self.confidence} has no scores that it could scale.")
        if not 2 <= self.samples <= MAX_SAMPLES:
            faults.append(f"samples={self.samples}: expected from 2 to {MAX_SAMPLES:,}.")
        return faults
