"""Errors of endpoints as messages: the endpoint's own reason and the setting that helps, never the API key."""

import re
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from dsbs.core.errors import TeacherError
from dsbs.core.untrusted import Fields, excerpt, load_json
from dsbs.teachers.headers import read_retry_after

EXCERPT = 200
# Shorter keys, such as ``none``, are no secrets.
SECRET = 12
# Not the request's fault: the same one may pass a little later. All above 500 count, too.
RETRYABLE = {408, 409, 425, 429}
NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
_PASSING = re.compile(r"overload|busy|rate.?limit|timeout|unavailable|upstream|internal", re.I)
# What an endpoint says, and what to do about it; the first that fits.
HINTS = (
    (r"chat.?template", "This model has none: teacher.api=completions sends plain text."),
    (r"(?:maximum|max)\s?context|context.{0,3}(?:length|size|window)|too many tokens|prompt is too long"
     r"|exceed.{0,40}(?:context|allowed token)|input.{0,20}(?:tokens?|length).{0,20}exceed",
     "The prompt exceeds the model's context: use fewer prompt.exemplars or shorter inputs."),
    (r"max_(?:completion_)?tokens|maximum.{0,20}output", "Set teacher.max_tokens to what the model can write."),
    (r"system.?(?:role|message|prompt|instruction)|'system'|developer instruction",
     "prompt.system_role=false puts the instruction into the first question."),
    (r"alternat", "This model requires alternating turns: prompt.system_role=false, or no prompt.exemplars."),
    (r"response_format|json_schema|json_object|structured|grammar|guided",
     "prompt.answer_format=text asks for plain text."),
    (r"temperature", "teacher.temperature=null leaves it to the endpoint."),
    (r"top_p", "teacher.top_p=null leaves it to the endpoint."),
    (r"\bstop\b", "teacher.stop=[] leaves it out."),
    (r"unrecogni[sz]ed|unknown (?:field|param)|extra (?:inputs|fields)|not permitted|unsupported param",
     "Is it a field of teacher.extra?"),
)  # fmt: skip


class Where(NamedTuple):
    """What messages about an endpoint name: its address, model, key's variable and timeout in seconds."""

    base_url: str
    model: str
    api_key_env: str | None
    timeout: float


def explain_connection(error: Exception, where: Where, key: str, proxy: str | None) -> TeacherError:
    """Return the error of a request to which no complete response came.

    Args:
        error: what the HTTP library raised.
        where: the endpoint.
        key: the API key, which is masked.
        proxy: the proxy in between, without its password; or None.
    """
    import aiohttp

    through = f" through the proxy {proxy}" if proxy else ""
    if isinstance(error, TimeoutError):
        return TeacherError(
            f"No complete answer{through} within teacher.timeout={where.timeout:g} seconds.",
            retryable=True,
            reason="timeout",
        )
    said = scrub(str(getattr(error, "os_error", None) or error) or type(error).__name__, key)
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return TeacherError(
            f"No secure connection to {where.base_url}{through}: {said}. SSL_CERT_FILE=FILE.pem sets trusted "
            "certificates; for a server without TLS use http:// in teacher.base_url.",
            fatal=True,
            reason="no secure connection",
        )
    advice = "Is a server running there, and is teacher.base_url right?"
    if proxy:
        advice = f"This proxy comes from the environment; NO_PROXY={_host(where.base_url)} bypasses it."
    return TeacherError(
        f"No connection to {where.base_url}{through}: {said}. {advice}", retryable=True, reason="no connection"
    )


def explain_status(status: int, content: bytes, headers: Any, where: Where, key: str) -> TeacherError:
    """Return the error of a response with an HTTP status other than 200.

    Args:
        status: of HTTP.
        content: the body.
        headers: of the response.
        where: the endpoint.
        key: the API key, which is masked.
    """
    said, code = read_error(content, key)
    if 300 <= status < 400:
        place = scrub(str(headers.get("Location") or "another address"), key)
        return TeacherError(
            f"HTTP {status}: {where.base_url} redirects to {place}; redirects are not followed. Set teacher.base_url.",
            fatal=True,
            reason=f"HTTP {status}",
        )
    return explain_code(status, said, code, where, read_retry_after(headers))


def explain_code(
    status: int, said: str, code: str, where: Where, retry_after: float | None = None, prefix: str = "HTTP"
) -> TeacherError:
    """Return an endpoint's error with what to do about it.

    Args:
        status: of HTTP, or of an error object within an answer.
        said: the endpoint's message.
        code: its code for the error, or an empty text.
        where: the endpoint.
        retry_after: seconds that it asks to wait, or None.
        prefix: ``HTTP``, or ``error`` for an error object.
    """
    reason = f"{prefix} {status}"
    told = reason if prefix == "HTTP" else f"The endpoint answered with {reason}"
    if status == 401:
        # What the server says is left out: some repeat the key in it.
        return TeacherError(
            f"{told}: {where.base_url} does not accept the key in the environment variable "
            f"{where.api_key_env or '(none named)'}. Set it again, or name another one with teacher.api_key_env=NAME.",
            fatal=True,
            reason=reason,
        )
    if status == 404:
        advice = "Check teacher.model and teacher.base_url."
        if not urlsplit(where.base_url).path.strip("/"):
            advice = f"Most servers expect a version in the path: teacher.base_url={where.base_url.rstrip('/')}/v1."
        return TeacherError(
            f"{told}: {where.base_url} has no model {where.model!r}, or the address is wrong ({said}). {advice}",
            fatal=True,
            reason=reason,
        )
    if status == 402 or (status == 429 and code in NO_MONEY):
        return TeacherError(f"{told}: the account at {where.base_url} has no credit left ({said}).",
                            fatal=True, reason=reason)  # fmt: skip
    retryable = status in RETRYABLE or status >= 500
    return TeacherError(
        f"{told}: {said}" + ("" if status in RETRYABLE else hint(said)),
        retryable=retryable,
        retry_after=retry_after,
        reason=reason,
        said=said,
    )


def explain_error_object(error: Any, where: Where | None, key: str) -> TeacherError:
    """Return the error of an error object within an answer with status 200, as OpenRouter sends it.

    Args:
        error: the object.
        where: the endpoint, or None.
        key: the API key, which is masked.
    """
    fields = Fields(error if isinstance(error, dict) else {"message": error})
    said = scrub(fields.raw("message") or error or "no explanation", key)
    metadata = fields.inside("metadata")
    if (more := metadata.raw("raw")) and isinstance(more, str):
        said = scrub(f"{said}: {more}", key)
    status = fields.count("code", most=999) or _digits(fields.text("code")) or fields.count("status", most=999)
    if status and where:
        return explain_code(status, said, fields.text("type") or "", where, prefix="error")
    kind = excerpt(fields.text("code") or fields.text("type") or "", 40)
    return TeacherError(
        f"The endpoint answered with an error{f' ({kind})' if kind else ''}: {said}{hint(said)}",
        retryable=_PASSING.search(f"{kind} {said}") is not None,
        reason="error in answer",
        said=said,
    )


def malformed(content: Any, key: str = "") -> TeacherError:
    """Return the error of an answer that is not a completion, as overloaded servers and gateways send it.

    Args:
        content: the answer, which is quoted.
        key: the API key, which is masked.
    """
    advice = "Does teacher.base_url end in the API's version, such as /v1?"
    if isinstance(content, bytes) and content.lstrip().startswith((b"data:", b"event:")):
        advice = "It is a stream of events, which was not asked for: something on the way forces stream=true."
    return TeacherError(
        f"The endpoint's answer is not a completion: {scrub(content, key)!r}. {advice}",
        retryable=True,
        reason="malformed answer",
    )


def hint(said: str) -> str:
    """Return the setting that helps against an endpoint's message, as a sentence to append; empty where none does.

    >>> hint("Unsupported value: 'temperature' does not support 0.0 with this model.")
    ' teacher.temperature=null leaves it to the endpoint.'
    """
    advice = next((advice for pattern, advice in HINTS if re.search(pattern, said, re.I)), "")
    return f"{'' if said.endswith(('.', '!', '?')) else '.'} {advice}" if advice else ""


def read_error(content: bytes, key: str) -> tuple[str, str]:
    """Return message and code of an error's body; the API key is masked."""
    try:
        body = load_json(content)
    except ValueError:
        body = content
    if isinstance(body, list) and len(body) == 1:  # as Gemini's compatible layer answers
        (body,) = body
    inner = body.get("error", body) if isinstance(body, dict) else body
    fields = Fields(inner)
    said = fields.raw("message") or fields.raw("detail") or fields.raw("msg") or inner
    return scrub(said or "no explanation", key), fields.text("code") or fields.text("type") or ""


def scrub(said: Any, key: str) -> str:
    """Return an endpoint's words for a message: on one line, bounded, with the API key masked.

    The key is masked before the text is shortened, so that not even a part of it is left.
    """
    text = excerpt(said, 8 * EXCERPT)
    return (text.replace(key, "***") if key and key != "none" else text)[:EXCERPT]


def hide(text: str | None, key: str) -> str | None:
    """Return a teacher's text with the API key masked; short keys such as ``none`` or ``EMPTY`` are mere words."""
    return text.replace(key, "***") if text and len(key) >= SECRET else text


def _digits(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) == 3 else None


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""
