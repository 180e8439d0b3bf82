"""Convert a finished student for a fast engine, and verify that it answers as the checkpoint does.

    dsbs export checkpoint=outputs/train/triage/t5_scratch/step_by_step/1.0/0-1a2b3c4d
    dsbs export checkpoint=RUN quantization=int8
    dsbs export checkpoint=RUN format=onnx limit=200

RUN is the folder of a finished run, or its checkpoint.
"""

import shutil
import time
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from rich.console import Console

from dsbs import __version__
from dsbs.cli.checkpoints import Checkpoint, open_checkpoint
from dsbs.cli.command import command
from dsbs.cli.config import check_settings
from dsbs.cli.saved_settings import load_run_settings
from dsbs.core.errors import ConfigError, RunError
from dsbs.core.files import folder_bytes, why_unwritable, write_json, write_text
from dsbs.core.progress import standard_output
from dsbs.core.records import Example
from dsbs.core.terminal import print_lines
from dsbs.core.untrusted import read_object
from dsbs.inference.checkpoint import EXPORTS
from dsbs.inference.exports import choose_format, find_format
from dsbs.inference.exports.parity import Parity, compare
from dsbs.inference.exports.records import find_earlier, find_source, refuse_below
from dsbs.inference.exports.settings import ExportConfig
from dsbs.inference.exports.speed import measure_speed, read_speed
from dsbs.inference.gold import gold_examples
from dsbs.inference.metrics import show_score
from dsbs.students.answering import CONFIDENT
from dsbs.training.held_out import load_held_out

PACKAGES = ("ctranslate2", "tokenizers", "gguf", "xllamacpp", "skops", "onnxruntime")


@command("export")
def main(config: ExportConfig) -> None:
    """Convert a finished student, compare its answers with the checkpoint's, and keep it if they agree."""
    show(export(config), standard_output())


def export(config: ExportConfig) -> dict[str, Any]:
    """Export a checkpoint and return the content of ``export.json``; an earlier export of the same weights is reused.

    Raises:
        DsbsError: checkpoint or data are missing or broken, too many answers differ, or another process exports there.
    """
    check_settings(config)
    checkpoint = open_checkpoint(config.checkpoint, config.trust_run)
    if (checkpoint.folder / "export.json").is_file():
        raise ConfigError(f"checkpoint={config.checkpoint}: an export already; name the run that it was made of.")
    name, reason = config.format, "chosen by format="
    if name == "auto":
        name, reason = choose_format(checkpoint.folder)
    module, stored = find_format(name), checkpoint.remembered.format
    if stored not in getattr(module, "STORED", (stored,)):
        suits, _ = choose_format(checkpoint.folder)
        raise ConfigError(f"format={name} is for students that generate text, not for {stored}: type format={suits}.")
    quantization = module.DEFAULT if config.quantization == "auto" else config.quantization
    if quantization not in module.QUANTIZATIONS:
        raise ConfigError(f"quantization={quantization}: format={name} takes auto, {', '.join(module.QUANTIZATIONS)}.")
    folder = output_folder(config, checkpoint, f"{name}-{quantization}")
    if (record := find_earlier(config, checkpoint.folder, folder, name, quantization)) is None:
        parts = examples_of(config, checkpoint)  # missing data is reported before anything is converted
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
                record = make(config, checkpoint, folder, parts, {"format": name, "quantization": quantization,
                              "reason": reason})  # fmt: skip
        except Timeout:
            raise RunError(f"output={folder}: another process is exporting there; wait or stop it.") from None
        except OSError as error:
            raise RunError(f"output={folder}: cannot be written: {why_unwritable(error)}.") from None
    return record | {"folder": str(folder)}


def make(
    config: ExportConfig, checkpoint: Checkpoint, folder: Path, parts: dict[str, list[Example]], chosen: dict[str, Any]
) -> dict[str, Any]:
    """Convert, compare, and put the whole export in its place at once; return its record.

    Raises:
        RunError: too many answers differ.
    """
    module = find_format(chosen["format"])
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    started = time.monotonic()
    try:
        partial.mkdir(parents=True)
        engine = module.convert(checkpoint.folder, partial, chosen["quantization"])
        parity, speed = check(config, checkpoint, partial, parts, module.DECODING)
        record = {
            "checkpoint": str(checkpoint.folder),
            "source": find_source(checkpoint.folder),
            **chosen,
            "architecture": engine.get("architecture"),
            "parity": {split: asdict(one) for split, one in parity.items()},
            "min_agreement": config.min_agreement,
            "speed": speed,
            "bytes": folder_bytes(partial),
            "checkpoint_bytes": folder_bytes(checkpoint.folder),
            "seconds": round(time.monotonic() - started, 1),
            "packages": {"dsbs": __version__} | {one: version for one in PACKAGES if (version := installed(one))},
        }
        refuse_below(config, folder, record)
        write_text(partial / "README.md", build_card(record, module.usage(checkpoint.folder, engine)))
        write_json(partial / "export.json", record)
        shutil.rmtree(folder, ignore_errors=True)  # an export of other weights, or the reason why one was refused
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return record


def output_folder(config: ExportConfig, checkpoint: Checkpoint, name: str) -> Path:
    """Return the export's folder: ``output``, or one beside the checkpoint.

    Raises:
        ConfigError: the folder has other files in it.
    """
    folder = Path(config.output).expanduser() if config.output else checkpoint.folder.parent / EXPORTS / name
    if folder.is_file():
        raise ConfigError(f"output={folder}: a file; name a new folder.")
    others = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    if others and "export.json" not in others:
        raise ConfigError(f"output={folder}: a folder with other files in it ({others[0]}); name a new one.")
    return folder


def examples_of(config: ExportConfig, checkpoint: Checkpoint) -> dict[str, list[Example]]:
    """Return split -> examples to compare checkpoint and export on.

    Raises:
        ConfigError: the checkpoint is not in its run, and no data is named.
    """
    if config.path is not None or checkpoint.run is None:
        if config.path is None:
            raise ConfigError(
                "This checkpoint is not inside its run, so there are no examples to verify the export on: "
                "add path=FILE (rows as in training, with gold answers)."
            )
        examples, _ = gold_examples(checkpoint.task, "test", config.path)
        parts = {"test": examples}
    else:
        settings = load_run_settings(checkpoint.run, config.trust_run)
        held_out = load_held_out(settings, read_object(checkpoint.run / "manifest.json"))
        parts = {"validation": held_out.validation, "test": held_out.test}
    return {split: examples[: config.limit] for split, examples in parts.items() if examples}


def check(
    config: ExportConfig, checkpoint: Checkpoint, folder: Path, parts: dict[str, list[Example]], decoding: str | None
) -> tuple[dict[str, Parity], dict[str, Any]]:
    """Compare the answers of checkpoint and export.

    Args:
        decoding: for both; None: that of the training.

    Returns:
        Split -> parity; and the speed of both, as served.
    """
    from dsbs.inference.exports.base import count_threads

    before = checkpoint.load(config.batch_size, decoding, negligible=CONFIDENT)
    answers = {split: before.predict(examples) for split, examples in parts.items()}
    examples = next(iter(parts.values()))
    speed = {"threads": count_threads(), "checkpoint": asdict(measure_speed(before, examples))}
    del before
    after = open_checkpoint(str(folder)).load(config.batch_size, decoding, negligible=CONFIDENT)
    parity = {split: compare(checkpoint.task, answers[split], after.predict(parts[split])) for split in parts}
    return parity, speed | {"export": asdict(measure_speed(after, examples))}


def installed(package: str) -> str | None:
    """Return the version of a package, or None where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def build_card(record: dict[str, Any], usage: str) -> str:
    """Return the export's card as Markdown."""
    lines = [
        f"# Export: {record['format']}, {record['quantization']}",
        "",
        f"Made by dsbs {__version__} from a checkpoint of {record['checkpoint_bytes'] / 1e6:.1f} MB; "
        f"{record['bytes'] / 1e6:.1f} MB.",
        "",
        "| split | examples | same answer | score before | score after |",
        "|---|---|---|---|---|",
    ]
    for split, one in record["parity"].items():
        scores = ["unknown" if one[key] is None else show_score(one["metric"], one[key]) for key in ("before", "after")]
        lines.append(f"| {split} | {one['examples']:,} | {100 * one['agreement']:.2f}% | {scores[0]} | {scores[1]} |")
    return "\n".join([*lines, "", "## Use it", "", usage, "", "With dsbs: `python -m dsbs.serve checkpoint=.`", ""])


def show(record: dict[str, Any], console: Console) -> None:
    """Print parity, speed and folder of an export."""
    name = " ".join(word for word in (record["format"], record["quantization"]) if word != "none")
    console.print(f"[bold]{name}[/bold]: {record['reason']}", highlight=False)
    for split, one in record["parity"].items():
        gap = one["largest_difference"]
        scores = " to ".join(
            "unknown" if one[key] is None else show_score(one["metric"], one[key]) for key in ("before", "after")
        )
        console.print(
            f"  {split}: the same answer on {100 * one['agreement']:.2f}% of {one['examples']:,}; score "
            f"{scores}" + ("" if gap is None else f"; log-probabilities differ by at most {gap:.2g} nats"),
            highlight=False,
        )
    if (speed := read_speed(record)) is not None:
        mine, theirs = speed["export"], speed["checkpoint"]
        console.print(
            f"  {mine['single_ms_p50']:.3g} ms per answer, checkpoint {theirs['single_ms_p50']:.3g}; "
            f"{mine['per_second']:,.0f} answers/s in batches, checkpoint {theirs['per_second']:,.0f} "
            f"(threads: {speed['threads']})",
            highlight=False,
        )
    console.print(
        f"  {record['bytes'] / 1e6:.1f} MB, checkpoint {record['checkpoint_bytes'] / 1e6:.1f} MB; exported in "
        f"{record['seconds']} s",
        highlight=False,
    )
    print_lines(console, f"  {record['folder']}")


if __name__ == "__main__":
    main()
