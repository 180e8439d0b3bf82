"""The record of an export, ``export.json``: what it was made of, and whether it serves again."""

import shutil
from pathlib import Path
from typing import Any

from dsbs.core.errors import ConfigError, DataError, RunError
from dsbs.core.files import write_json
from dsbs.core.fingerprint import fingerprint_files
from dsbs.core.untrusted import Fields, excerpt, is_finite, read_object
from dsbs.inference.checkpoint import EXPORTS
from dsbs.inference.exports.settings import ExportConfig

PARITY = ("agreement", "examples", "before", "after", "largest_difference")


def find_earlier(
    config: ExportConfig, checkpoint: Path, folder: Path, format: str, quantization: str
) -> dict[str, Any] | None:
    """Return the ``export.json`` of an earlier export; None where there is none, or the student was trained again.

    Raises:
        ConfigError: ``output`` holds another export.
        RunError: it agrees too little with the checkpoint.
    """
    if not (folder / "export.json").is_file() or not (folder / "config.json").is_file():
        return None
    record = read_record(folder / "export.json")
    known, origin = record.get("source"), excerpt(record.get("checkpoint"), 400)
    same = known == find_source(checkpoint) if known is not None else origin == str(checkpoint)
    if not same or (record["format"], record["quantization"]) != (format, quantization):
        if config.output:
            raise ConfigError(
                f"output={folder}: holds another export ({record['format']} {record['quantization']} of {origin}); "
                "name a new folder, or delete it."
            )
        return None
    for split, one in record["parity"].items():
        if one["agreement"] < config.min_agreement:
            raise RunError(
                f"{shortfall(config, record, split, one)}. Try quantization=float32, or a lower min_agreement."
            )
    return record


def find_source(checkpoint: Path) -> str:
    """Return a hash over the files of a checkpoint or export, without its card and what ``dsbs.defer`` writes there."""
    others = ("README.md", "defer.json", "defer.html", "defer.svg")
    return fingerprint_files([path for path in checkpoint.rglob("*") if path.is_file() and path.name not in others])


def describe_outdated(folder: Path, run: Path | None) -> str | None:
    """Return that an export has other weights than the run that it is in, which was trained again; None otherwise.

    Args:
        run: that it is in, or None.
    """
    if run is None or folder.resolve().parent.name != EXPORTS:
        return None
    made, trained = folder / "export.json", run / "metrics.json"
    if not made.is_file() or not trained.is_file() or trained.stat().st_mtime <= made.stat().st_mtime:
        return None
    if Fields(read_object(made)).text("source") in (None, find_source(run / "checkpoint")):
        return None
    return (
        f"{folder}: made before {run} was trained again, so it has other weights. Export again: "
        f"python -m dsbs.export checkpoint={run}"
    )


def read_record(path: Path) -> dict[str, Any]:
    """Return the ``export.json`` of an earlier export.

    Raises:
        DataError: it is invalid.
    """
    record = read_object(path)
    parity = record.get("parity")
    parts = parity.values() if isinstance(parity, dict) else [None]
    sound = all(isinstance(record.get(key), str) for key in ("format", "quantization", "reason"))
    sound = sound and all(is_finite(record.get(key)) for key in ("bytes", "checkpoint_bytes", "seconds"))
    for part in parts:
        numbers = [part.get(key) for key in PARITY] if isinstance(part, dict) else ["none"]
        sound = sound and all(number is None or is_finite(number) for number in numbers)
        sound = sound and isinstance(part, dict) and isinstance(part.get("metric"), str) and None not in numbers[:2]
    if not sound:
        raise DataError(f"{path}: not written by dsbs.export. Delete that folder, or name another one with output=.")
    return record


def refuse_below(config: ExportConfig, folder: Path, record: dict[str, Any]) -> None:
    """Check the parity; if too many answers differ, write only the reason.

    Raises:
        RunError: too many answers differ; says what to try.
    """
    for split, one in record["parity"].items():
        if one["agreement"] < config.min_agreement:
            reason = shortfall(config, record, split, one)
            shutil.rmtree(folder, ignore_errors=True)  # an export of other weights
            write_json(folder / "export.json", record | {"refused": reason})
            raise RunError(f"{reason}. Try quantization=float32, or a lower min_agreement. Nothing was exported.")


def shortfall(config: ExportConfig, record: dict[str, Any], split: str, one: dict[str, Any]) -> str:
    """Return in words that too few answers of a split are the same."""
    return (
        f"{record['format']} {record['quantization']} matches the checkpoint's answers on "
        f"{100 * one['agreement']:.2f}% of {one['examples']:,} {split} examples; "
        f"min_agreement={config.min_agreement:g} requires more"
    )
