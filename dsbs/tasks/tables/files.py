"""The files of a table, and which split each of them is."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from dsbs.core.errors import DataError
from dsbs.core.terminal import log_once
from dsbs.core.untrusted import excerpt, open_regular
from dsbs.tasks.tables.foreign import SUFFIXES, advise, name_foreign
from dsbs.tasks.tables.splits import split_of

# What datasets writes beside the data.
_METADATA = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
_SAVED = (("state.json", "dataset_info.json"), ("dataset_dict.json",))
_NUMBERING = re.compile(r"[-_.]?\d+(?:[-_.]?of[-_.]?\d+)?$")  # of the parts that one split is written in


def find_files(path: str, key: str = "task.path") -> dict[str, list[Path]]:
    """Return split -> files for a file, a folder or a pattern.

    Raises:
        DataError: where there are none, or where the names of several files do not tell their splits.
    """
    try:
        place = Path(path).expanduser()
        if place.is_file():
            return {"train": [place]}
        found = _list_files(place)
    except (OSError, RuntimeError) as error:  # a name that is too long, a folder of others, no such user
        raise DataError(
            f"{key}={excerpt(path)}: cannot be read ({getattr(error, 'strerror', None) or error})."
        ) from None
    if not found and place.is_dir() and (inside := _folders_with_data(place)):
        raise DataError(
            f"{key}={path}: the files are in folders that are not named after a split ({', '.join(inside[:5])}). Name "
            f"one of them, such as {key}={Path(path) / inside[0]}, or rename them train, validation and test."
        )
    if not found:
        raise DataError(f"{key}={path}: {_describe_empty(place)}")
    if len(found) == 1 and _split_of(found[0], place) is None:
        return {"train": found}
    _refuse_copies(found, key)
    if _are_parts(found, place):
        log_once(f"{key}={path}: train consists of {len(found)} files, {found[0].name} to {found[-1].name}.")
        return {"train": found}
    files: dict[str, list[Path]] = {}
    for file in found:
        split = _split_of(file, place)
        if split is None:
            raise DataError(
                f"{file}: cannot tell which split this is, among {len(found)} files ({key}={path}). Put train, "
                "validation or test into its name, or name one file."
            )
        files.setdefault(split, []).append(file)
    _log_splits(files, path, key)
    return files


def is_saved(path: str) -> bool:
    """Return whether a folder was written by ``save_to_disk`` of ``datasets``."""
    try:
        place = Path(path).expanduser()
    except RuntimeError:  # no such user
        return False
    return any(all(map(os.path.isfile, (place / name for name in names))) for names in _SAVED)


def _describe_empty(place: Path) -> str:
    """Return what a place holds that has no file of a known kind, and what to do about it."""
    kinds = ", ".join(SUFFIXES)
    if not place.is_dir():
        return f"there is no such file, and no folder or pattern with {kinds} files."
    held = sorted(file for file in place.iterdir() if file.is_file() and not file.name.startswith("."))
    if not held:
        return f"the folder is empty; expected {kinds} files."
    with suppress(DataError, OSError), open_regular(held[0]) as file:
        if problem := name_foreign(held[0], file.read(512)):
            return f"{held[0].name} is {problem}."
    names = ", ".join(file.name for file in held[:3])
    return f"none of its files ({names}{', ...' * (len(held) > 3)}) ends in {kinds}.{advise(held[0])}"


def _are_parts(files: list[Path], place: Path) -> bool:
    """Return whether several files are parts of one table: no name tells a split, and only numbers tell them apart."""
    if any(_split_of(file, place) or not re.search(r"\d", file.stem) for file in files):
        return False
    return len({(re.split(r"\d", file.stem)[0], file.suffix.lower()) for file in files}) == 1


def _list_files(place: Path) -> list[Path]:
    if place.is_dir():
        found = _of_known_kind(place.iterdir())
        folders = [folder for folder in place.iterdir() if folder.is_dir() and split_of(folder.name)]
        if not found and folders and (others := _folders_with_data(place)):
            log_once(f"{place}: {', '.join(others)} ignored: not named after a split.")
        return found or _of_known_kind(file for folder in folders for file in folder.iterdir())
    root = next((parent for parent in place.parents if not any(c in str(parent) for c in "*?[")), Path())
    pattern = str(place.relative_to(root))
    return _of_known_kind(root.glob(pattern)) if root.is_dir() and pattern != "." else []


def _folders_with_data(place: Path) -> list[str]:
    """Return the folders with files of a known kind that are not named after a split."""
    folders = sorted(folder for folder in place.iterdir() if folder.is_dir() and not split_of(folder.name))
    return [folder.name for folder in folders if _of_known_kind(folder.iterdir())]


def _refuse_copies(files: list[Path], key: str) -> None:
    """Refuse the same name with two endings: it would be the same data twice."""
    by_name: dict[Path, list[Path]] = {}
    for file in files:
        by_name.setdefault(file.with_suffix(""), []).append(file)
    for copies in by_name.values():
        if len(copies) > 1:
            one = copies[0]
            raise DataError(
                f"{' and '.join(map(str, copies))}: the same data twice? Name files of one kind: "
                f"'{key}={one.parent}/*{one.suffix}'"
            )


def _of_known_kind(files: Iterable[Path]) -> list[Path]:
    """Return the files that can be read, part 2 before part 10."""
    known = (file for file in files if file.suffix.lower() in SUFFIXES and not file.name.startswith("."))
    known = (file for file in known if file.name not in _METADATA)
    return sorted(known, key=lambda file: [(int(part), "") if part.isdecimal() else (0, part)
                                           for part in re.split(r"(\d+)", str(file))])  # fmt: skip


def _split_of(file: Path, place: Path) -> str | None:
    """Return the split that a file's name tells, or else that of its folder below the place that was named."""
    split = split_of(file.stem)
    return split_of(file.parent.name) if split is None and file.parent not in (place, Path()) else split


def _log_splits(files: dict[str, list[Path]], path: str, key: str) -> None:
    """Say what is missing, and where files of different names are one split."""
    for split, own in files.items():
        numbered = [_NUMBERING.search(file.stem) is not None for file in own]
        if len({_NUMBERING.sub("", file.stem) for file in own}) > 1 or (any(numbered) and not all(numbered)):
            log_once(f"{key}={path}: {split} consists of {', '.join(file.name for file in own)}.")
    if missing := [split for split in ("train", "test") if split not in files]:
        log_once(f"{key}={path}: there is no {' and no '.join(missing)} split; found: {', '.join(files)}.")
