"""The server at twice its capacity for a minute: nothing but 200 and 503, a bounded p99, flat memory.

    python scripts/bench/load.py [--seconds 60] [--times 2]

The student is scripted: a batch takes a fixed time, so that the capacity is known. The server is a process of its own
on a loopback port; requests come at even intervals, whether or not the earlier ones are answered. The last line is one
JSON object of figures; the exit status is 1 where a bar is broken, 2 where the machine was too busy to measure.
"""

import argparse
import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import httpx
from serve import percentile

TESTS = Path(__file__).resolve().parents[2] / "tests"
BATCH, BATCH_SECONDS, QUEUE = 8, 0.1, 64
CAPACITY = BATCH / BATCH_SECONDS  # answers a second
SERVER = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from serving_client import Scripted, build
from dsbs.serve import bind, run
from dsbs.serving.settings import Limits, ServeConfig
config = ServeConfig(port=int(sys.argv[1]), limits=Limits(max_batch={BATCH}, queue={QUEUE}))
app = build(Scripted({BATCH_SECONDS}), config).build()
run(config, bind(config), app, "the scripted student")
"""


def resident_mb(process: int) -> float:
    """Return the resident memory of a process."""
    [line] = [one for one in Path(f"/proc/{process}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


class Connections:
    """Open HTTP/1.1 connections to one address; plain, so that the client takes little of the machine's time."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def post(self, body: bytes) -> tuple[int, bytes]:
        """Return status and headers of a request to ``/predict``."""
        pair = self.free.pop() if self.free else await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = pair
        writer.write(b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = next(line for line in head.split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self.free.append(pair)
        return int(head.split(b" ", 2)[1]), head


async def load(port: int, rate: float, seconds: float, process: int) -> dict[str, object]:
    """Send requests at a rate and return what came of them."""
    connections = Connections(port)
    codes: Counter[str] = Counter()
    accepted: list[float] = []
    refused: list[float] = []
    without_retry, memory = 0, []

    async def one(number: int) -> None:
        nonlocal without_retry
        started = time.perf_counter()
        try:
            code, head = await connections.post(b'{"input": "It leaks, number %d."}' % number)
        except (OSError, asyncio.IncompleteReadError) as error:
            codes[type(error).__name__] += 1
            return
        codes[str(code)] += 1
        if code == 503:
            refused.append(time.perf_counter() - started)
            without_retry += b"retry-after:" not in head
        else:
            accepted.append(time.perf_counter() - started)

    tasks: set[asyncio.Task[None]] = set()
    started, late = time.perf_counter(), 0
    for number in range(round(rate * seconds)):
        wait = started + number / rate - time.perf_counter()
        late += wait < -0.1
        await asyncio.sleep(max(0.0, wait))
        task = asyncio.create_task(one(number))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number % round(rate) == 0:
            memory.append(resident_mb(process))
    spent = time.perf_counter() - started
    await asyncio.gather(*tasks)
    for _, writer in connections.free:
        writer.close()
    return {
        "codes": dict(codes),
        "sent_per_second": round(rate * seconds / spent, 1),
        "sent_late": late,
        "accepted_per_second": round(len(accepted) / spent, 1),
        "accepted_ms_p50": percentile(accepted, 0.5),
        "accepted_ms_p99": percentile(accepted, 0.99),
        "refused_ms_p99": percentile(refused, 0.99) if refused else None,
        "without_retry_after": without_retry,
        "memory_mb_after_10_s": round(memory[min(len(memory) - 1, 10)], 1),
        "memory_mb_at_the_end": round(memory[-1], 1),
    }


def main() -> None:
    """Start the server, load it, check the bars."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--times", type=float, default=2.0, help="times the capacity")
    parser.add_argument("--port", type=int, default=8765)
    arguments = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-c", SERVER, str(arguments.port)])
    base = f"http://127.0.0.1:{arguments.port}"
    try:
        deadline = time.monotonic() + 120
        while True:
            try:
                if httpx.get(f"{base}/readyz").status_code == 200:
                    break
            except httpx.HTTPError:
                pass
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit("The server did not start.")
            time.sleep(0.1)
        rate = arguments.times * CAPACITY
        figures = asyncio.run(load(arguments.port, rate, arguments.seconds, server.pid))
    finally:
        server.terminate()
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            server.kill()
    # What waits in a full queue, the batch under way, and its own; twice that, for the machine has other work.
    bound = 2 * 1000 * (QUEUE / BATCH + 2) * BATCH_SECONDS
    codes, p99 = figures["codes"], figures["accepted_ms_p99"]
    assert isinstance(codes, dict)
    assert isinstance(p99, float)
    bars = {
        "only_200_and_503": set(codes) <= {"200", "503"},
        "p99_bounded": p99 <= bound,
        "retry_after": figures["without_retry_after"] == 0,
        "memory_flat": float(str(figures["memory_mb_at_the_end"])) <= 1.1 * float(str(figures["memory_mb_after_10_s"])),
    }
    print(json.dumps({"capacity_per_second": CAPACITY, **figures, "p99_bound_ms": bound, "bars": bars}))
    if int(str(figures["sent_late"])) > 0.01 * rate * arguments.seconds:
        print(
            "The machine had no time for the client: most requests came late, in bursts. No measurement.",
            file=sys.stderr,
        )
        sys.exit(2)
    sys.exit(0 if all(bars.values()) else 1)


if __name__ == "__main__":
    main()
