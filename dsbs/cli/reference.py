"""``docs/config.md``: every command, option and key, from where ``--help`` has them."""

import dataclasses
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from dsbs.cli.composition import conf_dir, kind_of_option, list_options
from dsbs.cli.config import GROUPS, PARTS, ROOTS, SINGLE, register_schemas
from dsbs.cli.help import read_summary
from dsbs.cli.keys import Key, default_values, list_keys, show_value

HEAD = """\
# Commands, options and keys

`python scripts/config_docs.py` writes this page, from the docstrings that `--help` shows, too.

An option of a group is chosen with `GROUP=OPTION`, a key is set with `KEY=VALUE`. What is typed wins over everything
that an experiment or `tuned` says. A value that holds other signs than letters without accents, digits, spaces and
`/ - \\ + . $ % * @ ? |` stands between quotes, within those of the shell: `'task.path="a=b.csv"'`; a message shows how.
`null` stands for nothing, a list is `[a,b]`, keys and values are `{a: b}`, and several values, `KEY=A,B`, make a sweep,
which `-m` starts. `python -m dsbs.COMMAND` does the same as `dsbs COMMAND`.
"""


def write_reference() -> str:
    """Return the page."""
    register_schemas()
    lines = [HEAD, "## Commands", ""]
    groups: dict[str, list[str]] = {}
    for command in ROOTS:
        lines += _describe_command(command, own := list_options(command))
        groups = own | groups
    lines += ["## Options and their keys", ""]
    for group in [*(name for name in PARTS if name in groups), *(name for name in groups if name not in PARTS)]:
        lines += _describe_group(group, groups[group])
    for part in SINGLE:
        if part not in groups:
            lines += [f"### {part}", "", *_table(list_keys(SINGLE[part], default_values(SINGLE[part]), f"{part}.")), ""]
    return "\n".join(lines).rstrip() + "\n"


def _describe_command(command: str, groups: dict[str, list[str]]) -> Iterator[str]:
    root = ROOTS[command]
    parts = [field.name for field in dataclasses.fields(root) if field.name in PARTS and field.name not in groups]
    yield from (f"### dsbs {command}", "", read_summary(command), "")
    if groups:
        named = ", ".join(f"[`{group}`](#{group})" for group in groups)
        yield from (f"Groups: {named}.", "")
    if parts:
        named = ", ".join(f"[`{part}`](#{part})" for part in parts)
        yield from (f"Also the keys of {named}.", "")
    keys = list_keys(root, default_values(root))
    yield from (*_table(key for key in keys if key.name.partition(".")[0] not in PARTS), "")


def _describe_group(group: str, options: list[str]) -> Iterator[str]:
    yield from (f"### {group}", "", "| option | what it is | sets |", "|---|---|---|")
    for option in options:
        file = conf_dir() / group / f"{option}.yaml"
        yield f"| `{option}` | {_cell(_comment(file))} | {_cell(', '.join(_settings(group, file)))} |"
    yield ""
    kinds = GROUPS.get(group)
    if kinds is not None:
        schemas = list(kinds.values())
        shared: Any = next(base for base in schemas[0].__mro__ if all(issubclass(schema, base) for schema in schemas))
        if shared not in schemas:
            keys = list_keys(shared, default_values(shared), f"{group}.")
            yield from (f"Keys of every {group}:", "", *_table(keys), "")
        known = {field.name for field in dataclasses.fields(shared)}
        for kind, schema in kinds.items():
            keys = list_keys(schema, default_values(schema), f"{group}.")
            own = [key for key in keys if key.name.split(".")[1] not in known]
            if own:
                yield from (f"Keys of `{group}.kind={kind}`:", "", *_table(own), "")
    elif group in SINGLE:
        yield from (*_table(list_keys(SINGLE[group], default_values(SINGLE[group]), f"{group}.")), "")


def _table(keys: Iterable[Key]) -> Iterator[str]:
    yield from ("| key | default | meaning |", "|---|---|---|")
    for key in keys:
        value = show_value(key.value)
        shown = f"`{value}`" if value else '`""`'
        yield f"| `{key.name}` | {_cell(shown)} | {_cell(key.meaning)} |"


def _comment(file: Path) -> str:
    """Return the first sentences of the comment that a config begins with."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("# ") or line.startswith("#  "):
            break
        lines.append(line[2:])
    return " ".join(lines)


def _settings(group: str, file: Path) -> list[str]:
    """Return what a config sets in its own group and is not the default, as it is typed."""
    text = file.read_text(encoding="utf-8")
    values: Any = OmegaConf.to_container(OmegaConf.create(text), resolve=False) or {}
    if "@package" in text:
        return []
    kind = kind_of_option(group, file.stem)
    usual = default_values(GROUPS[group][kind]) if kind else {}
    return [
        f"`{key}={show_value(value)}`"
        for key, value in values.items()
        if key not in ("defaults", "name") and (key not in usual or usual[key] != value)
    ]


def _cell(text: str) -> str:
    return text.replace("``", "`").replace("|", "\\|")
