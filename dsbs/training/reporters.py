"""Trackers other than W&B, through transformers' own callbacks."""

import importlib.util
import os

from transformers import TrainerCallback
from transformers.integrations import get_reporting_integration_callbacks

from dsbs.core.errors import ConfigError
from dsbs.core.tracking import OTHERS, Elsewhere


def build_reporters(elsewhere: Elsewhere) -> list[TrainerCallback]:
    """Return transformers' callbacks for other trackers; local files go below the output folder.

    Raises:
        ConfigError: a tracker is installed but cannot be used.
    """
    set_places(elsewhere)
    callbacks: list[TrainerCallback] = []
    for name in elsewhere.names:
        try:
            # A failure in the callback's own import would be printed a second time when the callback is deleted.
            importlib.import_module(next(filter(importlib.util.find_spec, OTHERS[name])))
            [build] = get_reporting_integration_callbacks([name])
            callback = build()
        except (ImportError, RuntimeError, ValueError, AttributeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ConfigError(f"tracking.report_to=[{name}]: cannot be used here: {reason}") from error
        if name == "tensorboard" and callback.logging_dir is None:
            callback.logging_dir = str(elsewhere.directory / name / elsewhere.run)
        callbacks.append(callback)
    return callbacks


def set_places(elsewhere: Elsewhere) -> None:
    """Set the folders of trackers that read them from the environment; variables that the user has set stay."""
    places = {
        "mlflow": {
            "MLFLOW_TRACKING_URI": f"sqlite:///{elsewhere.directory / 'mlflow' / 'mlflow.db'}",
            "MLFLOW_EXPERIMENT_NAME": elsewhere.project,
        },
        "trackio": {"TRACKIO_DIR": str(elsewhere.directory / "trackio")},
    }
    for name in elsewhere.names:
        if name in places:
            (elsewhere.directory / name).mkdir(parents=True, exist_ok=True)
        for variable, value in places.get(name, {}).items():
            os.environ.setdefault(variable, value)
