"""Keys of mappings that are typed between braces: Hydra accepts only names there, and users have other keys.

``task.synonyms={"not good": bad, schön: good, true: yes}`` is passed to Hydra with each such key encoded as a name, and
the config gets the key back as it was typed.
"""

import json
import re
from collections.abc import Sequence

from omegaconf import DictConfig

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_TYPED = ("null", "true", "false", "nan", "inf")  # names that Hydra takes for something else
_HIDDEN = re.compile(r"__key_((?:[0-9a-f]{2})*)__")
_KEY = re.compile(r"[+~]*[\w.@/-]+")


def hide_keys(word: str) -> str:
    """Return an override with keys between braces encoded as names; ``restore_keys`` and ``reveal_keys`` undo it.

    >>> hide_keys('task.synonyms={"not good": bad, pos: good}')
    'task.synonyms={__key_6e6f7420676f6f64__: bad, pos: good}'
    >>> hide_keys("task.input={title}: {body}")
    'task.input={title}: {body}'
    """
    key, equals, value = word.partition("=")
    pairs = split_pairs(value) if _KEY.fullmatch(key) else []
    hidden = ", ".join(f"{key if is_name(key) else f'__key_{key.encode().hex()}__'}: {text}" for key, text in pairs)
    return f"{key}{equals}{{{hidden}}}" if pairs else word


def is_name(key: str) -> bool:
    """Return whether Hydra accepts a key between braces unquoted, as text."""
    return bool(_NAME.fullmatch(key)) and key.lower() not in _TYPED


def show_key(key: str) -> str:
    """Return a key as it may be typed, in quotes where it needs them.

    >>> show_key("pos"), show_key("not good")
    ('pos', '"not good"')
    """
    return key if is_name(key) else json.dumps(key, ensure_ascii=False)


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
    return _HIDDEN.sub(lambda found: show_key(bytes.fromhex(found[1]).decode()), text)


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
    """Return the key, without quotes, and what stands behind its colon; None where there is no such thing."""
    text = text.strip()
    if text[:1] in ("'", '"'):
        found = re.fullmatch(rf"{text[0]}((?:\\.|[^\\])*?){text[0]}\s*:(.*)", text, re.S)
        return found and (re.sub(rf"\\([\\{text[0]}])", r"\1", found[1]), found[2].strip())
    key, colon, value = text.partition(":")
    return (key.strip(), value.strip()) if colon and key.strip() and not set(key) & set("{}[]") else None


def hide_all(words: Sequence[str]) -> list[str]:
    """Return the typed words with ``hide_keys`` applied to all but flags."""
    return [word if word.startswith("-") else hide_keys(word) for word in words]
