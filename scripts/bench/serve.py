"""A student at work: exports against Hugging Face's generate on the same checkpoint, and what HTTP adds.

    python scripts/bench/serve.py [--seconds 5] [--threads 1] [--skip decoder]

One student is a T5 of T5-small's size with random weights: speed does not depend on what it says. The other is
SmolLM2-135M with our task prefixes, in llama.cpp (q8_0), beside the same model as a teacher that explains its answers.
Everything runs in this process, one after the other; the last line is one JSON object of figures. The exit status is 1
where a bar is broken.
"""

import argparse
import asyncio
import json
import os
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

TEXT = "the kettle leaks so the shop will refund or replace or repair it a sofa is a piece of furniture"
WORDS = TEXT.split()
TOKENS = 32
BARS = (
    ("ratio_t5_single", ">=", 6.0),
    ("ratio_t5_batch", ">=", 3.0),
    ("ratio_decoder", ">=", 3.0),
    ("rank_over_generate", "<=", 1.0),
    ("http_overhead_ms_p50", "<=", 1.5),
)


def measure(call: Callable[[], object], seconds: float) -> list[float]:
    """Return the seconds of each call, for about so long, after one that does not count."""
    call()
    times, end = [], time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return times


def percentile(times: list[float], share: float) -> float:
    """Return a percentile in milliseconds."""
    return round(1000 * sorted(times)[min(int(share * len(times)), len(times) - 1)], 3)


def build(folder: Path) -> Path:
    """Write the checkpoint and return its folder."""
    from dsbs.students.scratch import T5Scratch

    texts = [" ".join(WORDS[(start * step) % len(WORDS)] for step in range(1, 16)) for start in range(300)]
    student = T5Scratch(
        name="bench", vocab_size=32000, d_model=512, d_kv=64, d_ff=2048, num_layers=6, num_heads=8, dropout_rate=0.0
    ).build(texts, "target", 0)
    student.model.resize_token_embeddings(32128)  # as many as T5-small has; the tokenizer knows fewer
    student.settings = {"task": {}, "prefix_on": "target", "max_new_tokens": TOKENS}
    student.save(folder)
    print(f"parameters: {sum(one.numel() for one in student.model.parameters()) / 1e6:.1f} million")
    return folder


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--skip", nargs="*", default=[], choices=["decoder"])
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)

    import ctranslate2
    import torch

    from dsbs.core.records import Example
    from dsbs.inference.exports.base import load_words
    from dsbs.inference.exports.ctranslate2 import ENGINE, CTranslate2Writer, convert
    from dsbs.students.answering import DecodingConfig
    from dsbs.students.loading import load_student

    torch.set_num_threads(arguments.threads)
    folder = Path(tempfile.mkdtemp(prefix="dsbs-bench-"))
    checkpoint = build(folder / "checkpoint")
    (folder / "export").mkdir()
    export = convert(checkpoint, folder / "export", "int8")
    started = time.perf_counter()
    engine = ctranslate2.Translator(str(folder / "export" / ENGINE), intra_threads=arguments.threads)
    load_seconds = time.perf_counter() - started
    writer = CTranslate2Writer(engine, load_words(folder / "export", export, "target"), export["vocabulary"])
    student = load_student(checkpoint).eval()
    choices = ("refund", "replace", "repair", "escalate")
    examples = [
        Example(str(n), " ".join(WORDS[(n + k) % len(WORDS)] for k in range(24)), None, choices) for n in range(32)
    ]
    reading = DecodingConfig("generate", 32, 512, TOKENS)

    figures: dict[str, float] = {"load_seconds": round(load_seconds, 3)}
    for size, name in ((1, "single"), (32, "batch")):
        part = examples[:size]
        theirs = measure(lambda part=part: student.write(part, reading), arguments.seconds)
        ours = measure(lambda part=part: writer.write(part, reading), arguments.seconds)
        ranked = measure(lambda part=part: writer.rank(part, reading), arguments.seconds)
        figures |= {
            f"hf_{name}_ms_p50": percentile(theirs, 0.5),
            f"export_{name}_ms_p50": percentile(ours, 0.5),
            f"export_{name}_ms_p95": percentile(ours, 0.95),
            f"export_{name}_ms_p99": percentile(ours, 0.99),
            f"ratio_t5_{name}": round(statistics.median(theirs) / statistics.median(ours), 2),
            f"rank_over_generate_{name}": round(statistics.median(ranked) / statistics.median(ours), 2),
        }
    same = sum(a == b for a, b in zip(student.write(examples, reading), writer.write(examples, reading), strict=True))
    figures["same_answers_of_32"] = same
    figures["export_mb"] = round((folder / "export" / ENGINE / "model.bin").stat().st_size / 1e6, 1)
    figures["checkpoint_mb"] = round((checkpoint / "model.safetensors").stat().st_size / 1e6, 1)
    if "decoder" not in arguments.skip:
        figures |= measure_decoder(folder / "decoder", arguments.seconds, arguments.threads)
    figures |= measure_http(arguments.seconds)
    figures["ratio_t5"] = figures["ratio_t5_single"]
    figures["rank_over_generate"] = max(figures["rank_over_generate_single"], figures["rank_over_generate_batch"])
    figures["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    broken = [f"{name} {sign} {bar:g}: {figures[name]:g}" for name, sign, bar in BARS
              if name in figures and not (figures[name] >= bar if sign == ">=" else figures[name] <= bar)]  # fmt: skip
    for line in broken:
        print(f"bar broken: {line}")
    print(json.dumps(figures))
    sys.exit(1 if broken else 0)


def measure_decoder(folder: Path, seconds: float, threads: int) -> dict[str, float]:
    """Return SmolLM2 in llama.cpp against Hugging Face's generate, and as a teacher that explains."""
    from dsbs.core.records import Example, Request
    from dsbs.inference.exports.base import load_words
    from dsbs.inference.exports.gguf import FILE, GgufWriter, convert, start
    from dsbs.students.answering import DecodingConfig
    from dsbs.students.causal import PACKAGED, Causal
    from dsbs.teachers.llama_cpp import LlamaCppTeacher

    (folder / "export").mkdir(parents=True)
    student = Causal(name="smollm2", model=PACKAGED).build([], "target", 0).eval()
    student.settings = {"task": {}, "prefix_on": "target", "max_new_tokens": TOKENS}
    student.save(folder / "checkpoint")
    export = convert(folder / "checkpoint", folder / "export", "q8_0")
    writer = GgufWriter(start(folder / "export" / FILE, 128), load_words(folder / "export", export, "target"))
    reading = DecodingConfig("generate", 8, 64, TOKENS)
    choices = ("refund", "replace", "repair", "escalate")
    examples = [Example(str(n), " ".join(WORDS[(n + k) % len(WORDS)] for k in range(24)), None, choices)
                for n in range(8)]  # fmt: skip
    found: dict[str, float] = {}
    for size, name in ((1, "single"), (8, "batch")):
        part = examples[:size]
        theirs = measure(lambda part=part: student.write(part, reading), seconds)
        ours = measure(lambda part=part: writer.write(part, reading), seconds)
        ranked = measure(lambda part=part: writer.rank(part, reading), seconds)
        found |= {
            f"hf_decoder_{name}_ms_p50": percentile(theirs, 0.5),
            f"gguf_{name}_ms_p50": percentile(ours, 0.5),
            f"gguf_rank_{name}_ms_p50": percentile(ranked, 0.5),
            f"ratio_decoder_{name}": round(statistics.median(theirs) / statistics.median(ours), 2),
        }
    found["ratio_decoder"] = found["ratio_decoder_single"]
    found["gguf_mb"] = round((folder / "export" / FILE).stat().st_size / 1e6, 1)

    async def ask() -> float:
        teacher = LlamaCppTeacher(slots=1, context=1024, threads=threads, max_tokens=TOKENS)
        shots = tuple((f"{' '.join(WORDS)} {n}", "It leaks. So the answer is repair.") for n in range(5))
        async with teacher.connect(None) as answer:  # type: ignore[arg-type]
            times = []
            for number in range(4):
                started = time.perf_counter()
                await answer(Request(str(number), "train", "Answer and say why.", shots, f"{TEXT} {number}"))
                times.append(time.perf_counter() - started)
        return percentile(times[1:], 0.5)

    found["teacher_single_ms_p50"] = asyncio.run(ask())
    return found


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
        times = measure(lambda: http.post(url, json={"input": "It leaks."}), seconds)
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
