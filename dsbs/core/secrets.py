"""Finding what looks like a key: settings are saved in stores, manifests and at W&B, so they may hold none."""

import re
from collections.abc import Mapping
from typing import Any

_NAMES = re.compile(
    r"(?:^|[_-])(?:api[_-]?key|apikey|authorization|auth|password|passwd|secret|subscription[_-]?key|access[_-]?token|bearer)$",
    re.I,
)
# Prefixes that providers give their keys, and what follows them.
_VALUES = re.compile(
    r"(?<![A-Za-z0-9])(?:sk|pk|rk|gsk|xai|hf|ghp|gho|github_pat|glpat|AKIA|AIza|nvapi|r8|pplx)[-_A-Za-z0-9]{16,}|Bearer\s+\S{8,}"
)

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,99}")


def looks_secret(text: str) -> bool:
    """Return whether a text contains something that looks like a key.

    >>> looks_secret("sk-proj-0123456789abcdefghij"), looks_secret("v1"), looks_secret("skills")
    (True, False, False)
    """
    found = _VALUES.search(text)
    return found is not None and any(c.isdigit() for c in found[0])


def mask(text: str) -> str:
    """Return a text with whatever looks like a key replaced by ``***``.

    >>> mask("my key is sk-proj-0123456789abcdefghij, and nothing works")
    'my key is ***, and nothing works'
    """
    return _VALUES.sub(lambda found: "***" if looks_secret(found[0]) else found[0], text)


def find_secrets(values: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Return the settings (with dots) whose name or value suggests a secret.

    >>> find_secrets({"top_k": 5, "headers": {"Authorization": "x"}, "user": "sk-0123456789abcdefghij"})
    ['headers.Authorization', 'user']
    """
    found = []
    for key, value in values.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            found += find_secrets(value, f"{name}.")
        elif value and (_NAMES.search(str(key)) or (isinstance(value, str) and looks_secret(value))):
            found.append(name)
    return found


def variable_faults(key: str, name: str | None) -> list[str]:
    """Return what is wrong with a setting that names the environment variable of a key; it may be the key itself.

    >>> variable_faults("teacher.api_key_env", "sk-0123456789abcdefghij")[0].partition(",")[0]
    'teacher.api_key_env: expected the name of an environment variable'
    """
    if name is None or (_VARIABLE.fullmatch(name) and not looks_secret(name)):
        return []
    return [f"{key}: expected the name of an environment variable, such as OPENAI_API_KEY, not the key itself: "
            "settings are saved to disk."]  # fmt: skip


def describe_odd_key(key: str, bearer: bool = True) -> str | None:
    """Return what a key has in it that no key has, as copying and quoting leave it; or None.

    Args:
        bearer: whether ``Bearer`` is put before it.

    >>> describe_odd_key("'sk-1'"), describe_odd_key("Bearer sk-1"), describe_odd_key("sk-1")
    ('quotes around it', "the word 'Bearer', which is added", None)
    """
    odd = {
        "quotes around it": key[:1] in ("'", '"') and key[-1:] == key[:1],
        "the word 'Bearer', which is added": bearer and key.lower().startswith("bearer "),
        "a character outside ASCII, such as a typographic dash": not key.isascii(),
        "a line break or a blank": bearer and any(map(str.isspace, key)),
        "a control character": not key.isprintable(),
    }
    return next((what for what, found in odd.items() if found), None)
