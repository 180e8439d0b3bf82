"""A torch student ranks closed answers and writes free ones; ``StudentModel.rank`` and ``write`` are these two."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from dsbs.core.progress import Meter
from dsbs.core.records import Example, Prediction
from dsbs.students.answering import DecodingConfig
from dsbs.students.tensors import IGNORED, pad

if TYPE_CHECKING:
    from dsbs.students.model import StudentModel

MOST_PACKED = 128  # tokens of all choices of an example that are read in one row; what they do not see costs, too


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def slow_bf16() -> bool:
    """Tell whether there is no GPU and the CPU takes longer over a product in bfloat16 than over one in float32.

    Such a CPU (one without AVX512-BF16 or AMX, say) only imitates the format, at a tenth of the speed or less.
    """
    if torch.accelerator.is_available():
        return False
    seconds = []
    for dtype in (torch.float32, torch.bfloat16):
        one, two = torch.ones(64, 512, dtype=dtype), torch.ones(512, 512, dtype=dtype)
        times = []
        for _ in range(3):
            started = time.perf_counter()
            torch.mm(one, two)
            times.append(time.perf_counter() - started)
        seconds.append(min(times))
    return seconds[1] > 2 * seconds[0]


def rank(student: "StudentModel", examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
    """Score each closed answer by the sum of its log-probabilities in nats, its end included; the best one wins.

    A choice that an example lists twice is scored once. Each batch is one encoder pass and one decoder pass.
    """
    texts = sorted({choice for example in examples for choice in example.choices or ()})
    encoded = student.encode_targets([choice + reading.suffix for choice in texts])
    if reading.suffix:  # the target goes on behind the suffix, so its end says nothing
        encoded = [row[:-1] for row in encoded]
    rows_of = dict(zip(texts, encoded, strict=True))
    predictions: dict[int, Prediction] = {}
    for positions, inputs in _batches(student, examples, "label", reading):
        choices = [list(dict.fromkeys(examples[position].choices or ())) for position in positions]
        scores = _score(student, inputs, [[rows_of[choice] for choice in row] for row in choices], reading.bf16)
        for position, row, row_scores in zip(positions, choices, scores, strict=True):
            example = examples[position]
            scored = dict(zip(row, row_scores, strict=True))
            predictions[position] = Prediction.ranked(example.id, example.label, scored)
    return [predictions[position] for position in range(len(examples))]


def generate(
    student: "StudentModel", examples: Sequence[Example], reading: DecodingConfig, kind: str = "label"
) -> list[str]:
    """Return what the student writes for each example, in their order."""
    texts: dict[int, str] = {}
    for positions, inputs in _batches(student, examples, kind, reading):
        with inference(student, reading.bf16):
            written = student.generate(inputs, kind, reading.max_new_tokens)
        texts.update(zip(positions, written, strict=True))
    return [texts[position] for position in range(len(examples))]


def _batches(
    student: "StudentModel", examples: Sequence[Example], kind: str, reading: DecodingConfig
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """Yield positions and encoder inputs of batches of about equal length, the longest first."""
    rows = student.encode_inputs([example.input for example in examples], kind, reading.max_input_tokens)
    order = sorted(range(len(rows)), key=lambda position: -len(rows[position]))
    with Meter(f"reading {kind}s off the student", len(order)) as meter:
        for start in range(0, len(order), reading.batch_size):
            positions = order[start : start + reading.batch_size]
            ids = pad([rows[position] for position in positions], student.pad_id)
            mask = pad([[1] * len(rows[position]) for position in positions], 0)
            yield positions, {"input_ids": ids.to(student.device), "attention_mask": mask.to(student.device)}
            meter.update(start + len(positions))


@contextmanager
def inference(student: "StudentModel", bf16: bool) -> Iterator[None]:
    """No gradients, no dropout, bfloat16 if asked; the mode from before comes back afterwards."""
    training = student.training
    student.eval()
    try:
        with torch.inference_mode(), torch.autocast(student.device.type, dtype=torch.bfloat16, enabled=bf16):
            yield
    finally:
        student.train(training)


def _score(
    student: "StudentModel", inputs: dict[str, torch.Tensor], choices: list[list[list[int]]], bf16: bool
) -> list[list[float]]:
    """Return the log-probability of each choice (token ids) of each example."""
    pack = student.packs and max(sum(map(len, rows)) for rows in choices) <= MOST_PACKED
    # Each row of the decoder: an example with all of its choices one behind the other, or one choice.
    packed = choices if pack else [[row] for rows in choices for row in rows]
    owners = range(len(choices)) if pack else [owner for owner, rows in enumerate(choices) for _ in rows]
    start = student.start_id("label")
    labels = pad([list(chain.from_iterable(rows)) for rows in packed], IGNORED).to(student.device)
    ids = pad([[id for row in rows for id in (start, *row[:-1])] for rows in packed], student.pad_id)
    most = max(map(len, packed))
    blocks = pad([[number for number, row in enumerate(rows) for _ in row] for rows in packed], most)
    with inference(student, bf16):
        places = torch.tensor(owners, device=student.device)
        states = student.select(student.encode(inputs, readers=max(map(len, choices))), places)
        mask = inputs["attention_mask"].index_select(0, places)
        packing = blocks.to(student.device) if pack else None
        logits = student.decode_logits(states, mask, ids.to(student.device), packing).float()
        tokens = F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    sums = torch.zeros(len(packed), most + 1).scatter_add_(1, blocks, -tokens.view_as(labels).cpu())
    numbers = iter(sums[row, place].item() for row, rows in enumerate(packed) for place in range(len(rows)))
    return [[next(numbers) for _ in rows] for rows in choices]
