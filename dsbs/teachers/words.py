"""The words in an endpoint's errors, wherever it puts them; never the API key."""

import re
from typing import Any

from dsbs.core.untrusted import Fields, excerpt, load_json
from dsbs.teachers.where import NO_KEY

EXCERPT = 200
# Characters of an endpoint's words that are looked at: gateways put their own before those of the server.
MOST_SAID = 2000
# Shorter keys, such as ``none``, are no secrets.
SECRET = 12
_MOST_DEPTH = 3
_TITLE = re.compile(r"<title[^>]*>([^<]{1,300})", re.I)
_TAGS = re.compile(r"<(?:style|script).{0,5000}?</(?:style|script)>|<[^<>]{0,300}>", re.I | re.S)
# Codes and types of errors that end the money.
NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active", "budget_exceeded",
            "exceeded_current_quota_error", "Arrearage"}  # fmt: skip


def read_error(content: bytes, key: str) -> tuple[str, str]:
    """Return message and code of an error's body; the API key is masked."""
    try:
        body = load_json(content)
    except ValueError:
        body = content
    if isinstance(body, list) and len(body) == 1:  # as Gemini's compatible layer answers
        (body,) = body
    inner = body.get("error", body) if isinstance(body, dict) else body
    if isinstance(inner, dict) and isinstance(errors := inner.get("errors"), list) and errors:  # as Cloudflare answers
        inner = errors[0]
    fields = Fields(inner)
    said = read_words(fields) or inner
    if isinstance(said, bytes) and said.lstrip().startswith(b"<"):
        said = plain_text(said)
    kinds = [kind for name in ("code", "type") if (kind := fields.text(name))]
    code = next((kind for kind in kinds if kind in NO_MONEY), kinds[0] if kinds else "")
    return scrub(said or "no explanation", key, MOST_SAID), code


def read_words(fields: Fields, depth: int = 0) -> Any:
    """Return the message in an error object, under the names that servers give it; of a list the first places.

    Behind what OpenRouter itself says stands what the provider said.
    """
    said = next(filter(None, map(fields.raw, ("message", "Message", "detail", "msg", "error_msg", "status_msg"))), None)
    if isinstance(said, dict) and depth < _MOST_DEPTH:
        return read_words(Fields(said), depth + 1) or said
    if isinstance(said, str) and isinstance(more := fields.inside("metadata").raw("raw"), str):
        return f"{said}: {more}"
    if not isinstance(said, list) or not all(isinstance(one, dict) and "msg" in one for one in said):
        return said
    places = [(one.get("loc"), one["msg"]) for one in said[:3]]
    return "; ".join(f"{'.'.join(map(str, loc)) if isinstance(loc, list) else loc}: {msg}" for loc, msg in places)


def plain_text(page: bytes) -> str:
    """Return the title of a web page, or else its text."""
    text = page[: 2**16].decode(errors="replace")
    title = _TITLE.search(text)
    return title[1].strip() if title and title[1].strip() else " ".join(_TAGS.sub(" ", text).split())


def scrub(said: Any, key: str, most: int = EXCERPT) -> str:
    """Return an endpoint's words for a message: on one line, at most ``most`` characters, with the API key masked.

    The key is masked before the text is shortened, so that not even a part of it is left.
    """
    text = excerpt(said, 8 * most)
    return (text.replace(key, "***") if key and key != NO_KEY else text)[:most]


def hide(text: str | None, key: str) -> str | None:
    """Return a teacher's text with the API key masked; short keys such as ``none`` or ``EMPTY`` are mere words."""
    return text.replace(key, "***") if text and len(key) >= SECRET else text
