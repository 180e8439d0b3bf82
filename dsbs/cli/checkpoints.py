"""From what the user names to a trained student that can answer."""

from dataclasses import dataclass
from pathlib import Path

from dsbs.cli.recalling import check_places, recall, recall_part, recall_run
from dsbs.core.errors import DataError
from dsbs.inference.checkpoint import Remembered, Saved, find_checkpoint, load_remembered, run_of
from dsbs.inference.predictor import Predictor, load_predictor
from dsbs.objectives.base import Objective
from dsbs.tasks.base import Task
from dsbs.tasks.metrics import allow_metric

FOUND = ("labels", "label_form", "answer_kind")  # settings of a task that may have been found in the training's data
NO_PLACE = ("task.path", "task.hub")


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint and what it says of itself; the student is not loaded yet.

    Attributes:
        folder: its folder.
        run: the folder of its run, or None where it was copied from there.
        remembered: what it remembers of its training.
        task: the task as it remembers it: without the place of the data.
        objective: how its answers are read.
    """

    folder: Path
    run: Path | None
    remembered: Remembered
    task: Task
    objective: Objective

    def task_of_run(self, path: str | None, trusted: bool) -> Task:
        """Return the task of the run, which knows where the data lies; else as the checkpoint remembers it.

        Args:
            path: other data, which the user named; then it matters no more what the run says.
            trusted: whether the user typed that data is read wherever the run says.

        Raises:
            DataError: see ``check_places``.
        """
        if self.run is None:
            return self.task
        run = recall_run(self.run)
        if path is None and not trusted:
            check_places(run, self.run)
        values = run.get("task")
        if isinstance(values, dict):
            values |= {key: self.remembered.task[key] for key in FOUND if key in self.remembered.task}
        task: Task = recall_part("task", values, f"{self.run}/config.yaml")
        return task

    def load(
        self, batch_size: int, decoding: str | None = None, task: Task | None = None, negligible: float = 0.0
    ) -> Predictor:
        """Load the student; see ``dsbs.inference.predictor.load_predictor`` and ``Saved``."""
        asked = task or self.task
        return load_predictor(
            Saved(self.folder, self.remembered, asked, self.objective, batch_size, decoding, negligible)
        )


def open_checkpoint(named: str, trusted: bool = False) -> Checkpoint:
    """Return the checkpoint that the user named by its folder, or that of its run.

    Args:
        named: the folder.
        trusted: whether the user typed that the run is their own: then its metric may be a function.

    Raises:
        DsbsError: where there is none, the run is not finished, or what it remembers is broken.
    """
    folder = find_checkpoint(named)
    place = f"{folder}/config.json"
    remembered = recall(Remembered, load_remembered(folder), place)
    task = recall_part("task", remembered.task, place)
    objective = recall_part("objective", remembered.objective, place)
    if trusted and (metric := getattr(task, "metric", None)):
        allow_metric(metric)
    # That it does not say where the data lies is as it should be.
    faults = [fault for fault in task.faults() if not fault.startswith(NO_PLACE)]
    if faults := remembered.faults() + faults + objective.faults():
        raise DataError(f"{place}: not as dsbs.train saves it.\n  - " + "\n  - ".join(faults))
    return Checkpoint(folder, run_of(folder), remembered, task, objective)
