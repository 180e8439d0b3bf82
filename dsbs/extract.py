"""Ask a teacher for a rationale and a label of each example, and store every completion.

    dsbs extract                                             the built-in task and its scripted teacher
    dsbs extract task=table task.path=mails.csv task.input=text teacher=openai teacher.model=gpt-5-mini dry_run=true
    dsbs extract task=cqa task.path=data/cqa teacher=llama_cpp limit=100

dry_run=true sends no request: it counts them and estimates tokens, dollars and time. The same command resumes, and
sends no request twice.
"""

from collections.abc import Sequence
from typing import Any

from rich.console import Console

from dsbs.cli.command import command
from dsbs.cli.config import ExtractConfig, check_settings
from dsbs.core.progress import standard_output
from dsbs.core.records import OK
from dsbs.core.terminal import log_once, make_table, plain, print_lines, print_table, visible
from dsbs.core.units import show_duration
from dsbs.data.overlap import describe_overlap
from dsbs.data.subsets import default_splits, parse_fraction, sample_ids, select
from dsbs.extraction.annotations import PAGE, rationales_dir, rationales_root, variant_dir
from dsbs.extraction.engine import estimate_extraction, run_extraction
from dsbs.extraction.executors import asks_in_batches
from dsbs.extraction.job import Job
from dsbs.extraction.page import show_accuracy
from dsbs.extraction.progress import ProgressLine
from dsbs.extraction.summary import advise, describe_unlabelled
from dsbs.tasks.tables.naming import describe_shared_folder


@command("extract")
def main(config: ExtractConfig) -> None:
    """Run an extraction and show its summary; with ``dry_run``, show an estimate."""
    job = build_job(config)
    if config.dry_run:
        show_estimate(job, config.labels, standard_output())
    else:
        show(run_extraction(job, ProgressLine), job, config.labels, standard_output())


def build_job(config: ExtractConfig) -> Job:
    """Return the extraction that a config describes.

    Raises:
        ConfigError: names all faults at once.
        DataError: the task's data or the teacher's files cannot be found.
    """
    check_settings(config)
    if shared := describe_shared_folder(config.output_dir, config.task):
        log_once(shared)
    splits = choose_splits(config)
    base = rationales_dir(config.output_dir, config.task, config.teacher, config.prompt)
    return Job(
        task=config.task,
        teacher=config.teacher,
        prompt=config.prompt,
        filter=config.filter,
        folder=variant_dir(base, config.filter.asked, config.samples),
        splits=splits,
        select=choose_examples(config, splits),
        settings=config,
        neighbours=rationales_root(config.output_dir),
        base=base.name,
    )


def choose_splits(config: ExtractConfig) -> list[str]:
    """Return the splits to annotate: those named, else those that a training needs."""
    if config.splits:
        return list(dict.fromkeys(config.splits))
    needed = ["validation"] if config.labels != "gold" and "validation" in config.task.splits() else []
    return list(dict.fromkeys([*default_splits(config.task), *needed]))


def choose_examples(config: ExtractConfig, splits: Sequence[str]) -> dict[str, frozenset[str]] | None:
    """Return split -> ids to annotate, drawn by seed: those of ``data_fraction``, and at most ``limit`` of them.

    None: all. A larger limit includes the ids of a smaller one.
    """
    fraction = parse_fraction(config.data_fraction)
    chosen: dict[str, frozenset[str]] = {}
    if fraction < 1:
        with_validation = config.labels != "gold"
        chosen |= select(config.task, fraction, config.seed, config.split_seed).by_split(with_validation)
    if config.limit is not None:
        for split in set(splits) & set(config.task.splits()):
            ids = chosen.get(split) or (example.id for example in config.task.examples(split))
            chosen[split] = frozenset(sample_ids(ids, config.limit, config.seed, purpose="limit"))
    return chosen or None


def show(summary: dict[str, Any], job: Job, labels: str, console: Console) -> None:
    """Print the summary as a table, and the folder of the annotations."""
    title = f"{summary['task']}, teacher {summary['model'] or summary['teacher']}"
    table = make_table(title, "split", "examples", "parsed", "failed", "used", "accuracy", "asked now", "cost")
    for split, count in summary["splits"].items():
        cost = count["cost_usd"]
        table.add_row(
            plain(split),
            f"{count['examples']:,}",
            f"{count['parsed']:,}",
            f"{count['failed']:,}",
            f"{count['statuses'].get(OK, 0):,}",
            show_accuracy(count),
            f"{count['requests']:,}",
            "unknown" if cost is None else f"${cost:.2f}",
        )
    print_table(console, table)
    for split, count in summary["splits"].items():
        taken = ", ".join(f"{status} {number:,}" for status, number in count["statuses"].items() if status != OK)
        if taken:
            print_lines(console, f"{split}, not used: {taken}")
        show_systems(split, count.get("systems", []), console)
    print_lines(
        console,
        *summary["notes"],
        *advise(summary, job.splits, job.teacher.by_id),
        *job.task.remarks(),
        *describe_unlabelled(job.task, labels),
        *describe_overlap(summary["overlap"]),
    )
    if summary["stopped"]:
        advice = " The same command with a higher limit resumes." * summary["stopped"].startswith("budget.")
        print_lines(console, f"Incomplete: {summary['stopped']}.{advice}")
    print_lines(console, f"Annotations: {job.folder} (to inspect them: {PAGE})")
    if not summary["stopped"]:
        print_lines(console, "To train on them: dsbs train with the same task, teacher and labels.")


def show_systems(split: str, systems: Sequence[dict[str, Any]], console: Console) -> None:
    """Print a line for each system prompt: examples, parsed answers, accuracy."""
    for one in systems:
        accuracy = one["teacher_accuracy"]
        right = "" if accuracy is None else f", accuracy {100 * accuracy:.2f}%"
        head = visible(" ".join(one["system"].split())[:60] or "no system prompt")
        print_lines(console, f"{split}, {head!r}: {one['examples']:,} examples, {one['parsed']:,} parsed{right}")


def show_estimate(job: Job, labels: str, console: Console) -> None:
    """Print the requests that an extraction needs, with estimates of tokens, dollars and time."""
    survey, estimate = estimate_extraction(job)
    dollars, written = "price unknown (teacher.prompt_price, teacher.completion_price)", estimate.completion_tokens
    longest = written == estimate.most_written and written > 0  # no answer is known that would tell the usual length
    if estimate.usd is not None:
        dollars = "at most " * longest + f"${estimate.usd:.2f}"
    time = "time unknown until the first answers"
    if estimate.seconds is not None:
        time = show_duration(estimate.seconds)
    if asks_in_batches(job.settings):
        dollars, time = f"{dollars} at batch prices", f"up to {time}"
    print_lines(console, *job.task.remarks(), *describe_unlabelled(job.task, labels))
    waiting = f"{survey.in_batches:,} are pending in batches, " if survey.in_batches else ""
    repeated = f"{survey.repeated:,} repeat another one, " if survey.repeated else ""
    bounded = estimate.most_written and estimate.most_written > written
    most = f" (at most {estimate.most_written:,.0f})" if bounded else ""
    print_lines(
        console,
        f"Dry run, nothing was sent. {sum(survey.needed.values()):,} requests are needed, "
        f"{survey.stored:,} are already answered, {repeated}{waiting}"
        f"{estimate.requests:,} remain: about {estimate.prompt_tokens:,.0f} prompt tokens "
        f"and {'at most ' * longest}{written:,.0f}{most} completion tokens, {dollars}, {time}.",
        *survey.found,
    )


if __name__ == "__main__":
    main()
