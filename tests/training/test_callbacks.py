"""Trackers beside W&B: their errors cost no training."""

import logging
from pathlib import Path
from typing import Any

import pytest
from transformers import TrainerCallback

from dsbs.core.tracking import OtherTrackers
from dsbs.training import callbacks


class Unreachable(TrainerCallback):
    """A tracker whose server has gone."""

    logging_dir: str | None = None
    asked = 0

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        self.asked += 1
        raise ConnectionError("API request to http://tracker failed\nfor the last time")


def test_an_unreachable_tracker_is_one_warning_and_is_not_asked_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(callbacks, "get_reporting_integration_callbacks", lambda names: [Unreachable])
    [callback] = callbacks.build_reporters(OtherTrackers(("tensorboard",), tmp_path, "project", "run"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            callback.on_log(None, None, None, logs={})  # type: ignore[arg-type]
    assert callback.asked == 1  # type: ignore[attr-defined]
    assert caplog.messages == [
        "tensorboard: API request to http://tracker failed. The run continues and is not reported there any more."
    ]
