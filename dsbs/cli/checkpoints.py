"""From the folder that the user names to a trained student."""

import logging
from dataclasses import dataclass
from pathlib import Path

from dsbs.cli.saved_settings import build_part, build_settings, check_data_paths
from dsbs.core.errors import DataError
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import read_yaml
from dsbs.deferral.calibration import Calibration
from dsbs.deferral.policy import Policy, load_policy, policy_path
from dsbs.inference.checkpoint import Remembered, Saved, find_checkpoint, load_remembered, run_of
from dsbs.inference.exports.records import describe_outdated, find_source
from dsbs.inference.predictor import Predictor, load_predictor
from dsbs.objectives.base import Objective
from dsbs.tasks.base import Task
from dsbs.tasks.metrics import allow_metric

logger = logging.getLogger(__name__)
# Settings of a task that may have been found in the training's data.
FOUND = ("labels", "label_names", "label_form", "answer_kind")
NO_PLACE = ("task.path", "task.hub")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and the settings saved in it; the student is not loaded yet.

    Attributes:
        run: the folder of its run, or None where it was copied from there.
        remembered: the settings that it was trained with.
        task: the task among them, without the place of the data.
        objective: how its answers are read.
    """

    folder: Path
    run: Path | None
    remembered: Remembered
    task: Task
    objective: Objective

    def task_of_run(self, path: str | None, trusted: bool) -> Task:
        """Return the task of the run, with the place of the data; without a run, the task in the checkpoint.

        Args:
            path: other data that the user named; then the places that the run names are not checked.
            trusted: whether the user typed ``trust_run=true``: data is read wherever the run says.

        Raises:
            DataError: see ``check_data_paths``.
        """
        if self.run is None:
            return self.task
        run = read_yaml(self.run / "config.yaml")
        if path is None and not trusted:
            check_data_paths(run, self.run)
        values = run.get("task")
        if isinstance(values, dict):
            values |= {key: self.remembered.task[key] for key in FOUND if key in self.remembered.task}
        task: Task = build_part("task", values, f"{self.run}/config.yaml")
        return task

    def load(
        self, batch_size: int, decoding: str | None = None, task: Task | None = None, negligible: float = 0.0
    ) -> Predictor:
        """Load the student; errors are those of ``dsbs.inference.predictor.load_predictor``.

        Args:
            decoding: ``rank``, ``generate`` or ``auto``; None: as in training.
            negligible: probability below which scores of closed answers need not be exact; see ``Saved``.
        """
        asked = task or self.task
        return load_predictor(
            Saved(self.folder, self.remembered, asked, self.objective, batch_size, decoding, negligible)
        )

    def policy(self, named: str | None = None, *, optional: bool = False) -> Policy:
        """Return the policy of deferral that ``dsbs.defer`` chose for the checkpoint.

        Args:
            named: another file.
            optional: whether a policy that defers nothing is returned if ``dsbs.defer`` chose none.

        Raises:
            DataError: it is missing or broken.
        """
        path = Path(named) if named else policy_path(self.folder, self.run)
        if optional and not named and not path.is_file():
            return Policy(Calibration(), 0.0)
        policy = load_policy(path)
        if policy.source not in (None, find_source(self.folder)):
            logger.warning(
                "%s: its threshold was chosen for other weights than these. Choose it again: python -m dsbs.defer "
                "checkpoint=%s ...", path, self.folder,
            )  # fmt: skip
        return policy


def open_checkpoint(named: str, trusted: bool = False) -> Checkpoint:
    """Return the checkpoint that the user named by its folder, or that of its run.

    Args:
        trusted: whether the user typed ``trust_run=true``: then its metric may be a Python function.

    Raises:
        DsbsError: where there is none, the run is not finished, or the saved settings are broken.
    """
    folder = find_checkpoint(named)
    run = run_of(folder)
    if warning := describe_outdated(folder, run):
        log_once(warning)
    source = f"{folder}/config.json"
    remembered = build_settings(Remembered, load_remembered(folder), source)
    task = build_part("task", remembered.task, source)
    objective = build_part("objective", remembered.objective, source)
    if trusted and (metric := getattr(task, "metric", None)):
        allow_metric(metric)
    # That it does not say where the data lies is as it should be.
    faults = [fault for fault in task.faults() if not fault.startswith(NO_PLACE)]
    if faults := remembered.faults() + faults + objective.faults():
        raise DataError(f"{source}: not as dsbs.train saves it.\n  - " + "\n  - ".join(faults))
    return Checkpoint(folder, run, remembered, task, objective)
