"""Decoding of torch students: ranking closed answers, and greedy generation."""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from dsbs.core.progress import Meter
from dsbs.core.records import Example, Prediction
from dsbs.students.answering import DecodingConfig
from dsbs.students.model import StudentModel
from dsbs.students.ranking import can_grow, score_rows, score_trees
from dsbs.students.tensors import pad
from dsbs.students.trees import Search, Tree

SMALL = 64  # nodes up to which a tree is scored completely


def best_device() -> torch.device:
    """Return the GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def slow_bf16() -> bool:
    """Return whether there is no GPU and the CPU is slower in bfloat16 than in float32; measured on small products.

    A CPU without AVX512-BF16 or AMX emulates the format, at a tenth of the speed or less.
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


def rank(student: StudentModel, examples: Sequence[Example], reading: DecodingConfig) -> list[Prediction]:
    """Return the most probable closed answer of each example, in their order.

    The score of an answer is the sum of the log-probabilities of its tokens in nats, the end token included. A choice
    that is listed twice is scored once, and common beginnings of choices are computed once.
    """
    texts = sorted({choice for example in examples for choice in example.choices or ()})
    encoded = student.encode_targets([choice + reading.suffix for choice in texts])
    if reading.suffix:  # the target continues after the suffix, so the probability of its end does not count
        encoded = [row[:-1] for row in encoded]
    rows_of = dict(zip(texts, encoded, strict=True))
    trees: dict[tuple[str, ...], Tree] = {}
    predictions: dict[int, Prediction] = {}
    for positions, inputs in batches(student, examples, "label", reading):
        choices = [tuple(dict.fromkeys(examples[position].choices or ())) for position in positions]
        with inference(student, reading.bf16):
            if can_grow(student):
                for row in {*choices} - trees.keys():
                    trees[row] = Tree.of(student.start_id("label"), [rows_of[choice] for choice in row])
                searches = [
                    Search(trees[row], reading.negligible if len(trees[row].inner) > SMALL else 0.0) for row in choices
                ]
                score_trees(student, inputs, searches)
                scores = [search.answers() for search in searches]
            else:
                searches = []
                scores = score_rows(student, inputs, [[rows_of[choice] for choice in row] for row in choices])
        for position, row, row_scores in zip(positions, choices, scores, strict=True):
            example = examples[position]
            scored = dict(zip(row, row_scores, strict=True))
            predictions[position] = Prediction.ranked(example.id, example.label, scored)
        for position, search in zip(positions, searches, strict=False):
            if search.negligible:
                predictions[position] = replace(predictions[position], confidence=search.confidence())
    return [predictions[position] for position in range(len(examples))]


def generate(
    student: StudentModel, examples: Sequence[Example], reading: DecodingConfig, kind: str = "label"
) -> list[str]:
    """Return the text that the student generates for each example, in their order."""
    texts: dict[int, str] = {}
    for positions, inputs in batches(student, examples, kind, reading):
        with inference(student, reading.bf16):
            written = student.generate(inputs, kind, reading.max_new_tokens)
        texts.update(zip(positions, written, strict=True))
    return [texts[position] for position in range(len(examples))]


def batches(
    student: StudentModel, examples: Sequence[Example], kind: str, reading: DecodingConfig
) -> Iterator[tuple[list[int], dict[str, torch.Tensor]]]:
    """Yield positions and encoder inputs of batches of about equal length, the longest first."""
    rows = student.encode_inputs([example.input for example in examples], kind, reading.max_input_tokens)
    order = sorted(range(len(rows)), key=lambda position: -len(rows[position]))
    with Meter(f"predicting {kind}s", len(order)) as meter:
        for start in range(0, len(order), reading.batch_size):
            positions = order[start : start + reading.batch_size]
            ids = pad([rows[position] for position in positions], student.pad_id)
            mask = pad([[1] * len(rows[position]) for position in positions], 0)
            yield positions, {"input_ids": ids.to(student.device), "attention_mask": mask.to(student.device)}
            meter.update(start + len(positions))


@contextmanager
def inference(student: StudentModel, bf16: bool) -> Iterator[None]:
    """As ``evaluating``, of one student; the tensors that it computes cannot take part in a training."""
    with torch.inference_mode(), evaluating([student], bf16):
        yield


@contextmanager
def evaluating(models: Sequence[StudentModel], bf16: bool) -> Iterator[None]:
    """A context without gradients and dropout, in bfloat16 autocast if ``bf16``; restores the training modes."""
    modes = [model.training for model in models]
    for model in models:
        model.eval()
    try:
        with torch.no_grad(), torch.autocast(models[0].device.type, dtype=torch.bfloat16, enabled=bf16):
            yield
    finally:
        for model, mode in zip(models, modes, strict=True):
            model.train(mode)
