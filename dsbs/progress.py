"""The progress of a training: a bar where somebody looks, plain lines where nobody does."""

import logging
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from transformers import TrainerCallback, TrainerState

logger = logging.getLogger(__name__)


class ProgressCallback(TrainerCallback):
    """Steps, loss, validation accuracy and the time left."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bar: Progress | None = None
        self.loss: float | None = None
        self.accuracy: float | None = None

    def on_train_begin(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Show the bar."""
        if not state.is_world_process_zero:
            return
        if not self.console.is_terminal:
            logger.info("training: step %d of %d", state.global_step, state.max_steps)
            return
        self.bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[said]}"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=self.console,
            transient=True,
        )
        self.bar.start()
        self.task = self.bar.add_task("training", total=state.max_steps, completed=state.global_step, said="")

    def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Move the bar."""
        if self.bar:
            self.bar.update(self.task, completed=state.global_step)

    def on_log(self, args: Any, state: TrainerState, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Show loss and accuracy; without a terminal, a line for each evaluation."""
        if not state.is_world_process_zero:
            return
        self.loss = (logs or {}).get("loss", self.loss)
        self.accuracy = (logs or {}).get("eval_accuracy", self.accuracy)
        # The first evaluation may come before the first log, and the other way round.
        parts = [] if self.loss is None else [f"loss {self.loss:.4f}"]
        parts += [] if self.accuracy is None else [f"validation accuracy {100 * self.accuracy:.1f}%"]
        said = ", ".join(parts)
        if self.bar:
            self.bar.update(self.task, said=said)
        elif "eval_accuracy" in (logs or {}):
            seconds = (logs or {}).get("seconds", 0.0)
            left = seconds / max(1, state.global_step) * (state.max_steps - state.global_step)
            logger.info("step %d of %d: %s, about %.0f s left", state.global_step, state.max_steps, said, left)

    def on_train_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
        """Take the bar away."""
        if self.bar:
            self.bar.stop()
            self.bar = None
