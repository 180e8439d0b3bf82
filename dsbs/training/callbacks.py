"""The progress of a training."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerState

from dsbs.core.progress import Meter


class ProgressCallback(TrainerCallback):
    """Steps, loss, validation accuracy and the time left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.loss: float | None = None
        self.accuracy: float | None = None
        self._open = ExitStack()

    @contextmanager
    def showing(self) -> Iterator[None]:
        """Take the bar away at the end, whatever the training ended with."""
        with self._open:
            yield

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Show where it starts."""
        self.meter = self._open.enter_context(Meter("training", state.max_steps, state.global_step, self.console))
        self.meter.show()
        self.meter.tell()

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Count a step."""
        self.meter.update(state.global_step)

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show loss and accuracy; without a terminal, a line for each evaluation."""
        self.loss = (logs or {}).get("loss", self.loss)
        self.accuracy = (logs or {}).get("eval_accuracy", self.accuracy)
        # The first evaluation may come before the first log, and the other way round.
        parts = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        parts += [] if self.accuracy is None else [f"validation accuracy {100 * self.accuracy:.1f}%"]
        self.meter.update(state.global_step, ", ".join(parts))
        if "eval_accuracy" in (logs or {}):
            self.meter.tell()
