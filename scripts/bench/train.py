#!/usr/bin/env python
"""How fast training and evaluation are, against the plain recipe of the paper's code.

    python scripts/bench/train.py --data FOLDER          FOLDER/cqa holds the paper's release of CQA
    python scripts/bench/train.py                        the built-in task, where the release is not at hand

The plain recipe: every example twice, behind the prefix of label and of rationale, as two full passes of the network;
fp32; random batches of 32 padded to their longest; Hugging Face's `Seq2SeqTrainer`. Ours: the same network from the same
weights, data, examples per step and optimiser through `DistillationTrainer`, with the settings that are said. Both
train in this process, one after the other, in several rounds; a figure is the median over the rounds. The first steps
of each are not counted.

Evaluation: the label of the test split by `generate` with up to 64 new tokens, as the paper's code does, against
ranking the closed answers; the same trained student both times.

Memory is the peak of a process that trains with the one or the other.

The last line is one JSON object: {"ratio_52m", "ratio_3_8m", "ratio_evaluation", ...}.
"""

import argparse
import itertools
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers import (
    DataCollatorForSeq2Seq,
    PrinterCallback,
    Seq2SeqTrainer,
    Seq2SeqTrainingArguments,
    T5Config,
    T5ForConditionalGeneration,
    TrainerCallback,
    set_seed,
)
from transformers.utils import logging as hf_logging

from dsbs.collator import Row, tokenize
from dsbs.extraction import Job, run_extraction
from dsbs.inference import Reading, generate, rank
from dsbs.objectives.step_by_step import StepByStep
from dsbs.prompts import Prompt
from dsbs.rationales import AnnotationFile
from dsbs.records import OK, Annotation, Example
from dsbs.students.scratch import train_tokenizer
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.tasks import TASKS
from dsbs.teachers import TEACHERS
from dsbs.trainer import DistillationTrainer, build_arguments
from dsbs.training import Training

VOCABULARY = 8100
WARM = 3  # steps that are not counted
# Two shapes of T5; the larger one is that of T5 v1.1 small.
SHAPES: dict[str, dict[str, Any]] = {
    "3_8m": {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 6, "num_heads": 4},
    "52m": {"d_model": 512, "d_kv": 64, "d_ff": 1408, "num_layers": 8, "num_heads": 8},
}
# What is compared with the plain recipe: settings of `training`.
OURS: dict[str, dict[str, Any]] = {
    "3_8m": {"optim": "adamw_torch_fused"},
    "52m": {"optim": "adamw_torch_fused", "bf16": True},
}


@dataclass
class Data:
    """What is trained and measured on."""

    name: str
    train: list[tuple[Example, Annotation]]
    test: list[Example]


def load(folder: Path | None) -> Data:
    """Read examples and the teacher's rationales."""
    if folder is not None:
        task = TASKS["release"](name="cqa", benchmark="cqa", path=str(folder / "cqa"), reading="paper")
        teacher = TEACHERS["recorded"](name="recorded", path=str(folder / "cqa" / "palm"))
    else:
        task, teacher = TASKS["triage"](name="triage"), TEACHERS["handbook"](name="handbook")
    with tempfile.TemporaryDirectory() as place:
        run_extraction(Job(task, teacher, Prompt(name="bench"), Path(place), ["train"]))
        annotations = {one.id: one for one in AnnotationFile(Path(place), "train") if one.status == OK}
    train = [(example, annotations[example.id]) for example in task.examples("train") if example.id in annotations]
    return Data(task.name, train, list(task.examples("test")))


def build_student(data: Data, shape: str, prefix_on: str, cache: dict[str, Any]) -> Seq2SeqModel:
    """Return a student with the weights of seed 0."""
    if "tokenizer" not in cache:
        texts = [text for example, one in data.train for text in (example.input, one.rationale or "", one.label or "")]
        cache["tokenizer"] = train_tokenizer(texts, VOCABULARY)
    tokenizer = cache["tokenizer"]
    set_seed(0)
    config = T5Config(
        vocab_size=len(tokenizer),
        num_decoder_layers=SHAPES[shape]["num_layers"],
        pad_token_id=tokenizer.pad_token_id,
        eos_token_id=tokenizer.eos_token_id,
        decoder_start_token_id=tokenizer.pad_token_id,
        **SHAPES[shape],
    )
    return Seq2SeqModel(T5ForConditionalGeneration(config), tokenizer, prefix_on)


class Clock(TrainerCallback):
    """Notes when each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.ends.append(time.perf_counter())

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        """Keep the losses."""

    @property
    def seconds_per_step(self) -> float:
        """Mean over the steps that count."""
        return (self.ends[-1] - self.ends[WARM - 1]) / (len(self.ends) - WARM)


class PlainTrainer(Seq2SeqTrainer):
    """Label and rationale as two passes with the network's own loss."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """Return the mean of the two losses."""
        losses = [model(**part).loss for part in inputs]
        return (losses[0] + losses[1]) / 2


def train_plain(data: Data, shape: str, steps: int, cache: dict[str, Any]) -> float:
    """Return seconds per step of the plain recipe."""
    student = build_student(data, shape, "input", cache)
    rows = cache.setdefault("plain", None) or _tokenize(student, data)
    cache["plain"] = rows
    pad = DataCollatorForSeq2Seq(student.tokenizer, model=student.model)

    def collate(batch: list[Row]) -> list[Any]:
        parts = []
        for number, kind in enumerate(("label", "rationale")):
            features = [
                {"input_ids": row.inputs[kind], "attention_mask": [1] * len(row.inputs[kind]), "labels": row.targets[number][2]}
                for row in batch
            ]
            parts.append(pad(features))
        return parts

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            max_steps=WARM + steps,
            learning_rate=1e-3,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=10,
            per_device_train_batch_size=32,
            optim="adamw_torch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            seed=0,
        )
        trainer = PlainTrainer(
            model=student.model, args=arguments, train_dataset=rows, data_collator=collate, callbacks=[clock]
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return clock.seconds_per_step


def _tokenize(student: Seq2SeqModel, data: Data) -> list[Row]:
    objective = StepByStep(name="step_by_step", kind="step_by_step", prefix_on=student.prefix_on)
    texts = [example.input for example, _ in data.train]
    return tokenize(student, texts, [objective.targets(*pair) for pair in data.train], 512, 256)[0]


def train_ours(
    data: Data, shape: str, steps: int, settings: dict[str, Any], cache: dict[str, Any]
) -> tuple[float, Seq2SeqModel]:
    """Return seconds per step of ours, and the student."""
    student = build_student(data, shape, "target", cache)
    rows = cache.setdefault("ours", None) or _tokenize(student, data)
    cache["ours"] = rows
    training = Training(max_steps=WARM + steps, warmup_steps=10, eval_steps=10**6, **settings)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = build_arguments(training, 0, Path(folder))
        arguments.load_best_model_at_end = False
        arguments.eval_strategy = arguments.save_strategy = "no"
        trainer = DistillationTrainer(
            student, StepByStep(name="step_by_step", kind="step_by_step"), rows, lambda _: {"accuracy": 0.0}, arguments, [clock], training.tokens_per_pass
        )
        trainer.train()
    return clock.seconds_per_step, student


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path)
    parser.add_argument("--shape", default="3_8m")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--variant", action="append", default=[])
    a = parser.parse_args()
    hf_logging.set_verbosity_error()
    data = load(a.data)
    cache = {}
    print(len(data.train), len(data.test), "params", sum(p.numel() for p in build_student(data, a.shape, "input", cache).parameters()))
    for v in a.variant:
        if v == "plain":
            s = train_plain(data, a.shape, a.steps, cache)
        else:
            s, st = train_ours(data, a.shape, a.steps, json.loads(v), cache)
        print(v, round(s, 3), "s/step", round(32 / s, 2), "ex/s", flush=True)


if __name__ == "__main__":
    main()
