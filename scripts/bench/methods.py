#!/usr/bin/env python
"""What a step of each method costs that has a teacher: seconds, in parts, and the peak of memory.

    python scripts/bench/methods.py                    SmolLM2-135M's shape; the student: every third of its layers
    python scripts/bench/methods.py --shape tiny       to see that it runs
    python scripts/bench/train.py --what methods       the same, among the other benchmarks

The teacher is a decoder with random weights, the student a copy with every third layer; both read the built-in task's
messages and learn rationales of its scripted teacher. All methods take turns in this process, on the same batches; a
figure is the median over rounds, and the first round does not count.

`ratio_live` is a step with a live teacher over a plain step and one forward pass of that teacher (bar: 1.15);
`ratio_stored` a step with stored top-20 log-probabilities over one with a live teacher. Their losses on the same batch
and weights are printed side by side: they differ by what the bucket for all other tokens hides, and agree where all
tokens are stored (tests/objectives/test_stored_targets.py). `gkd` and `minillm` are split into sampling (in `minillm`
the teacher draws along), the teacher's passes, and the student's. Memory is the peak of a process of its own for each.

The last line is one JSON object of figures.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from accelerate.utils import send_to_device
from extract import peak_memory
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast
from transformers.utils import logging as hf_logging

from dsbs.core.logprobs import TokenLogprobs
from dsbs.core.records import Target
from dsbs.objectives import GKD, Finetune, MiniLLM, Objective, SoftTargets
from dsbs.objectives.stored_targets import signals_of
from dsbs.objectives.teacher import LiveTeacher, base_vocabulary
from dsbs.students.collator import Collator, Row, tokenize
from dsbs.students.decoder_only import DecoderOnlyModel
from dsbs.students.decoding import best_device, slow_bf16
from dsbs.students.token_bytes import token_bytes
from dsbs.tasks import TASKS

GPU = torch.cuda.is_available()
MOST = 20
SHAPES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4,
             "num_key_value_heads": 2, "vocab_size": 400},
    "135m": {"hidden_size": 576, "intermediate_size": 1536, "num_hidden_layers": 30, "num_attention_heads": 9,
             "num_key_value_heads": 3, "vocab_size": 49152},
}  # fmt: skip
END = {"eos_token": "<|end|>"}
METHODS = ("plain", "teacher", "live", "stored", "gkd", "minillm")


class Clock:
    """Seconds by part of a step."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def time(self, part: str, work: Callable[..., Any]) -> Callable[..., Any]:
        """Return the work with its time taken; time within it that another part takes is that part's alone."""

        def timed(*arguments: Any, **named: Any) -> Any:
            started, inner = now(), sum(self.seconds.values())
            try:
                return work(*arguments, **named)
            finally:
                self.seconds[part] += now() - started - (sum(self.seconds.values()) - inner)

        return timed


def now() -> float:
    """Return the time, when the GPU has done what it was told."""
    if GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


class TimedTeacher:
    """A teacher whose passes are timed."""

    def __init__(self, teacher: LiveTeacher, clock: Clock) -> None:
        self._teacher = teacher
        self.logits = clock.time("teacher", teacher.logits)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._teacher, name)


@dataclass
class Bench:
    """A student, its teacher and batches of rows."""

    shape: str
    batch: int
    new_tokens: int
    student: DecoderOnlyModel = field(init=False)
    teacher: LiveTeacher = field(init=False)
    rows: list[list[Row]] = field(init=False)

    def __post_init__(self) -> None:
        task = TASKS["triage"](name="triage")
        examples = [example for _, example in zip(range(4 * self.batch), task.examples("train"), strict=False)]
        texts = [f"A {example.input.lower()} So it is known what to do about it." for example in examples]
        tokenizer = build_tokenizer([example.input for example in examples] + texts)
        device, bf16 = best_device(), not slow_bf16()
        teacher = build_model(self.shape, tokenizer, every=1).to(device).eval().requires_grad_(False)
        self.student = build_model(self.shape, tokenizer, every=3).to(device)
        vocabulary = max(base_vocabulary(tokenizer).values()) + 1
        self.teacher = LiveTeacher(
            teacher.to(torch.bfloat16) if bf16 else teacher, vocabulary, self.student.end_id, True, {}
        )
        targets = [[Target("label", text)] for text in texts]
        rows, _ = tokenize(self.student, [example.input for example in examples], targets, 256, 128)
        self.rows = [rows[start : start + self.batch] for start in range(0, len(rows), self.batch)]

    def objective(self, method: str, clock: Clock) -> Objective:
        """Return the objective of a method, its teacher and its sampling timed."""
        if method == "plain":
            return Finetune(name="finetune")
        if method == "stored":
            stored = SoftTargets(name="soft_targets", source="stored", most_tokens=MOST, soft_weight=1.0)
            stored.prepare(self.student, self.student.device)
            return stored
        named: dict[str, Any] = {"teacher_model": "student"}
        found: Any = {
            "live": lambda: SoftTargets(name="soft_targets", source="teacher", soft_weight=1.0, **named),
            "gkd": lambda: GKD(name="gkd", own_share=1.0, max_new_tokens=self.new_tokens, **named),
            "minillm": lambda: MiniLLM(name="minillm", max_new_tokens=self.new_tokens, **named),
        }[method]()
        found._teacher = TimedTeacher(self.teacher, clock)
        if method != "live":
            found.draw = clock.time("sampling", found.draw)
        return found

    def store(self) -> list[list[Row]]:
        """Return the rows with the teacher's top tokens, as an endpoint would have told them."""
        names = token_bytes(self.student.tokenizer)
        ids = {name: id for id, name in enumerate(names) if name is not None}
        return [[self._store(row, names, ids) for row in rows] for rows in self.rows]

    def _store(self, row: Row, names: Sequence[bytes | None], ids: dict[bytes, int]) -> Row:
        batch = send_to_device(Collator(self.student)([row]), self.student.device)
        told = self.teacher.logits(batch, ("label",))["label"][0].float().log_softmax(-1)
        said = []
        for logits in told:
            best = logits.topk(MOST)
            pairs = [
                (names[id] or b"", value) for id, value in zip(best.indices.tolist(), best.values.tolist(), strict=True)
            ]
            said.append(TokenLogprobs(b"", None, tuple(pairs)))
        return Row(row.inputs, row.targets, {"label": signals_of(said, ids, MOST)})

    def steps(self, method: str) -> Callable[[int], dict[str, float]]:
        """Return what takes a step of a method and tells its seconds by part, all of it, and its loss."""
        clock = Clock()
        rows = self.store() if method == "stored" else self.rows
        if method == "teacher":
            return lambda number: self._teacher_alone(rows[number % len(rows)])
        objective = self.objective(method, clock)
        optimiser = torch.optim.AdamW(self.student.parameters(), lr=0.0)  # every step finds the same weights

        def step(number: int) -> dict[str, float]:
            clock.seconds.clear()
            part, started = rows[number % len(rows)], now()
            if objective.on_policy:
                draws = [np.random.default_rng([0, number, place]) for place in range(len(part))]
                part = objective.rollout(self.student, part, draws, bf16=False)
            self.student.train()
            counts = {name: torch.tensor(count) for name, count in objective.count(part).items()}
            batch = send_to_device(Collator(self.student)(part), self.student.device)
            loss, _ = objective.loss(self.student, batch, send_to_device(counts, self.student.device))
            loss.backward()
            optimiser.step()
            optimiser.zero_grad()
            taken = now() - started
            told = {**clock.seconds, "all": taken, "loss": loss.item()}
            return told | {"student": taken - sum(clock.seconds.values())}

        return step

    def _teacher_alone(self, rows: list[Row]) -> dict[str, float]:
        started = now()
        self.teacher.logits(send_to_device(Collator(self.student)(rows), self.student.device), ("label",))
        return {"all": now() - started, "loss": 0.0}


def build_tokenizer(texts: Sequence[str]) -> Any:
    """Return a byte-level tokenizer of these texts."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=380, special_tokens=[*END.values()], initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, **END)


def build_model(shape: str, tokenizer: Any, every: int) -> DecoderOnlyModel:
    """Return a decoder with random weights, with every so manieth layer of a shape."""
    torch.manual_seed(every)
    sizes = SHAPES[shape] | {"num_hidden_layers": -(-SHAPES[shape]["num_hidden_layers"] // every)}
    network = AutoModelForCausalLM.from_config(LlamaConfig(**sizes, eos_token_id=tokenizer.eos_token_id))
    copy = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, **END)
    return DecoderOnlyModel(network, copy, "target")


def measure(shape: str, batch: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Return the figures of all methods."""
    bench = Bench(shape, batch, new_tokens)
    takers = {method: bench.steps(method) for method in METHODS}
    told: dict[str, list[dict[str, float]]] = {method: [] for method in METHODS}
    for number in range(rounds + 1):
        for method, take in takers.items():
            found = take(number)
            if number:
                told[method].append(found)
    figures: dict[str, Any] = {"shape": shape, "batch": batch, "rounds": rounds, "bf16_teacher": not slow_bf16()}
    median = {
        method: {
            part: statistics.median(one.get(part, 0.0) for one in steps)
            for part in ("all", "sampling", "teacher", "student")
        }
        for method, steps in told.items()
    }
    for method in METHODS:
        figures[f"seconds_{method}"] = round(median[method]["all"], 4)
        if method in ("gkd", "minillm"):
            figures |= {
                f"{method}_{part}": round(median[method][part], 4) for part in ("sampling", "teacher", "student")
            }
    both = [one["all"] + two["all"] for one, two in zip(told["plain"], told["teacher"], strict=True)]
    figures["ratio_live"] = round(median["live"]["all"] / statistics.median(both), 3)
    figures["ratio_stored"] = round(median["stored"]["all"] / median["live"]["all"], 3)
    for method in ("live", "stored"):
        figures[f"loss_{method}"] = round(statistics.mean(one["loss"] for one in told[method]), 5)
    return figures


def measure_memory(method: str, words: Sequence[str]) -> float:
    """Return the peak of a process that takes three steps of a method, in MB."""
    command = [sys.executable, __file__, "--memory-of", method, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def run(shape: str, batch: int, new_tokens: int, rounds: int) -> dict[str, Any]:
    """Return the figures of all methods, memory included."""
    words = ["--shape", shape, "--batch", str(batch), "--new-tokens", str(new_tokens)]
    figures = measure(shape, batch, new_tokens, rounds)
    return figures | {f"mb_{method}": round(measure_memory(method, words)) for method in METHODS}


def main() -> None:
    """Measure, print figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", choices=SHAPES, default="135m")
    parser.add_argument("--batch", type=int, default=8, help="examples of a step")
    parser.add_argument("--new-tokens", type=int, default=40, help="most tokens of a sample")
    parser.add_argument("--rounds", type=int, default=5, help="steps of each method that count")
    parser.add_argument("--memory-of", choices=METHODS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    hf_logging.set_verbosity_error()
    if arguments.memory_of:
        step = Bench(arguments.shape, arguments.batch, arguments.new_tokens).steps(arguments.memory_of)
        for number in range(3):
            step(number)
        print(torch.cuda.max_memory_allocated() / 1e6 if GPU else peak_memory())
        return
    print(json.dumps(run(arguments.shape, arguments.batch, arguments.new_tokens, arguments.rounds)))


if __name__ == "__main__":
    main()
