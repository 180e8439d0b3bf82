"""Rewards, returns and importance weights of samples, for ``minillm`` (Gu et al., 2024, section 2.2)."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from accelerate.utils import send_to_device

from dsbs.objectives.divergences import mix, soften
from dsbs.objectives.teacher import LiveTeacher
from dsbs.students.collator import Collator, Row
from dsbs.students.decoding import evaluating
from dsbs.students.sampling import LARGEST
from dsbs.students.tensors import IGNORED, hide_end

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel


def judge(
    student: "StudentModel",
    teacher: LiveTeacher,
    rows: Sequence[Row],
    bf16: bool,
    teacher_share: float,
    reward_clip: float,
) -> list[dict[str, list[float]]]:
    """Return for each row, by token of its label: ``importance`` w_t, ``returns`` R_{t+1} and ``log_q``.

    Args:
        student: as it was when it sampled.
        rows: with samples as labels.
    """
    found: list[dict[str, list[float]]] = []
    collate = Collator(student)
    for start in range(0, len(rows), LARGEST):
        batch = send_to_device(collate(list(rows[start : start + LARGEST])), student.device)
        label = batch["targets"]["label"]
        with evaluating([student], bf16):
            logits = student({label["source"]: batch["inputs"][label["source"]]}, {"label": label})["label"]
            taught = teacher.logits(batch, ("label",))["label"]
        labels, logits = label["labels"], logits[..., : taught.shape[-1]]
        lengths = labels.ne(IGNORED).sum(1).tolist()
        if (end := teacher.hidden_end) is not None:
            labels = labels.masked_fill(labels.eq(end), IGNORED)
            taught, logits = (hide_end(one, end) for one in (taught, logits))
        known = labels.ne(IGNORED)
        log_p, log_q = pick_log_probabilities(taught, labels), pick_log_probabilities(logits, labels)
        importance = importance_weights(log_p, log_q, teacher_share) * known
        returns = mean_returns((log_p - log_q).clamp(-reward_clip, reward_clip), known)
        signals = {"importance": importance, "returns": returns, "log_q": log_q}
        lists = {name: values.tolist() for name, values in signals.items()}
        found += [
            {name: values[place][:length] for name, values in lists.items()} for place, length in enumerate(lengths)
        ]
    return found


def pick_log_probabilities(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each token of labels [R, T], in float32; 0 at ignored positions.

    Args:
        logits: [R, T, V].
        labels: [R, T].
    """
    known = labels.ne(IGNORED)
    picked = soften(logits, 1.0).gather(2, labels.clamp(min=0).unsqueeze(2)).squeeze(2)
    return torch.where(known, picked, torch.zeros_like(picked))


def importance_weights(log_p: torch.Tensor, log_q: torch.Tensor, teacher_share: float) -> torch.Tensor:
    """Return q / (share p + (1 - share) q) for log-probabilities log p and log q of any shape.

    >>> weights = importance_weights(torch.tensor([0.5, 0.1]).log(), torch.tensor([0.1, 0.1]).log(), 0.5)
    >>> [round(weight, 4) for weight in weights.tolist()]
    [0.3333, 1.0]
    """
    return (log_q - mix(log_p, log_q, teacher_share)).exp()


def mean_returns(rewards: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Return at each position the mean reward of the later positions [R, T]; 0 at the last one and at padding.

    >>> mean_returns(torch.tensor([[5.0, 1.0, 3.0, 9.0]]), torch.tensor([[True, True, True, False]])).tolist()
    [[2.0, 3.0, 0.0, 0.0]]
    """
    rewards = rewards * known
    behind = rewards.flip(1).cumsum(1).flip(1) - rewards
    lengths = known.flip(1).cumsum(1).flip(1) - known.long()
    return behind / lengths.clamp(min=1) * known
