"""Trainer callbacks: progress in the terminal, logs for W&B and other trackers, early stopping."""

import importlib.util
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import transformers
from transformers import TrainerCallback, TrainerState
from transformers.integrations import get_reporting_integration_callbacks

from dsbs.core.errors import ConfigError
from dsbs.core.progress import Meter
from dsbs.core.tracking import OTHERS, OtherTrackers, Tracker
from dsbs.inference.metrics import show_score
from dsbs.training.settings import Training

logger = logging.getLogger(__name__)


class ProgressCallback(TrainerCallback):
    """Progress bar: steps, loss, validation score, time left.

    Attributes:
        title: what the score is; None: the metric's name.
    """

    def __init__(self) -> None:
        self.title: str | None = None
        self.loss: float | None = None
        self.score: float | None = None
        self._open = ExitStack()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Remove the bar at the end of the training, also after an exception."""
        with self._open:
            yield

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Show the bar; a resumed training starts at its step."""
        self.meter = self._open.enter_context(Meter("training", state.max_steps, state.global_step))
        self.meter.show()
        self.meter.log()

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Advance the bar."""
        self.meter.update(state.global_step)

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show loss and score; without a terminal, print a line per evaluation."""
        metric = args.metric_for_best_model
        found = (logs or {}).get(f"eval_{metric}")
        self.loss = (logs or {}).get("loss", self.loss)
        self.score = self.score if found is None else found
        # The first evaluation may come before the first log, and the other way round.
        parts = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        parts += [] if self.score is None else [f"validation {self.title or metric} {show_score(metric, self.score)}"]
        self.meter.update(state.global_step, ", ".join(parts), log=found is not None)


class TrackingCallback(TrainerCallback):
    """Pass the trainer's logs to the tracker, named ``train/…`` and ``validation/…``, as W&B groups them."""

    def __init__(self, tracker: Tracker) -> None:
        self.tracker = tracker

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Log an entry."""
        named = {
            (f"validation/{key[5:]}" if key.startswith("eval_") else f"train/{key}"): value
            for key, value in (logs or {}).items()
        }
        self.tracker.log(named, step=state.global_step)


class EarlyStoppingCallback(transformers.EarlyStoppingCallback):
    """Early stopping that counts evaluations from the first score above 0: students that generate take long to it.

    Checkpoints hold the count under the class's name, which is that of its base.
    """

    def check_metric_value(self, args: Any, state: TrainerState, control: Any, metric_value: float) -> None:
        if state.best_metric != 0 or metric_value != 0:
            super().check_metric_value(args, state, control, metric_value)


def build_callbacks(settings: Training, tracker: Tracker) -> list[TrainerCallback]:
    """Return the callbacks that depend on settings: trackers, early stopping."""
    callbacks: list[TrainerCallback] = [TrackingCallback(tracker), *build_reporters(tracker.others)]
    if settings.early_stopping_patience is not None:
        callbacks.append(EarlyStoppingCallback(settings.early_stopping_patience))
    return callbacks


def build_reporters(others: OtherTrackers) -> list[TrainerCallback]:
    """Return transformers' callbacks for other trackers; local files go below the output folder.

    Raises:
        ConfigError: a tracker is installed but cannot be used.
    """
    set_tracker_folders(others)
    callbacks: list[TrainerCallback] = []
    for name in others.names:
        try:
            # A failure in the callback's own import would be printed a second time when the callback is deleted.
            importlib.import_module(next(filter(importlib.util.find_spec, OTHERS[name])))
            [build] = get_reporting_integration_callbacks([name])
            callback = build()
        except (ImportError, RuntimeError, ValueError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"tracking.report_to=[{name}]: cannot be used here: {reason}") from error
        if name == "tensorboard" and callback.logging_dir is None:
            callback.logging_dir = str(others.directory / name / others.run)
        callbacks.append(_stop_at_errors(callback, name))
    return callbacks


def _stop_at_errors(callback: TrainerCallback, name: str) -> TrainerCallback:
    """Return a callback of another tracker whose first error is a warning, and the last thing that it reports."""

    def guarded(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if vars(callback).get("_failed"):
                return None
            try:
                return act(*args, **kwargs)
            except Exception as error:  # whatever it is: tracking must not cost a user the training run
                vars(callback)["_failed"] = True
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                logger.warning("%s: %s. The run continues and is not reported there any more.", name, reason)
                return None

        return call

    for event in [name for name in dir(callback) if name.startswith("on_")]:
        setattr(callback, event, guarded(getattr(callback, event)))
    return callback


def set_tracker_folders(others: OtherTrackers) -> None:
    """Set the folders of trackers that read them from the environment; variables that the user has set stay."""
    variables = {
        "mlflow": {
            "MLFLOW_TRACKING_URI": f"sqlite:///{others.directory / 'mlflow' / 'mlflow.db'}",
            "MLFLOW_EXPERIMENT_NAME": others.project,
        },
        "trackio": {"TRACKIO_DIR": str(others.directory / "trackio")},
    }
    for name in others.names:
        if name in variables:
            (others.directory / name).mkdir(parents=True, exist_ok=True)
        for variable, value in variables.get(name, {}).items():
            os.environ.setdefault(variable, value)
