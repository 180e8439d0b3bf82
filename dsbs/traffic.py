"""Show traffic recorded by dsbs.serve, compare a student with the LLM, and turn the traffic into training data.

    dsbs traffic
    dsbs traffic data=outputs/traffic test_share=0.2
    dsbs traffic data=outputs/traffic rationales=outputs/rationales/recorded/openai-0123abcd

The folder of the data is what dsbs extract and dsbs train take as task.path; task=recorded reads outputs/traffic.
"""

import hashlib
import json
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from dsbs.cli.command import command
from dsbs.cli.explain import quote_text
from dsbs.core.errors import ConfigError, DataError
from dsbs.core.files import write_text
from dsbs.core.progress import standard_output
from dsbs.core.records import OK
from dsbs.core.terminal import plain, print_table
from dsbs.deferral.measures import lower_bound
from dsbs.extraction.annotations import iterate_annotations
from dsbs.serving.chat import Reader
from dsbs.serving.settings import Chat, TrafficConfig
from dsbs.serving.traffic import Exchange, TrafficStore, open_traffic
from dsbs.tasks.answers import FreeAnswers

UNEXPLAINED = "unexplained"  # folder of training rows without rationale, beside train.jsonl
BARE_WORDS = 8


@command("traffic")
def main(config: TrafficConfig) -> None:
    """Show the recorded traffic and how often the student agrees with the LLM."""
    if faults := config.faults():
        raise ConfigError.from_faults(faults)
    with open_traffic(Path(config.store)) as store:
        show(summarise(store, config), config, standard_output())


def summarise(store: TrafficStore, config: TrafficConfig) -> dict[str, Any]:
    """Return figures of recorded and compared answers; write training data if ``data`` is set.

    Raises:
        DataError: there is nothing to write, or the store is invalid.
    """
    reader = Reader(config.chat)
    requests, unread, first, last = 0, 0, None, None
    rows: dict[str, dict[str, Any]] = {}
    for exchange in store.exchanges():
        requests += 1
        first, last = first or exchange.created, exchange.created
        row = to_row(exchange, reader)
        if row is None:
            unread += 1
        else:
            rows.setdefault(row["id"], row)  # the first answer to an input counts
    if requests and not rows and config.data is not None:
        what = f": {reader.source} matches none of them" if reader.pattern is not None else ""
        raise DataError(
            f"Nothing to write: {requests:,} requests were recorded, none with an input and an answer{what}."
        )
    found = list(rows.values())
    explained = add_rationales(found, Path(config.rationales), config.chat.cue) if config.rationales else None
    figures: dict[str, Any] = {"requests": requests, "inputs": len(rows), "unread": unread, "from": first, "to": last}
    if config.data is not None:
        figures["written"] = write_data(Path(config.data), found, config.test_share)
        figures["unexplained"] = write_unexplained(Path(config.data))
        figures["explained"] = explained
    return figures | {"compared": compare(store)}


def to_row(exchange: Exchange, reader: Reader) -> dict[str, Any] | None:
    """Return an exchange as a row of data, or None if its input cannot be read, or input or answer are empty."""
    try:
        text = reader.read({"messages": exchange.messages}).strip()
    except DataError:
        return None
    if not text or not exchange.completion.strip():
        return None
    id = hashlib.blake2b(" ".join(text.split()).casefold().encode(), digest_size=8).hexdigest()
    return {"id": id, "input": text, "completion": exchange.completion, "model": exchange.model,
            "finish_reason": exchange.finish_reason, "created": exchange.created}  # fmt: skip


def write_data(folder: Path, rows: list[dict[str, Any]], test_share: float) -> dict[str, int]:
    """Write train.jsonl and test.jsonl, with the latest inputs in test; return split -> number of rows.

    Raises:
        DataError: there are none for train.
    """
    test = round(test_share * len(rows))
    parts = {"train": rows[: len(rows) - test], "test": rows[len(rows) - test :]}
    if not parts["train"]:
        raise DataError("Nothing usable was recorded: no input has an answer.")
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
    if lines:
        write_text(folder / UNEXPLAINED / "train.jsonl", "".join(lines))
    return len(lines)


def add_rationales(rows: list[dict[str, Any]], folder: Path, cue: str) -> int:
    """Add rationales of an extraction to recorded answers that have none, where both agree on the answer.

    Args:
        rows: of the data; their ``completion`` is changed.
        folder: of the extraction.
        cue: words between rationale and answer.

    Returns:
        The number of changed rows.

    Raises:
        DataError: the folder has no annotations.
    """
    found = {one.id: one for one in iterate_annotations(folder, "train") if one.status == OK and one.rationale}
    answers, count = FreeAnswers(), 0
    for row in rows:
        annotation, said = found.get(row["id"]), answers.parse(row["completion"])
        if annotation is not None and is_bare(row["completion"]) and answers.equivalent(annotation.label, said):
            row["completion"] = f"{annotation.rationale} {cue} {annotation.label}."
            count += 1
    return count


def compare(store: TrafficStore) -> dict[str, Any]:
    """Return how often the student agrees with the LLM, overall and by the LLM's answer, with 95% lower bounds."""
    found = store.compared()
    same: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for _, _, student, teacher in found:
        total[str(teacher)] += 1
        same[str(teacher)] += student == teacher
    classes = {
        label: {"requests": count, "same": same[label], "lower_95": lower_bound(same[label], count)}
        for label, count in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    }
    whole = {"requests": total.total(), "same": same.total(), "lower_95": lower_bound(same.total(), total.total())}
    deferred = sum(deferred for _, deferred, _, _ in found)
    return {"all": whole, "deferred": deferred, "classes": classes}


def same_input(chat: Chat) -> str:
    r"""Return the words of a command that reads inputs as this one does.

    >>> print(same_input(Chat(template="Classify: {input}\n")))
     'chat.template="Classify: {input}\n"'
    """
    for key, value in (("template", chat.template), ("pattern", chat.pattern)):
        if value is not None:
            text = quote_text(value.replace("\n", "\\n"))
            return " " + shlex.quote(f"chat.{key}={text}")
    return ""


def show(figures: dict[str, Any], config: TrafficConfig, console: Console) -> None:
    """Print the figures, and the next command to type."""
    console.print(
        f"{figures['requests']:,} requests recorded, {figures['inputs']:,} distinct inputs"
        + (f"; {figures['unread']:,} without a readable input" if figures["unread"] else ""),
        highlight=False,
    )
    if "written" in figures:
        parts = ", ".join(f"{split} {count:,}" for split, count in figures["written"].items())
        if figures["explained"] is not None:
            console.print(f"  {figures['explained']:,} recorded answers were given a rationale", highlight=False)
        tip = "with task.labels=[...] if answers are closed"
        console.print(f"  {config.data}: {parts}. Next, {tip}:", highlight=False, soft_wrap=True, markup=False)
        told = [f"    python -m dsbs.extract task=recorded task.path={config.data} teacher=recorded labels=teacher"]
        if count := figures["unexplained"]:
            told += [
                f"  {count:,} of the training answers have no rationale. To ask the LLM for those alone:",
                f"    python -m dsbs.extract task=recorded task.path={config.data}/{UNEXPLAINED} teacher=openai "
                "teacher.model=... labels=teacher",
                f"    python -m dsbs.traffic data={config.data} rationales=FOLDER{same_input(config.chat)}",
            ]
        for line in told:
            console.print(line, highlight=False, soft_wrap=True, markup=False)
    whole = figures["compared"]["all"]
    if not whole["requests"]:
        console.print("  No student answers have been compared yet: python -m dsbs.serve mode=shadow ...")
        return
    table = Table(title="Agreement of student and LLM", title_justify="left")
    for name in ("LLM's answer", "requests", "same", "at least (95%)"):
        table.add_column(name, justify="left" if name == "LLM's answer" else "right")
    for label, one in [("all", whole), *figures["compared"]["classes"].items()]:
        share = f"{100 * one['same'] / one['requests']:.1f}%"
        table.add_row(plain(label), f"{one['requests']:,}", share, f"{100 * one['lower_95']:.1f}%")
    print_table(console, table)


if __name__ == "__main__":
    main()
