"""Examples, tokens and seconds that a training takes, kept in its log so that a resumed run goes on counting."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class Effort:
    """Counts over all resumes and processes.

    Attributes:
        example_visits: training examples, each counted every time it is seen.
        label_tokens: tokens of labels in the loss.
        target_tokens: tokens of all targets in the loss.
        evaluation_seconds: time of evaluations on validation.
    """

    example_visits: int = 0
    label_tokens: int = 0
    target_tokens: int = 0
    evaluation_seconds: float = 0.0
    _last = (0, 0.0)  # target tokens and seconds of training at the last `speed`; no field

    def add(self, parts: Iterable[tuple[int, int, int]]) -> None:
        """Count a step.

        Args:
            parts: of each process: examples, tokens of labels, tokens of all targets.
        """
        for examples, label_tokens, target_tokens in parts:
            self.example_visits += examples
            self.label_tokens += label_tokens
            self.target_tokens += target_tokens

    def to_log(self) -> dict[str, float]:
        """Return the counts as fields of a log entry, from which ``restore`` restores them."""
        return asdict(self) | {"evaluation_seconds": round(self.evaluation_seconds, 2)}

    def restore(self, entry: Mapping[str, Any]) -> None:
        """Restore the counts from a log entry; fields that it lacks stay as they are."""
        for name in asdict(self):
            setattr(self, name, entry.get(name, getattr(self, name)))
        self._last = (self.target_tokens, entry.get("seconds", 0.0) - self.evaluation_seconds)

    def speed(self, seconds: float) -> float:
        """Return target tokens per second of training, evaluation left out, since the last call.

        Args:
            seconds: duration of the training so far, evaluation included.
        """
        now = (self.target_tokens, seconds - self.evaluation_seconds)
        tokens, taken = now[0] - self._last[0], now[1] - self._last[1]
        self._last = now
        return round(tokens / max(taken, 1e-9), 1)

    def account(self, seconds: float, examples: int) -> dict[str, Any]:
        """Return the fields of ``metrics.json``.

        Args:
            seconds: duration of the training, evaluation included.
        """
        training = max(seconds - self.evaluation_seconds, 1e-9)
        return {
            **self.to_log(),
            "epochs": round(self.example_visits / examples, 4),
            "seconds": round(seconds, 1),
            "examples_per_second": round(self.example_visits / training, 2),
        }


def read_history(log: Sequence[Mapping[str, Any]], metric: str) -> list[dict[str, float]]:
    """Return the course of a training from the trainer's log: losses and validation scores by step.

    >>> log = [{"step": 10, "loss": 1.2, "loss_label": 1.0, "seconds": 3}, {"step": 10, "eval_accuracy": 0.5}]
    >>> read_history(log, "accuracy")
    [{'step': 10, 'loss': 1.2, 'loss_label': 1.0}, {'step': 10, 'validation': 0.5}]
    """
    history = []
    for entry in log:
        kept = {name: entry[name] for name in entry if name == "loss" or name.startswith("loss_")}
        if f"eval_{metric}" in entry:
            kept["validation"] = entry[f"eval_{metric}"]
        if kept:
            history.append({"step": entry["step"], **kept})
    return history
