"""``python -m dsbs.store show|merge|export|abandon``: show what stores hold, copy it, and give up batches."""

import argparse
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from rich.console import Console

from dsbs.core.errors import DsbsError
from dsbs.core.files import explain_refusal
from dsbs.core.progress import standard_output
from dsbs.core.terminal import make_table, plain, print_lines, print_table, visible
from dsbs.store.batches import abandon, open_batches
from dsbs.store.completions import CompletionStore, open_store
from dsbs.store.exporting import export
from dsbs.store.merging import check_stores, merge

FILE_NAME = "completions.sqlite"


def main(words: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(words)
    console = standard_output()
    try:
        if arguments.command == "merge":
            others = [_locate(other) for other in arguments.others]
            check_stores(others)
            with CompletionStore(_locate(arguments.store)) as store:
                new = merge(store, others)
                console.print(f"{new:,} new completions; {arguments.store} holds {store.count():,}.", soft_wrap=True)
            return 0
        if arguments.command == "abandon":
            CompletionStore(_locate(arguments.store), read_only=True).close()  # says where there is none
            with CompletionStore(_locate(arguments.store)) as store:
                held = abandon(store, arguments.batch)
                console.print(f"{held:,} requests will be asked again by the next extraction.", soft_wrap=True)
            return 0
        with open_store(_locate(arguments.store)) as store:
            if arguments.command == "export":
                count = export(store, arguments.to, public=arguments.public)
                console.print(f"{count:,} completions written to {arguments.to}.", soft_wrap=True)
            else:
                show(store, arguments.examples, console)
    except (DsbsError, OSError) as error:  # the latter: a place that cannot be written
        message = explain_refusal(error) if isinstance(error, OSError) else None
        sys.stderr.write(f"dsbs.store: {visible(message or str(error))}\n")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dsbs.store", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    show = commands.add_parser("show", help="what a store holds")
    show.add_argument("store", help=f"a {FILE_NAME}, or the folder that holds it")
    show.add_argument("--examples", type=_count, default=0, metavar="N", help="print the first N completions")
    merge = commands.add_parser("merge", help="copy other stores into one; safe to repeat")
    merge.add_argument("store", help="the target store; created if missing")
    merge.add_argument("others", nargs="+", help="stores, or folders that hold one")
    export = commands.add_parser("export", help="export every completion")
    export.add_argument("store", help=f"a {FILE_NAME}, or the folder that holds it")
    export.add_argument("--to", required=True, help="NAME.jsonl, NAME.parquet, a folder, or hub:OWNER/NAME")
    abandon = commands.add_parser("abandon", help="give up a batch; its requests are asked and paid for again")
    abandon.add_argument("store", help=f"a {FILE_NAME}, or the folder that holds it")
    abandon.add_argument("batch", help="its id at the endpoint, as `show` prints it")
    export.add_argument("--public", action="store_true", help="make the data set on the hub public")
    return parser


def _count(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"expected a number of completions, found {text!r}")
    return int(text)


def _locate(named: str) -> Path:
    path = Path(named)
    return path / FILE_NAME if path.is_dir() or not path.suffix else path


def show(store: CompletionStore, examples: int, console: Console) -> None:
    """Print what a store holds: counts by origin and split, pending batches, and the first ``examples`` completions."""
    counts = ("completions", "failed", "prompt tokens", "completion tokens")
    table = make_table(store.path, "task", "teacher", "split", *counts, left=3)
    for counted in store.overview():
        table.add_row(*(f"{cell:,}" if isinstance(cell, int) else plain(cell) for cell in counted))
    print_table(console, table)
    for batch, held in open_batches(store):
        since = time.strftime("%Y-%m-%d %H:%M", time.localtime(batch.created))
        name = batch.remote or batch.token
        print_lines(console, f"batch {name}, sent to {batch.address} at {since}: {held:,} requests pending")
    for row in islice(store.rows(), examples):
        head = f"{row['split']} {row['id']}, sample {row['sample']}, {row['model']}, {row['finish_reason']}"
        console.rule(plain(head.replace("\n", " ")))
        console.print(plain(row["question"]), style="dim")
        console.print(plain(row["text"]))


if __name__ == "__main__":
    sys.exit(main())
