"""Show traffic recorded by dsbs.serve, compare a student with the LLM, and turn the traffic into training data.

    dsbs traffic
    dsbs traffic data=outputs/traffic test_share=0.2
    dsbs traffic data=outputs/traffic rationales=outputs/rationales/recorded/openai-0123abcd
    dsbs traffic checkpoint=outputs/train/recorded/logreg/distill/1.0/0-1a2b3c4d

The folder of the data is what dsbs extract and dsbs train take as task.path; task=recorded reads outputs/traffic.
"""

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from dsbs.cli.arguments import typed_overrides
from dsbs.cli.checkpoints import open_checkpoint
from dsbs.cli.command import command
from dsbs.cli.config import check_settings
from dsbs.cli.saved_settings import build_settings
from dsbs.core.errors import ConfigError, DataError
from dsbs.core.files import write_text
from dsbs.core.finish_reasons import STOP, read_finish_reason
from dsbs.core.progress import standard_output
from dsbs.core.records import OK
from dsbs.core.terminal import make_table, plain, print_lines, print_table
from dsbs.core.units import pluralize
from dsbs.core.untrusted import read_yaml, storable
from dsbs.extraction.annotations import AnnotationFile
from dsbs.extraction.prompts import Prompt
from dsbs.serving.agreement import count_agreement
from dsbs.serving.chat import Reader
from dsbs.serving.mixture import Mixture
from dsbs.serving.settings import TrafficConfig
from dsbs.serving.traffic import Exchange, TrafficStore, open_traffic
from dsbs.tasks.answers import FreeAnswers

UNEXPLAINED = "unexplained"  # folder of training rows without rationale, beside train.jsonl
SPLITS = ("train", "test")
WRITTEN = {*(f"{split}.jsonl" for split in SPLITS), UNEXPLAINED}
MAX_FIRST = 2**24  # bytes of a first row
BARE_WORDS = 8
BATCH_SIZE = 32
MAX_CLASSES = 50  # answers that are shown


@command("traffic")
def main(config: TrafficConfig) -> None:
    """Show the recorded traffic and how often the student agrees with the LLM."""
    check_settings(config)
    with open_traffic(Path(config.store)) as store:
        show(summarise(store, config), config, typed_overrides(), standard_output())


def summarise(store: TrafficStore, config: TrafficConfig) -> dict[str, Any]:
    """Return figures of recorded and compared answers; write training data if ``data`` is set.

    Raises:
        ConfigError: the folder of the data holds something else.
        DataError: there is nothing to write, or the store is invalid.
    """
    if config.data is not None:
        check_folder(Path(config.data))
    reader = Reader(config.chat)
    requests, unread, first, last, mixture = 0, 0, None, None, Mixture()
    rows: dict[str, dict[str, Any]] = {}
    for exchange in store.exchanges():
        requests += 1
        first, last = first or exchange.created, exchange.created
        row = to_row(exchange, reader)
        if row is None:
            unread += 1
            continue
        mixture.add(exchange.messages)
        known = rows.setdefault(row["id"], row)  # the first answer to an input counts, unless it was not finished
        if is_unfinished(known) and not is_unfinished(row):
            rows[row["id"]] = row
    if not requests and config.data is not None:
        raise DataError(f"{config.store}: nothing was recorded. Record it: python -m dsbs.serve mode=record ...")
    if not rows and config.data is not None:
        what = f": {reader.source} matches none of them" if reader.pattern is not None else ""
        raise DataError(
            f"Nothing to write: {requests:,} requests were recorded, none with an input and an answer{what}."
        )
    found = list(rows.values())
    explained = add_rationales(found, Path(config.rationales), config.chat.cue) if config.rationales else None
    figures: dict[str, Any] = {"requests": requests, "inputs": len(rows), "unread": unread, "from": first, "to": last}
    figures["mixture"] = mixture.describe()
    if config.data is not None:
        figures["written"] = write_data(Path(config.data), found, config.test_share)
        figures["unexplained"] = write_unexplained(Path(config.data))
        figures["explained"] = explained
    if config.checkpoint is None:
        return figures | {"compared": count_agreement(store.compared(), FreeAnswers())}
    return figures | replay(found, config.checkpoint, config)


def to_row(exchange: Exchange, reader: Reader) -> dict[str, Any] | None:
    """Return an exchange as a row of data, or None if its input cannot be read, or input or answer are empty."""
    try:
        text = storable(reader.read({"messages": exchange.messages})).strip()
    except DataError:
        return None
    if not text or not exchange.completion.strip():
        return None
    id = hashlib.blake2b(" ".join(text.split()).casefold().encode(), digest_size=8).hexdigest()
    return {"id": id, "input": text, "completion": exchange.completion, "model": exchange.model,
            "finish_reason": exchange.finish_reason, "created": exchange.created}  # fmt: skip


def is_unfinished(row: dict[str, Any]) -> bool:
    """Return whether the answer of a row was cut off or refused."""
    return read_finish_reason(row["finish_reason"]) not in (STOP, None)


def replay(rows: list[dict[str, Any]], named: str, config: TrafficConfig) -> dict[str, Any]:
    """Return how often a student agrees with the LLM on recorded inputs that it was not trained on.

    Args:
        named: the student's checkpoint.

    Raises:
        DsbsError: the checkpoint or its training data is missing or broken.
    """
    from dsbs.serving.replay import Replay, has_changed

    checkpoint = open_checkpoint(named, config.trust_run)
    if checkpoint.run is None:
        raise ConfigError(
            f"checkpoint={named}: it is not inside its run, so what it was trained on is not known here. Name the run."
        )
    asked = read_yaml(checkpoint.run / "config.yaml").get("prompt") or {"cue": config.chat.cue}
    prompt = build_settings(Prompt, asked, f"{checkpoint.run}/config.yaml: prompt")
    policy, task = checkpoint.policy(optional=True), checkpoint.task_of_run(None, config.trust_run)
    predictor = checkpoint.load(BATCH_SIZE)
    found = Replay(predictor, checkpoint.remembered, task, prompt, policy).run(rows)
    changed = has_changed(checkpoint.run, task)
    left_out = {"trained_on": found.trained_on, "unread": found.unread, "changed": changed}
    return {"compared": count_agreement(found.compared, task.answers), "left_out": left_out}


def check_folder(folder: Path) -> None:
    """Check that a folder for the data is new, or was written by this command.

    Raises:
        ConfigError: it has other files in it, or data from elsewhere.
    """
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    others = [name for name in names if name not in WRITTEN and not name.startswith(".")]
    for split in SPLITS:
        if (path := folder / f"{split}.jsonl").is_file() and not others:
            with path.open("rb") as file:
                first = file.readline(MAX_FIRST)
            others += [path.name] * any(f'"{key}"'.encode() not in first for key in ("completion", "finish_reason"))
    if others:
        raise ConfigError(f"data={folder}: a folder with other files in it ({others[0]}); name a new one.")


def write_data(folder: Path, rows: list[dict[str, Any]], test_share: float) -> dict[str, int]:
    """Write train.jsonl and test.jsonl, with the latest inputs in test; return split -> number of rows.

    At least one row is for train. A test.jsonl of an earlier call never stays beside a newer train.jsonl.
    """
    test = min(round(test_share * len(rows)), len(rows) - 1)
    parts = {"train": rows[: len(rows) - test], "test": rows[len(rows) - test :]}
    (folder / "test.jsonl").unlink(missing_ok=True)
    for split, part in parts.items():
        if part:
            write_text(folder / f"{split}.jsonl", "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in part))
    return {split: len(part) for split, part in parts.items()}


def is_bare(completion: str) -> bool:
    """Return whether an answer of the LLM has no rationale: at most eight words on one line.

    >>> is_bare("refund"), is_bare("It leaks after a week, which is wear. So the answer is refund.")
    (True, False)
    """
    text = completion.strip()
    return "\n" not in text and len(text.split()) <= BARE_WORDS


def write_unexplained(folder: Path) -> int:
    """Write the training rows whose answers have no rationale to a folder of their own, to ask the LLM about only them.

    Returns:
        Their number.
    """
    with (folder / "train.jsonl").open(encoding="utf-8") as file:
        lines = [line for line in file if is_bare(json.loads(line)["completion"])]
    path = folder / UNEXPLAINED / "train.jsonl"
    if lines:
        write_text(path, "".join(lines))
    else:
        path.unlink(missing_ok=True)
    return len(lines)


def add_rationales(rows: list[dict[str, Any]], folder: Path, cue: str) -> int:
    """Add rationales of an extraction to recorded answers that have none, where both agree on the answer.

    Args:
        rows: of the data; their ``completion`` is changed.

    Returns:
        The number of changed rows.

    Raises:
        DataError: the folder has no annotations.
    """
    found = {one.id: one for one in AnnotationFile(folder, "train") if one.status == OK and one.rationale}
    answers, count = FreeAnswers(), 0
    for row in rows:
        annotation, parsed = found.get(row["id"]), answers.parse(row["completion"])
        if annotation is not None and is_bare(row["completion"]) and answers.equivalent(annotation.label, parsed):
            row["completion"] = f"{annotation.rationale} {cue} {annotation.label}."
            count += 1
    return count


def describe_left_out(counts: dict[str, int] | None) -> list[str]:
    """Return in sentences which recorded inputs a student was not compared on; none without a student."""
    if counts is None:
        return []
    sentences = [f"Not compared: {pluralize(counts['trained_on'], 'input')} that the student was trained on."]
    if not counts["trained_on"]:
        sentences = [
            "No recorded input is in the student's training data. If it was trained on this traffic, type the "
            "chat.template or chat.pattern of then, or it is compared on what it was trained on."
        ]
    if counts["changed"]:
        sentences.append(
            "The run's data has changed since the training: inputs that are no longer in it may be ones that the "
            "student was trained on, but are compared."
        )
    if counts["unread"]:
        sentences.append(f"Not compared: {pluralize(counts['unread'], 'input')} without a readable text or answer.")
    return sentences


def show(figures: dict[str, Any], config: TrafficConfig, typed: Sequence[str], console: Console) -> None:
    """Print the figures, and the next command to type, with what was typed for this one."""
    console.print(
        f"{figures['requests']:,} requests recorded, {figures['inputs']:,} distinct inputs"
        + (f"; {figures['unread']:,} without a readable input" if figures["unread"] else ""),
        highlight=False,
    )
    print_lines(console, *figures["mixture"], indent="  ")
    if "written" in figures:
        parts = ", ".join(f"{split} {count:,}" for split, count in figures["written"].items())
        if figures["explained"] is not None:
            console.print(f"  {figures['explained']:,} recorded answers were given a rationale", highlight=False)
        tip = "with task.labels=[...] if answers are closed"
        print_lines(console, f"  {config.data}: {parts}. Next, {tip}:")
        place = shlex.quote(f"task.path={config.data}")
        lines = [f"    python -m dsbs.extract task=recorded {place} teacher=recorded labels=teacher"]
        if count := figures["unexplained"]:
            again = [word for word in typed if not word.startswith("rationales=")]
            place = shlex.quote(f"task.path={config.data}/{UNEXPLAINED}")
            lines += [
                f"  {count:,} of the training answers have no rationale. To ask the LLM for those alone:",
                f"    python -m dsbs.extract task=recorded {place} teacher=openai teacher.model=... labels=teacher",
                f"    {shlex.join(['python', '-m', 'dsbs.traffic', *again, 'rationales=FOLDER'])}",
            ]
        print_lines(console, *lines)
    compared = figures["compared"]
    kept, deferred, classes = compared["all"], compared["deferred"], compared["classes"]
    print_lines(console, *describe_left_out(left_out := figures.get("left_out")), indent="  ")
    if not kept["requests"] + deferred["requests"]:
        advice = (
            "No recorded input is left to compare on. Record more: python -m dsbs.serve mode=record ..."
            if left_out
            else "No student was compared yet. On recorded inputs: checkpoint=RUN; on live ones: serve mode=shadow."
        )
        print_lines(console, f"  {advice}")
        return
    table = make_table("Agreement of student and LLM", "LLM's answer", "requests", "same", "at least (95%)")
    rows = [("all that the student is sure of" if deferred["requests"] else "all", kept)]
    rows += [*[*classes.items()][:MAX_CLASSES], ("all that it is unsure of", deferred)]
    for label, one in rows:
        if one["requests"]:
            share = f"{100 * one['same'] / one['requests']:.1f}%"
            table.add_row(plain(label), f"{one['requests']:,}", share, f"{100 * one['lower_95']:.1f}%")
    print_table(console, table)
    if len(classes) > MAX_CLASSES:
        console.print(f"  The {MAX_CLASSES} most frequent of {len(classes):,} answers.", highlight=False)
    if not kept["requests"] and not left_out:
        console.print("  None was compared that the student is sure of: deferral.compare=0.02 compares a sample.")


if __name__ == "__main__":
    main()
