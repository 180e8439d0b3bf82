"""What ``--help`` prints: what a command does, what to type, and each key with its meaning."""

import ast
import dataclasses
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from dsbs.cli.composition import compose, list_options
from dsbs.cli.config import GROUPS, PARTS, ROOTS, SINGLE
from dsbs.cli.keys import Key, list_keys, show_value

FLAGS = """\
  -m                   a sweep: one run for each combination of the values in KEY=A,B
  --config-dir FOLDER  your own options, in FOLDER/<group>/<option>.yaml
  --cfg job            print the composed config and exit
  --version            print the version of dsbs"""
KEY_COLUMN = 38


def read_summary(command: str) -> str:
    """Return what a command does: the first line of its module's docstring, read without importing it."""
    return _read_doc(command).partition("\n")[0]


def _read_doc(command: str) -> str:
    spec = find_spec(f"dsbs.{command}")
    assert spec is not None
    assert spec.origin is not None
    return (ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")), clean=False) or "").strip()


def show_commands() -> str:
    """Return the help of ``dsbs`` itself."""
    width = max(map(len, ROOTS)) + 2
    lines = [f"  {name:<{width}}{read_summary(name)}" for name in ROOTS]
    return "\n".join(
        [
            "dsbs distills a large language model step by step: a small student learns from a teacher's rationales.",
            "",
            *lines,
            "",
            "dsbs COMMAND --help shows what a command takes; python -m dsbs.COMMAND does the same as dsbs COMMAND.",
            "dsbs --version prints the version.",
        ]
    )


def show_help(command: str, words: Sequence[str] = (), folder: str | None = None) -> str:
    """Return the help of a command.

    Args:
        words: the overrides beside ``--help``; the keys shown are those of the options chosen there.
    """
    groups = list_options(command, folder)
    chosen = [word for word in words if word.partition("=")[0] in groups and "," not in word]
    try:
        config = compose(command, chosen, folder)
    except HydraException:
        config = compose(command)
    width = max(60, min(shutil.get_terminal_size((100, 24)).columns, 120))
    lines = [f"dsbs {command}: {_read_doc(command)}", ""]
    if groups:
        lines.append("Choose an option of a group with GROUP=OPTION (the default comes first):")
        for group, options in groups.items():
            lines += textwrap.wrap(
                ", ".join(options), width, initial_indent=f"  {group:<12}", subsequent_indent=" " * 14
            )
        lines.append("")
    lines.append("Set a key with KEY=VALUE:")
    for title, keys in list_sections(command, config):
        lines += ([f"\n{title}:"] if title else []) + [line for key in keys for line in _show_key(key, width)]
    lines += ["", "Flags:", FLAGS]
    if groups:
        first = next(iter(groups))
        lines += ["", f"Keys of another option: dsbs {command} {first}={groups[first][-1]} --help; all keys: "
                  "docs/config.md"]  # fmt: skip
    return "\n".join(lines)


def list_sections(command: str, config: DictConfig) -> Iterator[tuple[str, list[Key]]]:
    """Yield title and keys of each section of a command: its own keys first, without a title, then its parts'."""
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    root = ROOTS[command]
    parts = [field.name for field in dataclasses.fields(root) if field.name in PARTS]
    yield "", [key for key in list_keys(root, values) if key.name.partition(".")[0] not in parts]
    for part in parts:
        inner = values[part]
        if inner is None:
            continue
        schema = GROUPS[part][inner["kind"]] if part in GROUPS else SINGLE[part]
        name = inner.get("name")
        yield f"{part}={name}" if name else part, list(list_keys(schema, inner, f"{part}."))


def _show_key(key: Key, width: int) -> list[str]:
    left = f"  {key.name}={show_value(key.value)}"
    meaning = key.meaning.replace("``", "")
    if len(left) < KEY_COLUMN:
        return textwrap.wrap(
            meaning, width, initial_indent=f"{left:<{KEY_COLUMN}}", subsequent_indent=" " * KEY_COLUMN
        ) or [left]
    return [left, *textwrap.wrap(meaning, width, initial_indent=" " * KEY_COLUMN, subsequent_indent=" " * KEY_COLUMN)]
