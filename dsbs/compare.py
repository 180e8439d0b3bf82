"""Train every kind of student on one task and extraction, and recommend one.

    dsbs compare                                              the built-in task
    dsbs compare task=table task.path=reviews.csv task.input=body task.label=stars fractions=[1/8,1] seeds=[0,1,2]
    dsbs compare methods=[logreg:finetune,t5_small:step_by_step] dry_run=true

Finished runs are reused, stopped ones resume. Students that do not fit the task are skipped and listed.
"""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dsbs.cli.arguments import typed_arguments
from dsbs.cli.command import command
from dsbs.cli.config import CompareConfig
from dsbs.cli.settings import compose_settings
from dsbs.core.command_line import split_flags
from dsbs.core.errors import ConfigError, DataError, DsbsError, RunError
from dsbs.core.files import write_json
from dsbs.core.names import path_part
from dsbs.core.parents import ENDS_WITH_STDIN
from dsbs.core.progress import standard_output
from dsbs.core.terminal import print_lines, print_table
from dsbs.core.units import pluralize, show_duration
from dsbs.core.untrusted import Fields, read_json_file
from dsbs.inference.metrics import show_score
from dsbs.train import make_plan
from dsbs.training.plan import Plan
from dsbs.training.run_folder import Run

# Keys of compare itself; all other overrides are passed on to train.
OWN = ("methods", "fractions", "seeds", "train", "each", "other", "dry_run")
PROGRESS = " training: "  # marks lines of progress in the log of a training


@dataclass
class Candidate:
    """A run of the comparison.

    Attributes:
        method: ``student:objective``.
        words: arguments of ``dsbs.train``.
        run: its folder; None where it cannot be planned.
        fault: why it is left out or failed, or None.
        plan: of the run, if its objective is compared with the base model; else None.
    """

    method: str
    words: list[str]
    run: Run | None = None
    fault: str | None = None
    finished: dict[str, Any] | None = None
    plan: Plan | None = None


@command("compare")
def main(config: CompareConfig) -> None:
    """Forecast, train missing runs, and show the leaderboard."""
    if faults := config.faults():
        raise ConfigError.from_faults(faults)
    console = standard_output()
    candidates = plan_all(config, typed_arguments())
    forecast(candidates, console)
    if config.dry_run:
        return
    train_all([one for one in candidates if one.run and not one.finished], console)
    folder = conclude(config, candidates, console)
    compare_with_base(config, candidates, folder, console)
    if failed := [one for one in candidates if one.run and not one.finished]:
        raise RunError(f"{len(failed)} of {len(candidates)} runs failed; the same command retries them.")


def plan_all(config: CompareConfig, typed: Sequence[str]) -> list[Candidate]:
    """Return the planned runs of the comparison; those that do not fit the task have a fault.

    Raises:
        DataError: none fits, or the file of other texts is invalid.
    """
    if config.other:
        from dsbs.training.in_context import load_texts

        load_texts(config.other)  # checked before anything is trained
    flags, overrides = split_flags(typed)
    shared = [word for word in overrides if word.lstrip("+").split("=")[0].split(".")[0] not in OWN]
    candidates: list[Candidate] = []
    known: set[Path] = set()
    for method in config.methods:
        student, _, objective = method.partition(":")
        for fraction in config.fractions:
            for seed in config.seeds:
                words = [*flags, *shared, f"student={student}", f"objective={objective}", f"data_fraction={fraction}"]
                words += [f"seed={seed}", *config.train, *shlex.split(config.each.get(student, ""))]
                candidate = Candidate(method, words)
                try:
                    plan = make_plan(compose_settings("train", words), words)
                    candidate.run, candidate.plan = plan.run, plan if plan.recipe.objective.compares_with_base else None
                    candidate.finished = plan.finished_metrics()
                except DsbsError as error:
                    candidate.fault = str(error)
                if candidate.run is None or candidate.run.folder not in known:  # not typed twice, as in seeds=[0,0]
                    candidates.append(candidate)
                known |= {candidate.run.folder} if candidate.run else set()
    if not any(one.run for one in candidates):
        listing = "\n".join(f"  {methods}: {fault}" for fault, methods in methods_by_fault(candidates).items())
        raise DataError(f"No student fits this task, or its data is missing:\n{listing}")
    return candidates


def faults_by_method(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Return method -> why it is left out."""
    return {one.method: one.fault for one in candidates if one.fault}


def methods_by_fault(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Return why methods are left out -> their names, to print a fault that concerns several of them once."""
    found: dict[str, list[str]] = {}
    for method, fault in faults_by_method(candidates).items():
        found.setdefault(fault, []).append(method)
    return {fault: ", ".join(methods) for fault, methods in found.items()}


def forecast(candidates: Sequence[Candidate], console: Console) -> None:
    """Print how many runs there are, and how long the missing ones may take, judging by earlier ones."""
    missing = [one for one in candidates if one.run and not one.finished]
    known = [seconds for one in missing if one.run and (seconds := earlier_seconds(one.run)) is not None]
    done = sum(one.finished is not None for one in candidates)
    out = sum(one.run is None for one in candidates)
    counts = f"{done} finished, {len(missing)} to train" + (f", {out} left out" if out else "")
    console.print(f"{pluralize(len(candidates), 'run')}: {counts}.", highlight=False)
    if missing:
        duration = f"about {show_duration(sum(known))} for {len(known)} of them" if known else "time unknown so far"
        console.print(f"  {duration}; the teacher is not asked again, so there are no API costs.", highlight=False)
    for fault, methods in methods_by_fault(candidates).items():
        head, *more = fault.splitlines()
        if head.endswith(("setting:", "settings:")):
            head, more = " ".join(line.strip().removeprefix("- ") for line in more), []
        print_lines(console, f"left out: {methods}: {head}", *more, indent="  ")


def earlier_seconds(run: Run) -> float | None:
    """Return the mean seconds of finished runs with the same student, objective and task; None without any."""
    found = []
    for path in run.folder.parents[1].glob("*/*/metrics.json"):
        with suppress(DataError):  # broken ones are skipped
            if (seconds := Fields(read_json_file(path)).number("seconds")) is not None:
                found.append(seconds)
    return sum(found) / len(found) if found else None


def train_all(missing: Sequence[Candidate], console: Console) -> None:
    """Train runs one by one, each in a process of its own; after a failure the others still run."""
    started = time.monotonic()
    for number, one in enumerate(missing, 1):
        assert one.run is not None
        print_lines(console, f"[{number}/{len(missing)}] {shlex.join(['dsbs', 'train', *one.words])}")
        code, last_line = train_one(one.words, console)
        one.finished = one.run.finished_metrics()
        if one.finished is None:
            one.fault = last_line or f"exit code {code}"
            console.print(f"    failed: {one.fault}", markup=False, highlight=False)
            continue
        metric, value = one.finished["metric"], one.finished["test"].get(one.finished["metric"])
        score = "no gold answers in test" if value is None else f"test {show_score(metric, value)}"
        left = (time.monotonic() - started) / number * (len(missing) - number)
        console.print(
            f"    {score}, {one.finished['seconds']:.0f} s; about {show_duration(left)} left", highlight=False
        )


def train_one(words: Sequence[str], console: Console) -> tuple[int, str]:
    """Train in a subprocess and show its progress; return the exit code and the last line of standard error.

    What stops this process (Ctrl-C, SIGTERM) stops the subprocess first, and waits for it; if this process is killed,
    the subprocess sees the end of its standard input.
    """
    command = [sys.executable, "-m", "dsbs.train", *words]
    last_line = ""
    with subprocess.Popen(  # noqa: S603 - our own command
        command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, encoding="utf-8",
        errors="replace", env={**os.environ, ENDS_WITH_STDIN: "1"},
    ) as process:  # fmt: skip
        assert process.stderr is not None
        try:
            for line in process.stderr:
                last_line = line.strip() or last_line
                if PROGRESS in line:
                    console.print(f"    {line.strip()}", markup=False, highlight=False)
        except BaseException:
            process.terminate()  # it saves the step under way; SIGTERM may have reached this process alone
            raise
        finally:
            process.stderr.close()  # nothing is read from it any more
            process.wait()  # before its standard input ends with this context
    return process.returncode, last_line


def conclude(config: CompareConfig, candidates: Sequence[Candidate], console: Console) -> Path:
    """Write and show the leaderboard of all finished runs; return its folder.

    Raises:
        DataError: no run has a test score.
    """
    from dsbs.reporting.conditions import group_runs
    from dsbs.reporting.leaderboard import advise, build_entries, draw_frontier, price_teacher, show_leaderboard
    from dsbs.reporting.reading import FinishedRun, read_run
    from dsbs.reporting.teachers import find_summary, find_teachers

    runs = [read_run(one.run.folder) for one in candidates if one.run and one.finished]
    read = [run for run in runs if isinstance(run, FinishedRun) and run.metrics["test"].get(run.metric) is not None]
    if not read:
        raise DataError("No run could be measured: the task has no test examples with gold answers, or all failed.")
    conditions, _ = group_runs(read)
    summary = next(filter(None, map(find_summary, read)), None)
    teacher = price_teacher(find_teachers(read), summary, read[0].metric)
    entries = build_entries(conditions)
    folder = Path(config.output_dir) / "compare" / path_part(str(read[0].metrics["task"]), "task")
    advice = advise(entries, teacher)
    record = {
        "task": read[0].metrics["task"],
        "metric": read[0].metric,
        "students": [asdict(entry) for entry in entries],
        "teacher": asdict(teacher) if teacher else None,
        "advice": advice,
        "left_out": faults_by_method(candidates),
    }
    write_json(folder / "compare.json", record)
    for format in ("svg", "png"):
        (folder / f"frontier.{format}").write_bytes(draw_frontier(entries, teacher, format, read[0].metric))
    show_leaderboard(record, console)
    whole = f"The whole report: dsbs report runs={read[0].folder.parents[3]}"
    print_lines(console, *advice, folder, whole, indent="  ")
    return folder


def compare_with_base(
    config: CompareConfig, candidates: Sequence[Candidate], folder: Path, console: Console
) -> list[dict[str, Any]]:
    """Measure, write and show the base with and without the prompt, for each finished run of ``objective=context``."""
    rows = []
    for one in candidates:
        if one.plan is not None and one.finished is not None:
            from dsbs.training.in_context import measure_in_context

            rows += measure_in_context(one.plan, one.finished, config.other, folder)
    if not rows:
        return rows
    write_json(folder / "in_context.json", rows)
    table = Table(title="What the prompt adds, and how much of it was distilled", title_justify="left")
    for name in ("student", "seed", "who", "score on test", "perplexity of other texts"):
        table.add_column(name, justify="left" if name in ("student", "who") else "right")
    for row in rows:
        score = "" if row["score"] is None else show_score(row["metric"], row["score"])
        other = "" if row["other_perplexity"] is None else f"{row['other_perplexity']:.4g}"
        table.add_row(row["student"], str(row["seed"]), row["who"], score, other)
    print_table(console, table)
    return rows


if __name__ == "__main__":
    main()
