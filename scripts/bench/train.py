#!/usr/bin/env python
"""How fast training and evaluation are, against the plain recipe of the paper's code.

    python scripts/bench/train.py --data FOLDER       FOLDER/cqa holds CQA in the layout of the paper's release
    python scripts/bench/train.py                     the same where DSBS_DATA=FOLDER is set; else the built-in task
    python scripts/bench/train.py --what methods      nothing but methods with a teacher (scripts/bench/methods.py)
    python scripts/bench/train.py --parts             besides, what each setting brings
    python scripts/bench/train.py --curve 600         besides, what the recipes learn in so many steps
    python scripts/bench/train.py --what --curve 60 --curve-of 52m --seeds 1       nothing but that, of the larger one

The plain recipe: every example goes through the network twice, behind the prefix of label and of rationale; fp32;
random batches of 32 padded to their longest; Hugging Face's `Seq2SeqTrainer`. Ours: a network of the same shape and
seed, the same data, 32 examples a step and the same optimiser through `DistillationTrainer`, with the settings that are
printed. Both train in this process, one after the other, in several rounds; a speed is the median over the rounds, and
the first steps of each are not counted.

Evaluation: the labels of the test split, as the paper's code reads them (`Seq2SeqTrainer.predict`: up to 64 tokens are
written, in batches as they come, and the loss is computed beside), against ranking the closed answers; one and the same
student, trained before. A trained student ends a label after a few tokens, one that rambles goes on to the bound, so
both are measured; and our own writing, besides.

Memory is the peak of a process that trains with the one or the other; on a GPU, of what was allocated there.

On a GPU a network of T5-base's size is measured as well, and how many tokens a second ours reads and writes, without
padding, and which share it takes of what the GPU can: of the operations a second of one large product in bfloat16,
measured in the same run.

The last line is one JSON object: {"ratio_52m", "ratio_3_8m", "ratio_evaluation", "ratio_evaluation_64", ...}.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate.utils import send_to_device
from extract import peak_memory
from methods import run as measure_methods
from torch.utils.flop_counter import FlopCounterMode
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

from dsbs.core.records import OK, Annotation, Example
from dsbs.extraction.annotations import AnnotationFile
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Prompt
from dsbs.objectives import StepByStep
from dsbs.objectives.losses import summed_cross_entropy
from dsbs.students.collator import Collator, Row
from dsbs.students.decoding import DecodingConfig, generate, rank, slow_bf16
from dsbs.students.prefixes import KINDS
from dsbs.students.scratch import train_tokenizer
from dsbs.students.seq2seq import Seq2SeqModel
from dsbs.tasks import TASKS, Task
from dsbs.tasks.release import ReleaseTask
from dsbs.teachers import TEACHERS
from dsbs.training.arguments import build_arguments
from dsbs.training.settings import Training
from dsbs.training.tokenized import RowFile, prepare_rows
from dsbs.training.trainer import DistillationTrainer

GPU = torch.cuda.is_available()
VOCABULARY = 8100
POINTS = 6  # of a loss curve
WHAT = ("speed", "evaluation", "memory", "methods")
WARM = 20 if GPU else 3  # steps that are not counted
SHAPES: dict[str, dict[str, int]] = {
    "3_8m": {"d_model": 128, "d_kv": 32, "d_ff": 512, "num_layers": 6, "num_heads": 4},
    "52m": {"d_model": 512, "d_kv": 64, "d_ff": 1408, "num_layers": 8, "num_heads": 8},
    "204m": {"d_model": 768, "d_kv": 64, "d_ff": 3072, "num_layers": 12, "num_heads": 12},
}
# What is compared with the plain recipe: settings of `training`. bfloat16 where the hardware multiplies in it.
GROUPED = {"train_sampling_strategy": "group_by_length"}
OURS: dict[str, dict[str, Any]] = {
    "3_8m": GROUPED,
    "52m": GROUPED | {"bf16": not slow_bf16()} | ({} if GPU else {"tokens_per_pass": 1536}),
    "204m": GROUPED | {"bf16": True},
}


@dataclass
class Data:
    """What is trained and measured on, and the tokenizer that was made from it."""

    name: str
    train: list[tuple[Example, Annotation]]
    test: list[tuple[Example, Annotation]]
    tokenizer: Any
    folder: Path
    batch: int

    def rows(self, student: Seq2SeqModel, split: str) -> RowFile:
        """Return a split as rows; tokenised once."""
        objective = StepByStep(name="step_by_step", prefix_on=student.prefix_on)
        pairs = getattr(self, split)
        texts = [(example.input, objective.targets(example, one)) for example, one in pairs]
        return prepare_rows(student, texts, len(pairs), 512, 256, self.folder)


def load(release: Path | None, folder: Path, batch: int) -> Data:
    """Read examples and the teacher's rationales."""
    if release is not None:
        task: Task = ReleaseTask(name="cqa", benchmark="cqa", path=str(release / "cqa"), reading="paper")
        teacher = TEACHERS["recorded"](name="recorded", path=str(release / "cqa" / "palm"))
    else:
        task, teacher = TASKS["triage"](name="triage"), TEACHERS["handbook"](name="handbook")
    run_extraction(Job(task, teacher, Prompt(name="bench"), folder, ["train", "test"]))
    splits = {}
    for split in ("train", "test"):
        usable = {one.id: one for one in AnnotationFile(folder, split) if one.status == OK}
        splits[split] = [(one, usable[one.id]) for one in task.examples(split) if one.id in usable]
    texts = (text for one, said in splits["train"] for text in (one.input, said.rationale or "", one.label or ""))
    return Data(task.name, splits["train"], splits["test"], train_tokenizer(texts, VOCABULARY), folder, batch)


def build_student(data: Data, shape: str, prefix_on: str, seed: int = 0) -> Seq2SeqModel:
    """Return a student with random weights."""
    set_seed(seed)
    config = T5Config(
        vocab_size=len(data.tokenizer),
        num_decoder_layers=SHAPES[shape]["num_layers"],
        pad_token_id=data.tokenizer.pad_token_id,
        eos_token_id=data.tokenizer.eos_token_id,
        decoder_start_token_id=data.tokenizer.pad_token_id,
        **SHAPES[shape],
    )
    return Seq2SeqModel(T5ForConditionalGeneration(config), data.tokenizer, prefix_on)


class Clock(TrainerCallback):
    """Notes when the last step that does not count ended, and the last step of all."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time."""
        if state.global_step in (WARM, state.max_steps):
            if GPU:
                torch.cuda.synchronize()
            self.ends.append(time.perf_counter())

    def speed(self, examples: int) -> float:
        """Return examples per second where so many were seen in the steps that count."""
        return examples / (self.ends[-1] - self.ends[0])


class PlainTrainer(Seq2SeqTrainer):
    """Label and rationale as two passes with the network's own loss."""

    def compute_loss(self, model: Any, inputs: Any, return_outputs: bool = False, **kwargs: Any) -> Any:
        """Return the mean of the two losses."""
        return sum(model(**part).loss for part in inputs) / len(inputs)


class Trained(NamedTuple):
    """What came of a training: examples per second, the student, and the losses on the way, in nats per token."""

    speed: float
    student: Seq2SeqModel
    losses: list[float]


def train_plain(data: Data, shape: str, steps: int, seed: int = 0) -> Trained:
    """Train with the plain recipe."""
    student = build_student(data, shape, "input", seed)
    pad = DataCollatorForSeq2Seq(student.tokenizer, model=student.model)

    def collate(rows: list[Row]) -> list[Any]:
        parts: dict[str, list[dict[str, list[int]]]] = {kind: [] for kind in KINDS}
        for row in rows:
            for kind, source, ids, _ in row.targets:
                read = row.inputs[source]
                parts[kind].append({"input_ids": read, "attention_mask": [1] * len(read), "labels": ids})
        return [pad(part) for part in parts.values()]

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            learning_rate=1e-3,
            lr_scheduler_type="constant_with_warmup",
            warmup_steps=100,
            per_device_train_batch_size=data.batch,
            optim="adamw_torch",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
            dataloader_pin_memory=False,
            seed=seed,
            logging_steps=max(steps // POINTS, 1),
        )
        trainer = PlainTrainer(
            model=student.model,
            args=arguments,
            train_dataset=data.rows(student, "train"),
            data_collator=collate,
            callbacks=[clock],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return Trained(clock.speed(data.batch * (steps - WARM)), student, losses_of(trainer))


def train_ours(data: Data, shape: str, steps: int, seed: int = 0, settings: dict[str, Any] | None = None) -> Trained:
    """Train with ours."""
    student = build_student(data, shape, "target", seed)
    settings = OURS[shape] if settings is None else settings
    training = Training(
        max_steps=steps,
        eval_steps=steps + 1,
        logging_steps=max(steps // POINTS, 1),
        per_device_train_batch_size=data.batch,
        **settings,
    )
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = build_arguments(training, seed, Path(folder))
        arguments.load_best_model_at_end = False
        arguments.eval_strategy = arguments.save_strategy = "no"
        trainer = DistillationTrainer(
            student,
            StepByStep(name="step_by_step"),
            data.rows(student, "train"),
            lambda _: {},
            arguments,
            [clock],
            training.tokens_per_pass,
        )
        trainer.train()
    return Trained(clock.speed(data.batch * (steps - WARM)), student, losses_of(trainer))


def losses_of(trainer: Seq2SeqTrainer) -> list[float]:
    """Return the losses that were logged, each a mean since the one before."""
    return [round(entry["loss"], 3) for entry in trainer.state.log_history if "loss" in entry]


RECIPES = {"plain": train_plain, "ours": train_ours}


def measure_speeds(data: Data, shape: str, steps: int, rounds: int) -> dict[str, float]:
    """Return examples per second of both recipes."""
    speeds: dict[str, list[float]] = {name: [] for name in RECIPES}
    for number in range(rounds):
        for name, train in RECIPES.items():
            speeds[name].append(train(data, shape, steps).speed)
            print(f"{shape}, round {number + 1}: {name:6} {speeds[name][-1]:7.2f} examples/s", flush=True)
    return {name: statistics.median(values) for name, values in speeds.items()}


def count_steps(steps: int) -> dict[str, int]:
    """Return how many steps each network takes where the smallest one takes so many that count."""
    if GPU:
        return dict.fromkeys(("204m", "52m", "3_8m"), WARM + steps)
    return {"52m": WARM + steps // 3, "3_8m": WARM + steps}


def measure_peak() -> float:
    """Return the operations a second of a product of two matrices of 8192 x 8192 in bfloat16 on the GPU."""
    one, two = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    seconds = []
    for _ in range(20):
        torch.cuda.synchronize()
        started = time.perf_counter()
        one @ two
        torch.cuda.synchronize()
        seconds.append(time.perf_counter() - started)
    return 2 * 8192**3 / statistics.median(seconds)


def measure_use(data: Data, shape: str, speed: float) -> dict[str, float]:
    """Return what a speed of ours means on the GPU: tokens a second without padding, and the share of its peak."""
    steps = WARM + 10
    with FlopCounterMode(display=False) as counter:
        student = train_ours(data, shape, steps).student
    operations = counter.get_total_flops() / (data.batch * steps)  # of an example
    tokens = statistics.mean(data.rows(student, "train").lengths().sum(0).tolist())
    return {
        f"tokens_per_second_{shape}": round(tokens * speed),
        f"share_of_peak_{shape}": round(operations * speed / measure_peak(), 4),
    }


def measure_parts(data: Data, steps: int) -> None:
    """Print what each setting brings alone and with others, as a ratio to the plain recipe; one round."""
    cut, fused, bf16 = {"tokens_per_pass": 1536}, {"optim": "adamw_torch_fused"}, {"bf16": True}
    variants: list[dict[str, Any]] = [{}, fused, cut, GROUPED, GROUPED | cut, GROUPED | cut | fused]
    if GPU:
        variants = [{}, GROUPED, GROUPED | bf16, GROUPED | bf16 | fused, GROUPED | bf16 | cut]
    for shape, count in count_steps(steps).items():
        plain = train_plain(data, shape, count).speed
        for settings in variants:
            speed = train_ours(data, shape, count, settings=settings).speed
            print(
                f"{shape}, {settings}: {speed:.2f} examples/s, {speed / plain:.2f} times the plain recipe", flush=True
            )


def evaluate_plainly(student: Seq2SeqModel, examples: list[Example]) -> list[str]:
    """Return the labels as the paper's code has them written: a loss and up to 64 tokens of each example."""
    inputs = student.encode_inputs([example.input for example in examples], "label", 512)
    labels = student.encode_targets([example.label or "" for example in examples])
    rows = [
        {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": label}
        for ids, label in zip(inputs, labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = Seq2SeqTrainingArguments(
            output_dir=folder,
            per_device_eval_batch_size=64,
            predict_with_generate=True,
            generation_max_length=64,
            report_to=[],
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        collate = DataCollatorForSeq2Seq(student.tokenizer, model=student.model)
        trainer = Seq2SeqTrainer(student.model, arguments, collate, processing_class=student.tokenizer)
        written = trainer.predict(rows).predictions
    return student.decode([[id for id in row if id >= 0] for row in written.tolist()])


def measure_evaluation(data: Data, steps: int, rounds: int) -> dict[str, float]:
    """Return ratios, seconds and accuracies of reading the test split's labels in several ways."""
    examples = [example for example, _ in data.test]
    student = train_ours(data, "3_8m", steps).student
    reading = DecodingConfig(batch_size=64, max_new_tokens=64)
    bounds = student.model.generation_config
    answers: dict[str, list[str | None]] = {}
    seconds: dict[str, list[float]] = {"plain": [], "plain_64": [], "generate": [], "rank": []}
    for name in list(seconds) * rounds:
        bounds.min_new_tokens = 63 if name == "plain_64" else None  # the one it starts with counts for the paper's 64
        started = time.perf_counter()
        if name == "rank":
            answers[name] = [one.label for one in rank(student, examples, reading)]
        elif name == "generate":
            answers[name] = list(generate(student, examples, reading))
        else:
            answers[name] = list(evaluate_plainly(student, examples))
        seconds[name].append(time.perf_counter() - started)
    means = {name: statistics.median(values) for name, values in seconds.items()}
    written = student.encode_targets([text or "" for text in answers["generate"]])

    def accuracy(name: str) -> float:
        right = sum(label == example.label for label, example in zip(answers[name], examples, strict=True))
        return round(right / len(examples), 4)

    figures = {
        "ratio_evaluation": round(means["plain"] / means["rank"], 2),
        "ratio_evaluation_64": round(means["plain_64"] / means["rank"], 2),
        **{f"seconds_{name}": round(value, 2) for name, value in means.items()},
        "accuracy_plain": accuracy("plain"),
        "accuracy_generate": accuracy("generate"),
        "accuracy_rank": accuracy("rank"),
        "tokens_written": round(statistics.mean(map(len, written)), 1),
    }
    print(f"evaluation of {len(examples):,} examples after {steps} steps: {figures}", flush=True)
    return figures


def held_out_losses(data: Data, student: Seq2SeqModel) -> dict[str, float]:
    """Return nats per token of labels and rationales on the test split."""
    rows, collate = data.rows(student, "test"), Collator(student)
    student.eval()
    sums = dict.fromkeys(KINDS, 0.0)
    counts = dict.fromkeys(KINDS, 0)
    with torch.inference_mode():
        for start in range(0, len(rows), 64):
            batch = send_to_device(collate(rows.__getitems__(range(start, min(start + 64, len(rows))))), student.device)
            logits = student(batch["inputs"], batch["targets"])
            for kind, target in batch["targets"].items():
                total, count = summed_cross_entropy(logits[kind], target["labels"], target["weights"])
                sums[kind] += total.item()
                counts[kind] += int(count)
    return {kind: round(sums[kind] / counts[kind], 4) for kind in KINDS}


def compare_curves(data: Data, shape: str, steps: int, seeds: int) -> None:
    """Print what the recipes have learnt: losses on the way, and in the end on held-out examples.

    Ours is also trained in fp32, where it is not anyway, and with random batches.
    """
    ours = OURS[shape]
    variants = {"ours": ours, "ours, random batches": {**ours, "train_sampling_strategy": "random"}}
    if ours.get("bf16"):
        variants["ours, fp32"] = ours | {"bf16": False}
    for seed in range(seeds):
        for name in ("plain", *variants):
            if name == "plain":
                trained = train_plain(data, shape, steps, seed)
            else:
                trained = train_ours(data, shape, steps, seed, variants[name])
            held_out = held_out_losses(data, trained.student)
            print(f"{shape}, {steps} steps, seed {seed}, {name}: {trained.losses}, held out {held_out}", flush=True)


def measure_memory(name: str, release: Path | None) -> float:
    """Return the peak memory in MB of a process that trains the 52M network for a few steps; on a GPU, of that."""
    command = [sys.executable, __file__, "--memory-of", name, *(["--data", str(release)] if release else [])]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=os.environ.get("DSBS_DATA"), help="a folder that holds cqa/")
    parser.add_argument("--what", nargs="*", choices=WHAT, default=WHAT, help="everything where nothing is said")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--steps", type=int, default=60, help="that count; on a CPU a third of them for the 52M network"
    )
    parser.add_argument("--batch", type=int, default=32, help="examples of a step")
    parser.add_argument("--evaluate-after", type=int, default=300, metavar="STEPS")
    parser.add_argument("--curve", type=int, metavar="STEPS", help="compare losses too, which takes long")
    parser.add_argument("--curve-of", choices=list(SHAPES), default="3_8m", help="the network whose losses they are")
    parser.add_argument("--seeds", type=int, default=2, help="of --curve")
    parser.add_argument("--parts", action="store_true", help="measure each setting by itself, too")
    parser.add_argument("--memory-of", choices=list(RECIPES), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    release = Path(arguments.data) if arguments.data else None
    with tempfile.TemporaryDirectory() as folder:
        data = load(release, Path(folder), arguments.batch)
        if arguments.memory_of:
            RECIPES[arguments.memory_of](data, "52m", WARM + 5)
            print(torch.cuda.max_memory_allocated() / 1e6 if GPU else peak_memory())
            return
        print(f"task {data.name}, {len(data.train):,} examples, {torch.get_num_threads()} threads, ours: {OURS}")
        if arguments.curve:
            compare_curves(data, arguments.curve_of, arguments.curve, arguments.seeds)
        if arguments.parts:
            measure_parts(data, arguments.steps)
        figures: dict[str, Any] = {"bf16": OURS["52m"]["bf16"]}
        if "speed" in arguments.what:
            for shape, steps in count_steps(arguments.steps).items():
                speeds = measure_speeds(data, shape, steps, arguments.rounds)
                figures[f"ratio_{shape}"] = round(speeds["ours"] / speeds["plain"], 2)
                figures |= {f"examples_per_second_{shape}_{name}": round(speed, 2) for name, speed in speeds.items()}
                if GPU:
                    figures |= measure_use(data, shape, speeds["ours"])
        if "evaluation" in arguments.what:
            figures |= measure_evaluation(data, arguments.evaluate_after, arguments.rounds)
        if "memory" in arguments.what:
            figures |= {f"rss_mb_52m_{name}": round(measure_memory(name, release)) for name in RECIPES}
        if "methods" in arguments.what:  # with a teacher: live, stored, on the student's own samples
            found = measure_methods("135m", batch=8, new_tokens=40, rounds=arguments.rounds)
            figures |= {f"methods_{name}": figure for name, figure in found.items()}
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
