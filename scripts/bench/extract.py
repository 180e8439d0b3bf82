#!/usr/bin/env python
"""How fast the extraction engine is, against bare loops over two HTTP clients and against distilabel.

    python scripts/bench/extract.py
    python scripts/bench/extract.py --distilabel VENV/bin/python

VENV is one of its own: pip install 'distilabel[openai]' requests pillow beautifulsoup4

A server on loopback answers every request after 50 ms; 256 requests are under way at once. All contestants send the
same messages and run one after another, in several rounds; each figure is the median over the rounds. Ours is the whole
job: survey, requests, commits to the store, parsing, annotations, summary and page. The bare loops keep nothing.

Memory is the peak of a process that extracts 10,000 and 200,000 examples from a teacher in the process (the network
would take an hour and keeps nothing).

The last line is one JSON object: {"ratio_bare", "ratio_raw", "ratio_distilabel", "rss_mb_10k", "rss_mb_200k"}.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from dsbs.core.records import Completion, Example, Request
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.prompts import Exemplar, Prompt
from dsbs.extraction.settings import ExtractionSettings
from dsbs.tasks.answers import FreeAnswers
from dsbs.tasks.base import Task
from dsbs.teachers import Ask, Teacher
from dsbs.teachers.openai import OpenAITeacher

LATENCY = 0.05
MODEL = "bench"
ANSWER = (
    "The bench asks for nothing in particular, and so any answer will do as well as any other. So the answer is 42."
)


@dataclass
class BenchTask(Task):
    """As many questions as wanted, made when they are read."""

    kind: str = "bench"
    name: str = "bench"
    size: int = 1000

    @property
    def answers(self) -> FreeAnswers:
        """Free text."""
        return FreeAnswers()

    def splits(self) -> tuple[str, ...]:
        """Return the one split."""
        return ("train",)

    def examples(self, split: str) -> Iterator[Example]:
        """Yield the questions."""
        for number in range(self.size):
            yield Example(f"train-{number}", f"Question {number}: what is to be said about number {number}?", "42")

    def identity(self) -> dict[str, object]:
        """Return the size."""
        return {"size": self.size}


@dataclass
class InProcessTeacher(Teacher):
    """Answers at once, without a network."""

    kind: str = "in_process"
    name: str = "in_process"

    def identity(self) -> dict[str, object]:
        """Return the kind."""
        return {"kind": self.kind}

    @asynccontextmanager
    async def connect(self, task: Task) -> AsyncIterator[Ask]:
        """Open nothing."""

        async def ask(request: Request) -> Completion:
            await asyncio.sleep(0)
            return Completion(ANSWER, "stop", MODEL, 400, 30)

        yield ask


def build_prompt() -> Prompt:
    """Return a prompt with eight exemplars, as real ones have."""
    exemplars = [
        Exemplar(
            f"Worked question {number}: what is to be said about number {number}?", ANSWER.split(" So the")[0], "42"
        )
        for number in range(8)
    ]
    return Prompt(name="bench", instruction="Think step by step.", exemplars=exemplars)


def serve(ready: Connection) -> None:
    """Run the server in a process of its own."""
    from aiohttp import web

    usage = {"prompt_tokens": 400, "completion_tokens": 30, "total_tokens": 430}
    message = {"role": "assistant", "content": ANSWER}
    choices = [{"index": 0, "finish_reason": "stop", "message": message}]
    body = {"id": "x", "object": "chat.completion", "created": 0, "model": MODEL, "choices": choices, "usage": usage}
    content = json.dumps(body).encode()

    async def answer(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(LATENCY)
        return web.Response(body=content, content_type="application/json")

    async def run() -> None:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=2048).start()
        ready.send(runner.addresses[0][1])
        await asyncio.Event().wait()

    asyncio.run(run())


async def bounded(send: Callable[[list[dict[str, str]]], Awaitable[Any]], count: int, concurrency: int) -> None:
    """Send ``count`` requests, so many at once, and keep nothing."""
    prompt, examples = build_prompt(), BenchTask(size=count).examples("train")
    messages = (prompt.request(example, "train").messages() for example in examples)

    async def work() -> None:
        for message in messages:
            await send(message)

    await asyncio.gather(*(work() for _ in range(concurrency)))


async def run_bare(url: str, count: int, concurrency: int) -> None:
    """A bare loop over the ``openai`` client with its aiohttp transport."""
    import openai

    client = openai.AsyncOpenAI(api_key="none", base_url=url, max_retries=0, http_client=openai.DefaultAioHttpClient())
    async with client:

        async def send(messages: list[Any]) -> None:
            await client.chat.completions.create(model=MODEL, messages=messages, temperature=0.0, max_tokens=512)

        await bounded(send, count, concurrency)


async def run_raw(url: str, count: int, concurrency: int) -> None:
    """A bare loop over aiohttp alone."""
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def send(messages: list[dict[str, str]]) -> None:
            body = {"model": MODEL, "messages": messages, "temperature": 0.0, "max_tokens": 512}
            async with session.post(f"{url}/chat/completions", json=body) as response:
                await response.json()

        await bounded(send, count, concurrency)


def run_ours(url: str, count: int, concurrency: int) -> None:
    """The engine, from the survey to the page."""
    with tempfile.TemporaryDirectory() as folder:
        teacher = OpenAITeacher(name="openai", model=MODEL, base_url=url)
        settings = ExtractionSettings(concurrency=concurrency)
        job = Job(BenchTask(size=count), teacher, build_prompt(), Path(folder), ["train"], settings=settings)
        summary = run_extraction(job)["splits"]["train"]
        assert summary["parsed"] == summary["requests"] == count, summary


DISTILABEL = """
import json, sys, time
started = time.perf_counter()
from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import LoadDataFromDicts
from distilabel.steps.tasks import TextGeneration
from pathlib import Path
url, concurrency, rows = sys.argv[1], int(sys.argv[2]), [json.loads(line) for line in Path(sys.argv[3]).open()]
with Pipeline(name="bench") as pipeline:
    load = LoadDataFromDicts(data=rows, batch_size=concurrency)
    settings = {"temperature": 0.0, "max_new_tokens": 512}
    llm = OpenAILLM(model="bench", base_url=url, api_key="none", generation_kwargs=settings)
    ask = TextGeneration(llm=llm, input_batch_size=concurrency)
    load >> ask
if __name__ == "__main__":
    result = pipeline.run(use_cache=False)
    assert len(result["default"]["train"]) == len(rows)
    print(json.dumps({"seconds": time.perf_counter() - started}))
"""


def run_distilabel(python: str, url: str, count: int, concurrency: int) -> None:
    """distilabel's text generation over the same server, start-up included, as it is in ours from a command line."""
    prompt = build_prompt()
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            {"instruction": prompt.request(example, "train").text()}
            for example in BenchTask(size=count).examples("train")
        ]
        data, program = Path(folder) / "rows.jsonl", Path(folder) / "program.py"
        data.write_text("\n".join(map(json.dumps, rows)))
        program.write_text(DISTILABEL)
        # A line of log for every request would be held against it unfairly.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        environment["DISTILABEL_LOG_LEVEL"] = "WARNING"
        command = [python, str(program), url, str(concurrency), str(data)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise SystemExit(f"distilabel failed:\n{done.stderr[-3000:]}")


def measure_memory(size: int) -> float:
    """Return the peak memory in MB of a process that extracts ``size`` examples."""
    command = [sys.executable, __file__, "--memory-of", str(size)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1])


def extract_in_process(size: int) -> float:
    """Extract from a teacher in this process; return its peak memory in MB."""
    with tempfile.TemporaryDirectory() as folder:
        settings = ExtractionSettings(concurrency=256)
        run_extraction(Job(BenchTask(size=size), InProcessTeacher(), build_prompt(), Path(folder), ["train"],
                           settings=settings))  # fmt: skip
    return peak_memory()


def peak_memory() -> float:
    """Return the peak memory of this process in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # there ru_maxrss has the peak of the process that started this one in it
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def measure_speeds(arguments: argparse.Namespace) -> dict[str, float]:
    """Return requests per second of every contestant: medians over the rounds."""
    count, concurrency = arguments.requests, arguments.concurrency
    receiver, sender = multiprocessing.Pipe(duplex=False)
    server = multiprocessing.Process(target=serve, args=(sender,), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{receiver.recv()}/v1"
    contestants: dict[str, Callable[[], None]] = {
        "bare": lambda: asyncio.run(run_bare(url, count, concurrency)),
        "ours": lambda: run_ours(url, count, concurrency),
        "raw": lambda: asyncio.run(run_raw(url, count, concurrency)),
    }
    if arguments.distilabel:
        contestants["distilabel"] = lambda: run_distilabel(arguments.distilabel, url, count, concurrency)
    speeds: dict[str, list[float]] = {name: [] for name in contestants}
    try:
        asyncio.run(run_bare(url, concurrency, concurrency))  # imports and caches are nobody's merit
        for number in range(arguments.rounds):
            for name, run in contestants.items():
                started = time.perf_counter()
                run()
                speeds[name].append(count / (time.perf_counter() - started))
                print(f"round {number + 1}: {name:10} {speeds[name][-1]:8.1f} completions/s", flush=True)
    finally:
        server.terminate()
    return {name: statistics.median(values) for name, values in speeds.items()}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--distilabel", metavar="PYTHON", help="interpreter of a venv that has distilabel[openai]")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--memory-of", type=int, metavar="SIZE", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_of:
        print(extract_in_process(arguments.memory_of))
        return
    speeds = measure_speeds(arguments)
    figures: dict[str, float | None] = {
        "ratio_bare": round(speeds["ours"] / speeds["bare"], 3),
        "ratio_raw": round(speeds["ours"] / speeds["raw"], 3),
        "ratio_distilabel": round(speeds["ours"] / speeds["distilabel"], 1) if "distilabel" in speeds else None,
        "rss_mb_10k": None if arguments.skip_memory else round(measure_memory(10_000), 1),
        "rss_mb_200k": None if arguments.skip_memory else round(measure_memory(200_000), 1),
    }
    if "distilabel" not in speeds:
        print("distilabel was not measured: give the interpreter of a venv that has it with --distilabel PYTHON.")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
