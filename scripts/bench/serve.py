"""A student at work: exports against Hugging Face's generate on the same checkpoint, and what HTTP adds.

    python scripts/bench/serve.py [--seconds 5] [--threads 1] [--skip decoder http]

One student is a T5 of T5-small's size with random weights: speed does not depend on what it says. Ranking does, and is
measured again when the student has learnt an answer. It is measured with few tokens, too, for CTranslate2 reorders the
output weights of all tokens for every token that it writes. The other student is SmolLM2-135M with our task prefixes,
in llama.cpp (q8_0), beside the same model as a teacher that explains its answers. What is compared takes turns in this
process, on inputs that change; ratios are medians over pairs. The last line is one JSON object of figures. The exit
status is 1 where a bar is broken.
"""

import argparse
import asyncio
import json
import os
import resource
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TEXT = "the kettle leaks so the shop will refund or replace or repair it a sofa is a piece of furniture"
WORDS = TEXT.split()
TOKENS = 32
BURST = 3  # calls of a turn
SIZES = ((1, "single"), (32, "batch"))
BARS = (
    ("ratio_t5_single", ">=", 6.0),
    ("ratio_t5_batch", ">=", 3.0),
    ("ratio_decoder", ">=", 3.0),
    ("rank_over_generate", "<=", 1.0),
    ("http_overhead_ms_p50", "<=", 1.5),
)
CHOICES = ("refund", "replace", "repair", "escalate")


def take_turns(calls: dict[str, Callable[[int], object]], seconds: float) -> dict[str, list[float]]:
    """Return the seconds of each call, for about so long each, after one that does not count.

    They take turns, so that a busy moment meets all alike. A turn is the median of a few calls, since the first one
    finds the other's weights in the processor's cache. Calls are told their number.
    """
    for call in calls.values():
        call(0)
    times: dict[str, list[float]] = {name: [] for name in calls}
    end, number = time.perf_counter() + seconds * len(calls), 0
    while time.perf_counter() < end or number < 3 * BURST:
        for name, call in calls.items():
            burst = []
            for step in range(BURST):
                started = time.perf_counter()
                call(number + step)
                burst.append(time.perf_counter() - started)
            times[name].append(statistics.median(burst))
        number += BURST
    return times


def ratio(above: list[float], below: list[float]) -> float:
    """Return the median over pairs."""
    return round(statistics.median(one / two for one, two in zip(above, below, strict=True)), 2)


def percentile(times: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return round(1000 * sorted(times)[min(int(share * len(times)), len(times) - 1)], 3)


def build_examples(count: int) -> list[Any]:
    """Return messages of 24 words."""
    from dsbs.core.records import Example

    texts = (" ".join(WORDS[(number + k) % len(WORDS)] for k in range(24)) for number in range(count))
    return [Example(str(number), text, None, CHOICES) for number, text in enumerate(texts)]


def build_t5(folder: Path, tokens: int | None) -> Any:
    """Write a checkpoint with so many tokens, or as many as its tokenizer knows, and return the student."""
    from dsbs.students.loading import load_student
    from dsbs.students.scratch import T5Scratch

    texts = [" ".join(WORDS[(start * step) % len(WORDS)] for step in range(1, 16)) for start in range(300)]
    student = T5Scratch(
        name="bench", vocab_size=32000, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, dropout_rate=0.0
    ).build(texts, "target", 0)
    if tokens:
        student.model.resize_token_embeddings(tokens)
    save_t5(student, folder)
    print(f"parameters: {sum(one.numel() for one in student.model.parameters()) / 1e6:.1f} million")
    return load_student(folder).eval()


def save_t5(student: Any, folder: Path) -> None:
    """Write a checkpoint."""
    student.settings = {"task": {}, "prefix_on": "target", "max_new_tokens": TOKENS}
    student.save(folder)


def teach(student: Any) -> None:
    """Let a student learn to give one answer, for sure."""
    import torch

    rows = student.encode_inputs([example.input for example in build_examples(8)], "label", 512)
    width = max(map(len, rows))
    inputs = torch.tensor([[*row, *[student.pad_id] * (width - len(row))] for row in rows])
    [target] = student.encode_targets(CHOICES[:1])
    told = {
        "input_ids": inputs,
        "attention_mask": (inputs != student.pad_id).long(),
        "decoder_input_ids": torch.tensor([[student.start_id("label"), *target[:-1]]] * len(rows)),
        "labels": torch.tensor([target] * len(rows)),
    }
    optimizer = torch.optim.AdamW(student.model.parameters(), lr=1e-3)
    for _ in range(60):
        loss = student.model(**told).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if loss.item() < 1e-4:
            break
    print(f"loss of the student that has learnt an answer: {loss.item():.1e}")


def export_t5(checkpoint: Path, threads: int) -> tuple[Any, float]:
    """Return the export of a checkpoint in CTranslate2, and how many seconds it took to load."""
    import ctranslate2

    from dsbs.inference.exports.base import load_export_tokenizer
    from dsbs.inference.exports.ctranslate2 import ENGINE, CTranslate2Writer, convert

    folder = checkpoint.with_name(f"{checkpoint.name}-export")
    folder.mkdir()
    export = convert(checkpoint, folder, "int8")
    started = time.perf_counter()
    engine = ctranslate2.Translator(str(folder / ENGINE), intra_threads=threads)
    seconds = time.perf_counter() - started
    return CTranslate2Writer(engine, load_export_tokenizer(folder, export, "target"), export["vocabulary"]), seconds


def measure_t5(folder: Path, seconds: float, threads: int) -> dict[str, float]:
    """Return a T5 in CTranslate2 against Hugging Face's generate."""
    from dsbs.students.answering import CONFIDENT, DecodingConfig

    reading = DecodingConfig("generate", 32, 512, TOKENS, negligible=CONFIDENT)
    examples = build_examples(32)

    def measure(calls: dict[str, Callable[[list[Any]], object]], size: int) -> dict[str, list[float]]:
        def turn_of(call: Callable[[list[Any]], object]) -> Callable[[int], object]:
            return lambda turn: call([examples[turn % 32]] if size == 1 else examples)

        return take_turns({key: turn_of(call) for key, call in calls.items()}, seconds)

    student = build_t5(folder / "random", 32128)  # as many as T5-small has; the tokenizer knows fewer
    writer, load_seconds = export_t5(folder / "random", threads)
    figures: dict[str, float] = {"load_seconds": round(load_seconds, 3)}
    for size, name in SIZES:
        calls = {
            "hf": lambda part: student.write(part, reading),
            "export": lambda part: writer.write(part, reading),
            "rank": lambda part: writer.rank(part, reading),
        }
        times = measure(calls, size)
        figures |= {
            f"hf_{name}_ms_p50": percentile(times["hf"], 0.5),
            f"export_{name}_ms_p50": percentile(times["export"], 0.5),
            f"export_{name}_ms_p95": percentile(times["export"], 0.95),
            f"export_{name}_ms_p99": percentile(times["export"], 0.99),
            f"ratio_t5_{name}": ratio(times["hf"], times["export"]),
            f"rank_over_generate_{name}": ratio(times["rank"], times["export"]),
        }
    same = zip(student.write(examples, reading), writer.write(examples, reading), strict=True)
    figures["same_answers_of_32"] = sum(a == b for a, b in same)
    figures["export_mb"] = megabytes(folder / "random-export" / "engine" / "model.bin")
    figures["checkpoint_mb"] = megabytes(folder / "random" / "model.safetensors")
    teach(student)
    save_t5(student, folder / "sure")
    sure, _ = export_t5(folder / "sure", threads)
    for size, name in SIZES:
        calls = {"write": lambda part: sure.write(part, reading), "rank": lambda part: sure.rank(part, reading)}
        times = measure(calls, size)
        figures[f"rank_over_generate_sure_{name}"] = ratio(times["rank"], times["write"])
    few = build_t5(folder / "few", None)
    writer, _ = export_t5(folder / "few", threads)
    calls = {"hf": lambda part: few.write(part, reading), "export": lambda part: writer.write(part, reading)}
    times = measure(calls, 1)
    return figures | {
        "rank_over_generate": max(value for name, value in figures.items() if name.startswith("rank_over_generate")),
        "ratio_t5": figures["ratio_t5_single"],
        "ratio_t5_few_tokens_single": ratio(times["hf"], times["export"]),
    }


def megabytes(file: Path) -> float:
    """Return the size of a file."""
    return round(file.stat().st_size / 1e6, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip", nargs="*", default=[], choices=["t5", "decoder", "http"])
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

    import torch

    torch.set_num_threads(arguments.threads)
    folder = Path(tempfile.mkdtemp(prefix="dsbs-bench-"))
    figures: dict[str, float] = {}
    if "t5" not in arguments.skip:
        figures |= measure_t5(folder, arguments.seconds, arguments.threads)
    if "decoder" not in arguments.skip:
        figures |= measure_decoder(folder / "decoder", arguments.seconds, arguments.threads)
    if "http" not in arguments.skip:
        figures |= measure_http(arguments.seconds)
    shutil.rmtree(folder)
    figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    broken = [f"{name} {sign} {bar:g}: {figures[name]:g}" for name, sign, bar in BARS
              if name in figures and not (figures[name] >= bar if sign == ">=" else figures[name] <= bar)]  # fmt: skip
    for line in broken:
        print(f"bar broken: {line}")
    print(json.dumps(figures))
    sys.exit(1 if broken else 0)


def measure_decoder(folder: Path, seconds: float, threads: int) -> dict[str, float]:
    """Return SmolLM2 in llama.cpp against Hugging Face's generate, and as a teacher that explains."""
    from dsbs.inference.exports import gguf
    from dsbs.inference.exports.base import load_export_tokenizer
    from dsbs.students.answering import CONFIDENT, DecodingConfig
    from dsbs.students.causal import PACKAGED, Causal

    (folder / "export").mkdir(parents=True)
    student = Causal(name="smollm2", model=PACKAGED).build([], "target", 0).eval()
    student.settings = {"task": {}, "prefix_on": "target", "max_new_tokens": TOKENS}
    student.save(folder / "checkpoint")
    export = gguf.convert(folder / "checkpoint", folder / "export", "q8_0")
    tokenizer = load_export_tokenizer(folder / "export", export, "target")
    file = folder / "export" / gguf.FILE
    writer = gguf.GgufWriter(gguf.start(file, 128), tokenizer)
    plain = gguf.GgufWriter(gguf.start(file, 128, guess=False), tokenizer)
    reading = DecodingConfig("generate", 8, 64, TOKENS, negligible=CONFIDENT)
    examples = build_examples(8)
    found: dict[str, float] = {}
    for size, name in ((1, "single"), (8, "batch")):

        def turn_of(call: Callable[[list[Any], Any], object], size: int = size) -> Callable[[int], object]:
            return lambda turn: call([examples[turn % 8]] if size == 1 else examples, reading)

        calls = {
            "hf": turn_of(student.write),
            "gguf": turn_of(writer.write),
            "plain": turn_of(plain.write),
            "rank": turn_of(writer.rank),
        }
        times = take_turns(calls, seconds)
        found |= {
            f"hf_decoder_{name}_ms_p50": percentile(times["hf"], 0.5),
            f"gguf_{name}_ms_p50": percentile(times["gguf"], 0.5),
            f"gguf_rank_{name}_ms_p50": percentile(times["rank"], 0.5),
            f"ratio_decoder_{name}": ratio(times["hf"], times["gguf"]),
            f"ratio_decoder_no_guesses_{name}": ratio(times["hf"], times["plain"]),
        }
    texts = [one.write(examples, reading) for one in (student, writer, plain)]
    found["same_decoder_answers_of_8"] = sum(a == b for a, b, _ in zip(*texts, strict=True))
    found["same_answers_by_guessing_of_8"] = sum(b == c for _, b, c in zip(*texts, strict=True))
    found["ratio_decoder"] = found["ratio_decoder_single"]
    found["gguf_mb"] = megabytes(file)
    found["teacher_single_ms_p50"] = asyncio.run(ask_teacher(threads))
    return found


async def ask_teacher(threads: int) -> float:
    """Return the median milliseconds of an answer with its reasons."""
    from dsbs.core.records import Request
    from dsbs.teachers.llama_cpp import LlamaCppTeacher

    teacher = LlamaCppTeacher(slots=1, context=1024, threads=threads, max_tokens=TOKENS)
    shots = tuple((f"{' '.join(WORDS)} {n}", "It leaks. So the answer is repair.") for n in range(5))
    async with teacher.connect(None) as answer:  # type: ignore[arg-type]
        times = []
        for number in range(4):
            started = time.perf_counter()
            await answer(Request(str(number), "train", "Answer and say why.", shots, f"{TEXT} {number}"))
            times.append(time.perf_counter() - started)
    return percentile(times[1:], 0.5)


def measure_http(seconds: float) -> dict[str, float]:
    """Return what HTTP adds to a predictor that answers at once, and throughput at 1, 8 and 64 clients."""
    import httpx
    import uvicorn

    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))
    from serving_client import Scripted
    from serving_client import build as build_app

    predictor = Scripted()
    server = uvicorn.Server(uvicorn.Config(build_app(predictor).build(), port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/predict"
    with httpx.Client() as http:
        times = take_turns({"http": lambda turn: http.post(url, json={"input": "It leaks."})}, seconds)["http"]
    found = {"http_overhead_ms_p50": percentile(times, 0.5), "http_overhead_ms_p99": percentile(times, 0.99)}
    for clients in (1, 8, 64):
        found[f"requests_per_second_{clients}"] = round(throughput(url, clients, seconds), 1)
    server.should_exit = True
    thread.join()
    return found


def throughput(url: str, clients: int, seconds: float) -> float:
    """Return answered requests a second with so many clients at once."""
    import httpx

    counts, open_clients = [0] * clients, [httpx.Client(timeout=30.0) for _ in range(clients)]
    end = time.perf_counter() + seconds

    def load(number: int) -> None:
        while time.perf_counter() < end:
            counts[number] += open_clients[number].post(url, json={"input": "It leaks."}).status_code == 200

    threads = [threading.Thread(target=load, args=(number,)) for number in range(clients)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    return sum(counts) / seconds


if __name__ == "__main__":
    main()
