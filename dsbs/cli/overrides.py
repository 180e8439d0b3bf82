"""Overrides reach the config as they were typed, also where Hydra would read them otherwise.

Between braces Hydra accepts only names as keys, and users have other ones: ``task.synonyms={"not good": bad, on: yes}``
is passed to Hydra with each such key encoded as a name, and the config gets the key back. And a key of texts gets
``1.10``, which Hydra would read as the number 1.1.
"""

import copy
import re
from collections.abc import Sequence
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import ChoiceSweep, Override, ValueType
from hydra.errors import ConfigCompositionException
from omegaconf import Container, DictConfig, OmegaConf, StringNode

from dsbs.core.command_line import is_bare, quoted

_HIDDEN = re.compile(r"__key_((?:[0-9a-f]{2})*)__")
_KEY = re.compile(r"[+~]*[\w.@/-]+")

_apply_overrides = ConfigLoaderImpl._apply_overrides_to_config
_show_value = Override.get_value_element_as_str


def hide_keys(word: str) -> str:
    """Return an override with keys between braces encoded as names; ``restore_keys`` and ``reveal_keys`` undo it.

    >>> hide_keys('task.synonyms={"not good": bad, pos: good}')
    'task.synonyms={__key_6e6f7420676f6f64__: bad, pos: good}'
    >>> hide_keys("task.input={title}: {body}")
    'task.input={title}: {body}'
    """
    key, equals, value = word.partition("=")
    pairs = split_pairs(value) if _KEY.fullmatch(key) else []
    hidden = ", ".join(f"{key if is_bare(key) else f'__key_{key.encode().hex()}__'}: {text}" for key, text in pairs)
    return f"{key}{equals}{{{hidden}}}" if pairs else word


def split_pairs(value: str) -> list[tuple[str, str]]:
    """Return the keys, unquoted, and the values between braces; empty where the text is not such a mapping.

    >>> split_pairs("{'a: b': c, d: [e,f]}")
    [('a: b', 'c'), ('d', '[e,f]')]
    """
    if not (value.startswith("{") and value.endswith("}")) or not value[1:-1].strip():
        return []
    pairs = [_split_pair(part) for part in split_list(value[1:-1])]
    return [pair for pair in pairs if pair] if all(pairs) else []


def reveal_keys(text: str) -> str:
    """Return a text with encoded keys as they may be typed.

    >>> reveal_keys(hide_keys("task.synonyms={schön: good}"))
    'task.synonyms={"schön": good}'
    """
    return _HIDDEN.sub(lambda found: quoted(bytes.fromhex(found[1]).decode()), text)


def restore_keys(node: DictConfig) -> None:
    """Decode the keys of a mapping in a config, in place."""
    for key in list(node):
        if isinstance(key, str) and (found := _HIDDEN.fullmatch(key)):
            value = node._get_node(key)
            del node[key]
            node[bytes.fromhex(found[1]).decode()] = value


def split_list(text: str) -> list[str]:
    """Split at commas outside of brackets and quotes.

    >>> split_list("a, [b,c], 'd,e'")
    ['a', ' [b,c]', " 'd,e'"]
    """
    parts, depth, quote = [""], 0, ""
    for sign in text:
        if quote:
            backslashes = len(parts[-1]) - len(parts[-1].rstrip("\\"))
            quote = "" if sign == quote and backslashes % 2 == 0 else quote
        elif sign in "\"'" and not parts[-1].rpartition(":")[2].strip():
            quote = sign
        else:
            depth += (sign in "[{(") - (sign in ")}]")
        if sign == "," and depth == 0 and not quote:
            parts.append("")
        else:
            parts[-1] += sign
    return parts


def _split_pair(text: str) -> tuple[str, str] | None:
    """Return the unquoted key and the text after its colon; None where it is not such a pair."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        found = re.fullmatch(rf"{text[0]}((?:\\.|[^\\])*?){text[0]}\s*:(.*)", text, re.S)
        return found and (re.sub(rf"\\([\\{text[0]}])", r"\1", found[1]), found[2].strip())
    key, colon, value = text.partition(":")
    return (key.strip(), value.strip()) if colon and key.strip() and not set(key) & set("{}[]") else None


def hide_all(words: Sequence[str]) -> list[str]:
    """Return the typed words with ``hide_keys`` applied to all but flags."""
    return [word if word.startswith("-") else hide_keys(word) for word in words]


def apply_as_typed(overrides: list[Override], config: DictConfig) -> None:
    """Set the overrides in a config; keys of texts get them as they were typed: ``1.10``, not the number 1.1.

    Raises:
        ConfigCompositionException: for a key between braces that is there twice, and as Hydra does.
    """
    for override in overrides:
        if "=" in (override.input_line or "") and not override.is_delete():
            override._value = _as_typed(override.value(), override.get_value_string(), _holds_texts(config, override))
    _apply_overrides(overrides, config)


def _holds_texts(config: DictConfig, override: Override) -> bool:
    """Return whether a key holds a text, or texts, by its schema."""
    above, _, name = override.key_or_group.rpartition(".")
    parent = OmegaConf.select(config, above, throw_on_missing=False) if above else config
    if not isinstance(parent, DictConfig) or parent._is_none():
        return False
    node = parent._get_node(name, validate_access=False)
    if isinstance(node, StringNode):
        return True
    kind = (node if isinstance(node, Container) else parent)._metadata.element_type
    return kind is str


def _as_typed(value: Any, text: str, texts: bool) -> Any:
    text = text.strip()
    if isinstance(value, dict) and (pairs := split_pairs(text)):
        names = [name for name, _ in pairs]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ConfigCompositionException(f"{reveal_keys(text)}: {reveal_keys(twice[0])} is there twice.")
        return {
            key: _as_typed(part, typed, texts) for (key, part), (_, typed) in zip(value.items(), pairs, strict=True)
        }
    if isinstance(value, list) and len(parts := split_list(text[1:-1])) == len(value):
        return [_as_typed(part, typed, texts) for part, typed in zip(value, parts, strict=True)]
    return text if texts and isinstance(value, int | float) else value


def show_as_typed(self: Override, space_after_sep: bool = False) -> str:
    """Return the value of an override as text, for the jobs of a sweep; one that is no sweep is as it was typed."""
    typed = "=" in (self.input_line or "") and not self.is_sweep_override()
    return self.get_value_string() if typed else _show_value(self, space_after_sep)


def first_option(override: Override) -> Override:
    """Return an override that takes the first of several options of a group; others as they are.

    Hydra composes the config that a sweep starts from with the default option, so keys that only the options of the
    sweep have (``student=logreg,embedding student.C=1``) would be unknown.
    """
    value = override.value()
    if not isinstance(value, ChoiceSweep):
        return override
    first = copy.copy(override)
    first.value_type, first._value = ValueType.ELEMENT, value.list[0]
    return first


def check_folders(config: DictConfig) -> None:
    """Refuse Hydra's own keys for folders: results would not be there, or be deleted with the folder of a sweep.

    Raises:
        ConfigCompositionException: one of them was set.
    """
    usual = {"run.dir": ".", "sweep.dir": "${sweep_folder:}", "sweep.subdir": ".", "job.chdir": None}
    hydra = OmegaConf.to_container(config.hydra, resolve=False)
    assert isinstance(hydra, dict)
    for key, default in usual.items():
        group, _, name = key.partition(".")
        if (value := hydra[group][name]) not in (default, False):
            folder = value if key.endswith(".dir") else "FOLDER"
            raise ConfigCompositionException(
                f"hydra.{key}={value}: dsbs does not use this key. Results are written under output_dir, each in a "
                f"folder named by its settings: output_dir={folder}"
            )
