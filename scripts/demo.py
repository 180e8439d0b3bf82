"""The trainings of the demo: how long they will take on this machine, how far they are, and what came of them.

    python scripts/demo.py forecast    a few steps of each kind of run, and from them the minutes of the whole
    python scripts/demo.py train       train what is missing, tell how far it is, and compare

Equal labels: step-by-step and fine-tuning on one eighth of the data, with the same steps, batches, validation and
patience. Fine-tuning on everything stands beside them for reference. Set by the environment: SEEDS (of the runs on
1/8), ALL_SEEDS (of fine-tuning on everything; as many as fit into MINUTES, up to three), STEPS, JOBS (runs side by
side), and DEMO=full (three seeds on 1/8, five on everything: what non-inferiority asks for).
"""

import heapq
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

LOGS = Path("outputs/demo")
COMMAND = [sys.executable, "-m", "dsbs.train"]
REPORT = [sys.executable, "-m", "dsbs.report", "runs=outputs/train/triage", "fraction=1/8"]
EVALUATIONS = 20  # of validation, in a run
PATIENCE = 8  # of them without a better one end a run
PROGRESS_SECONDS = 30.0
MEASURED_STEPS = 40
LINE = re.compile(r"training: ([\d,]+) of ([\d,]+)(?:, (.*?))?(?:, about \d+ s left)?\s*$", re.M)


@dataclass(frozen=True)
class Kind:
    """Runs that differ in their seed alone.

    Attributes:
        name: what people call them.
        words: what is typed for them.
        times: optimiser steps, as a multiple of STEPS.
    """

    name: str
    words: tuple[str, ...]
    times: int

    @property
    def file_name(self) -> str:
        """The name as that of a file."""
        return self.name.replace(" ", "-").replace("/", "_")

    @property
    def measured(self) -> Path:
        """Where the run of a few steps goes."""
        return LOGS / "measured" / self.file_name

    def command(self, seed: int, steps: int) -> list[str]:
        """Return what to type behind ``dsbs.train``; in the last tenth the learning rate falls to nothing."""
        return [
            *self.words,
            f"seed={seed}",
            "task.validation_fraction=true",
            f"training.max_steps={steps}",
            f"training.eval_steps={max(1, steps // EVALUATIONS)}",
            f"training.early_stopping_patience={PATIENCE}",
            "training.lr_scheduler_type=warmup_stable_decay",
            f"+training.lr_scheduler_kwargs.num_decay_steps={max(1, steps // 10)}",
        ]


# Fine-tuning on everything learns sooner in large batches (conf/tuned); on 1/8 both methods read 32 examples a step.
EIGHTH = Kind("step-by-step on 1/8", ("objective=step_by_step", "data_fraction=0.125"), 2)
LABELS = Kind(
    "fine-tuning on 1/8",
    (
        *("objective=finetune", "data_fraction=0.125"),
        *("training.per_device_train_batch_size=32", "training.learning_rate=1e-3"),
    ),
    2,
)
ALL = Kind("fine-tuning on all", ("objective=finetune", "data_fraction=1.0"), 1)


@dataclass
class Run:
    """A training of the demo.

    Attributes:
        kind, seed: what is trained.
        seconds: what it is expected to take.
        process: while it runs.
        started: when it did, by the clock of ``time.monotonic``.
        reported: what was said of it last.
    """

    kind: Kind
    seed: int
    seconds: float
    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    reported: str = ""
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        self.log = LOGS / f"{self.kind.file_name}-seed-{self.seed}.log"

    @property
    def name(self) -> str:
        """What people call it."""
        return f"{self.kind.name}, seed {self.seed}"

    def left(self, now: float) -> float:
        """Return the seconds that are left of it, as its own log tells, or else as it was expected."""
        spent = now - self.started
        progress = read_progress(self.log)
        if progress and progress[0]:
            done, total, _ = progress
            return max(1.0, spent / done * (total - done))
        return max(1.0, self.seconds - spent)


def read_progress(log: Path) -> tuple[int, int, str] | None:
    """Return the steps that a log tells, those in all, and what else it says (``validation 41.2%``), or None."""
    try:
        found = LINE.findall(log.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    if not found:
        return None
    done, total, said = found[-1]
    return int(done.replace(",", "")), int(total.replace(",", "")), said


def makespan(running: Sequence[float], waiting: Sequence[float], jobs: int) -> float:
    """Return the seconds until all is done, ``jobs`` side by side.

    >>> makespan([10.0], [5.0, 20.0, 5.0], jobs=2)
    30.0
    """
    free = [0.0] * max(0, jobs - len(running)) + list(running)
    heapq.heapify(free)
    for seconds in waiting:
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free, default=0.0)


def show_minutes(seconds: float) -> str:
    """Return a duration as people say it.

    >>> show_minutes(40), show_minutes(610)
    ('1 minute', '10 minutes')
    """
    minutes = max(1, round(seconds / 60))
    return f"{minutes} minute{'s' if minutes > 1 else ''}"


@dataclass(frozen=True)
class Settings:
    """What the environment asks for."""

    seeds: list[int]
    all_seeds: list[int] | None
    steps: int
    jobs: int
    minutes: float

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> "Settings":
        """Return the settings, with the defaults of the demo or of DEMO=full."""
        full = environment.get("DEMO") == "full"
        chosen = environment.get("ALL_SEEDS", "0 1 2 3 4" if full else "")
        return cls(
            [int(seed) for seed in environment.get("SEEDS", "0 1 2").split()],
            [int(seed) for seed in chosen.split()] or None,
            int(environment.get("STEPS", "3000")),
            int(environment.get("JOBS", "2")),
            float(environment.get("MINUTES", "16")),
        )

    def runs(self, seconds: Mapping[str, float]) -> list[Run]:
        """Return the runs, the longest first."""
        small = [Run(kind, seed, seconds[kind.name]) for kind in (EIGHTH, LABELS) for seed in self.seeds]
        counts = [len(self.all_seeds)] if self.all_seeds else [3, 2, 1]
        runs: list[Run] = []
        for count in counts:
            seeds = self.all_seeds or list(range(count))
            runs = [*small, *(Run(ALL, seed, seconds[ALL.name]) for seed in seeds)]
            runs.sort(key=lambda run: -run.seconds)
            if makespan([], [run.seconds for run in runs], self.jobs) <= 60 * self.minutes:
                break
        return runs


def measure(settings: Settings) -> dict[str, float]:
    """Train a few steps of each kind, side by side as later, and return the seconds that a whole run takes."""
    LOGS.mkdir(parents=True, exist_ok=True)
    waiting, seconds = [EIGHTH, LABELS, ALL], {}
    running: dict[Kind, tuple[subprocess.Popen[bytes], float]] = {}
    while waiting or running:
        while waiting and len(running) < settings.jobs:
            kind = waiting.pop(0)
            words = [
                f"output_dir={kind.measured}",
                "tracking.mode=disabled",
                f"training.eval_steps={MEASURED_STEPS // 2}",
            ]
            command = [*COMMAND, *kind.command(0, MEASURED_STEPS), *words]
            log = (LOGS / f"measured-{kind.measured.name}.log").open("wb")
            running[kind] = (subprocess.Popen(command, stdout=log, stderr=log, env=environment()), time.monotonic())
        time.sleep(0.1)
        for kind, (process, started) in list(running.items()):
            if process.poll() is not None:
                del running[kind]
                steps = settings.steps * kind.times
                seconds[kind.name] = extrapolate(kind.measured, time.monotonic() - started, steps)
    return seconds


def extrapolate(folder: Path, wall: float, steps: int) -> float:
    """Return the seconds of a run of so many steps, from one of a few steps that took ``wall`` seconds in all.

    A run that was finished before the demo measured anything tells no wall time, but its own figures all the same.
    """
    found = sorted(folder.rglob("metrics.json"))
    if not found:
        raise SystemExit(f"The training that is to be measured failed; see {LOGS}/measured-{folder.name}.log")
    reported = json.loads(found[-1].read_text(encoding="utf-8"))
    reading = reported["evaluation_seconds"] / max(1, reported["steps"] // (MEASURED_STEPS // 2))
    step = (reported["seconds"] - reported["evaluation_seconds"]) / reported["steps"]
    beside = max(0.0, wall - reported["seconds"])  # starting, and reading test
    return beside + steps * step + min(EVALUATIONS, steps) * reading


def environment() -> dict[str, str]:
    """Return the environment of a training: one core each."""
    return os.environ | {"OMP_NUM_THREADS": "1"}


def start(run: Run, settings: Settings) -> None:
    """Start a run; it writes to a log of its own, as lines of runs side by side would garble each other."""
    with run.log.open("wb") as log:
        command = [*COMMAND, *run.kind.command(run.seed, settings.steps * run.kind.times)]
        run.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment())
    run.started = time.monotonic()
    print(f"        started   {run.name}  ({run.log})", flush=True)


def train(runs: Sequence[Run], settings: Settings, progress_seconds: float = PROGRESS_SECONDS) -> list[Run]:
    """Train the runs, ``jobs`` side by side, and tell how far they are; return those that failed."""
    waiting, reported = list(runs), time.monotonic()
    running: list[Run] = []
    failed: list[Run] = []
    while waiting or running:
        while waiting and len(running) < settings.jobs:
            running.append(waiting.pop(0))
            start(running[-1], settings)
        time.sleep(min(0.5, progress_seconds))
        for run in [one for one in running if one.process and one.process.poll() is not None]:
            running.remove(run)
            if not finish(run, waiting):
                failed.append(run)
        if time.monotonic() - reported >= progress_seconds:
            reported = time.monotonic()
            for line in progress_lines(running, waiting, settings.jobs, reported):
                print(f"        {line}", flush=True)
    return failed


def finish(run: Run, waiting: Sequence[Run]) -> bool:
    """Tell how a run ended; those like it are now expected to take as long. Return whether it succeeded."""
    assert run.process is not None
    spent = time.monotonic() - run.started
    if run.process.returncode:
        print(f"        FAILED    {run.name}; the end of {run.log}:", flush=True)
        for line in run.log.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]:
            print(f"          | {line}", flush=True)
        return False
    for other in waiting:
        if other.kind == run.kind:
            other.seconds = spent
    print(f"        finished  {run.name}  ({spent:.0f} s)", flush=True)
    return True


def progress_lines(running: Sequence[Run], waiting: Sequence[Run], jobs: int, now: float) -> Iterator[str]:
    """Yield a line for each run that has moved since it was last reported of, and then the time that is left in all."""
    moved = False
    for run in running:
        progress = read_progress(run.log)
        if progress is None:
            continue
        done, total, said = progress
        line = f"{run.name}: step {done:,} of {total:,}" + (f", {said}" if said else "")
        if line != run.reported:
            run.reported, moved = line, True
            yield line
    if moved:
        left = makespan([run.left(now) for run in running], [run.seconds for run in waiting], jobs)
        yield f"about {show_minutes(left)} left for all"


def main() -> None:
    """Measure, or train and compare."""
    settings, measured = Settings.read(os.environ), LOGS / "measured.json"
    what = sys.argv[1] if len(sys.argv) == 2 else ""
    if what == "forecast":
        seconds = measure(settings)
        measured.write_text(json.dumps({"steps": settings.steps, "seconds": seconds}), encoding="utf-8")
        runs = settings.runs(seconds)
        whole = makespan([], [run.seconds for run in runs], settings.jobs)
        print(f"{len(runs)} trainings, {settings.jobs} side by side: about {show_minutes(whole)} on this machine, less "
              "where fine-tuning on 1/8 stops early.")  # fmt: skip
        for kind in dict.fromkeys(run.kind for run in runs):
            seeds = ", ".join(str(run.seed) for run in runs if run.kind == kind)
            print(f"        {kind.name}: seeds {seeds}, {settings.steps * kind.times:,} steps, "
                  f"about {show_minutes(seconds[kind.name])} each")  # fmt: skip
        return
    if what != "train":
        raise SystemExit(__doc__)
    reported = json.loads(measured.read_text(encoding="utf-8")) if measured.exists() else {}
    if reported.get("steps") != settings.steps:
        reported = {"seconds": dict.fromkeys((EIGHTH.name, LABELS.name, ALL.name), 400.0)}
    failed = train(settings.runs(reported["seconds"]), settings)
    print(flush=True)
    ended = subprocess.run(REPORT, check=False).returncode
    raise SystemExit(1 if failed or ended else 0)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:  # the trainings get it, too
        raise SystemExit("\nStopped. The same command continues from there.") from None
