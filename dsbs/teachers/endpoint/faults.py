"""Errors of endpoints as messages: the endpoint's own reason and the setting that helps, never the API key."""

import errno
import json
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

from dsbs.core.errors import TeacherError
from dsbs.core.untrusted import Fields, excerpt
from dsbs.teachers.endpoint.address import AUTHORIZATION, NO_KEY, Address
from dsbs.teachers.endpoint.headers import read_wait
from dsbs.teachers.endpoint.words import (
    BAD_KEY,
    BUSY,
    EXCERPT,
    FILTERED,
    MAX_SAID,
    NO_CREDIT,
    NO_MODEL,
    NO_MONEY,
    NO_PROVIDER,
    TOO_LARGE,
    TOO_LONG,
    hint,
    plain_text,
    read_error,
    read_words,
    scrub,
)

# Where well-known hosts, by the end of their names, have their compatible API.
PATHS = {
    "api.fireworks.ai": "/inference/v1",
    "api.groq.com": "/openai/v1",
    "aliyuncs.com": "/compatible-mode/v1",
    "generativelanguage.googleapis.com": "/v1beta/openai",
    "openrouter.ai": "/api/v1",
    ".azure.com": "/openai/v1",
    ".amazonaws.com": "/openai/v1",
    "api.cohere.ai": "/compatibility/v1",
    "api.cohere.com": "/compatibility/v1",
    "api.deepinfra.com": "/v1/openai",
    "models.github.ai": "/inference",
    "router.huggingface.co": "/v1",
    "open.bigmodel.cn": "/api/paas/v4",
    "api.z.ai": "/api/paas/v4",
    "volces.com": "/api/v3",
}
# The reason of an error that a lower concurrency mends.
TOO_MANY_FILES = "too many open files"
_VERSION = re.compile(r"/v\d|openai|inference", re.I)
# Not the request's fault: the same one may pass a little later. All above 500 count, too.
RETRYABLE = {408, 409, 424, 425, 429, 498, 499}
# Error codes and types in bodies with status 200, which give no HTTP status.
_KINDS = (
    (401, re.compile(r"invalid_api_key|authenticat", re.I)),
    (404, re.compile(r"model_not_found|not_?found_?error", re.I)),
    (429, re.compile(r"throttl|rate_?limit", re.I)),
)
_ROUTE = re.compile(r"/(?:chat/)?completions$")
# Headers of gateways, as they name them; Azure's API Management says 'missing subscription key'.
_HEADERS = re.compile(r"ocp-apim-subscription-key|subscription key|\bx-api-key\b|\bapi-key\b", re.I)
_PASSING = re.compile(r"overload|busy|rate.?limit|timeout|unavailable|upstream|internal", re.I)


def explain_connection(error: Exception, where: Address, key: str, proxy: str | None) -> TeacherError:
    """Return the error of a request to which no complete response came.

    Args:
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
    explanation = scrub(str(getattr(error, "os_error", None) or error) or type(error).__name__, key)
    if isinstance(error, aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError):
        return TeacherError(
            f"No secure connection to {where.base_url}{through}: {explanation}. SSL_CERT_FILE=FILE.pem sets trusted "
            "certificates; for a server without TLS use http:// in teacher.base_url.",
            fatal=True,
            reason="no secure connection",
        )
    if isinstance(error, aiohttp.ClientPayloadError | aiohttp.ServerDisconnectedError | ConnectionResetError):
        return TeacherError(
            f"No connection to {where.base_url}{through}: it broke off before the answer was complete ({explanation}). "
            "If this keeps happening: a lower concurrency, or a lower teacher.max_tokens for shorter answers.",
            retryable=True,
            reason="no connection",
        )
    advice, reason = "Is a server running there, and is teacher.base_url right?", "no connection"
    if getattr(getattr(error, "os_error", error), "errno", None) in (errno.EMFILE, errno.ENFILE):
        advice, reason = "Lower concurrency, or raise the limit (ulimit -n).", TOO_MANY_FILES
    elif proxy:
        advice = f"This proxy comes from the environment; NO_PROXY={_host(where.base_url)} bypasses it."
    return TeacherError(
        f"No connection to {where.base_url}{through}: {explanation}. {advice}", retryable=True, reason=reason
    )


def explain_status(status: int, content: bytes, headers: Any, where: Address, key: str) -> TeacherError:
    """Return the error of a response with an HTTP status other than 200."""
    explanation, code = read_error(content, key)
    if 300 <= status < 400:
        location = scrub(str(headers.get("Location") or "another address"), key)
        route = _ROUTE.search(location)
        typed = (
            f"Type teacher.base_url={urljoin(where.base_url, location[: route.start()])}"
            if route
            else "Set teacher.base_url"
        )
        return TeacherError(
            f"HTTP {status}: {where.base_url} redirects to {location}; redirects are not followed. {typed}.",
            fatal=True,
            reason=f"HTTP {status}",
        )
    if status == 401 and key == NO_KEY:
        named = (
            f"Type export {where.api_key_env}=…" if where.api_key_env else "Name its variable: teacher.api_key_env=NAME"
        )
        return TeacherError(
            f"HTTP 401: {where.base_url} does not accept the key: none is set. {named}."
            f"{_advise_header(explanation, where)}",
            fatal=True,
            reason="HTTP 401",
        )
    return explain_code(status, explanation, code, where, read_wait(headers, content, explanation))


def explain_code(
    status: int, explanation: str, code: str, where: Address, retry_after: float | None = None, prefix: str = "HTTP"
) -> TeacherError:
    """Return an endpoint's error with what to do about it.

    Args:
        status: of HTTP, or of an error object within an answer.
        prefix: ``HTTP``, or ``error`` for an error object.
    """
    reason, shown = f"{prefix} {status}", explanation[:EXCERPT]
    opening = reason if prefix == "HTTP" else f"The endpoint answered with {reason}"
    fatal, doubted = None, status in (400, 403, 422)
    if (doubted or status == 500) and BUSY.search(explanation):
        status, doubted, reason = 429, False, f"{prefix} 429"
    if status == 401 or (doubted and BAD_KEY.search(explanation)):
        # With 401 what the server says is left out: some repeat the key in it.
        fatal = (
            f"{'' if status == 401 else shown.rstrip('.') + '. '}{where.base_url} does not accept the key in the "
            f"environment variable {where.api_key_env or '(none named)'}. Set it again, or name another one with "
            f"teacher.api_key_env=NAME.{_advise_header(explanation, where)}"
        )
    elif status == 402 or code in NO_MONEY or ((doubted or status in (412, 429)) and NO_CREDIT.search(explanation)):
        fatal = f"the account at {where.base_url} has no credit left ({shown})."
    elif status == 404 and NO_PROVIDER.search(explanation):
        takes = f"no provider behind {where.base_url} takes such requests for {where.model!r}"
        fatal = f"{takes} ({shown}).{hint(f'{explanation}.')}"
    elif status in (404, 410) or (doubted and NO_MODEL.search(explanation)):
        fatal = (
            f"{where.base_url} has no model {where.model!r}, or the address is wrong ({shown})."
            f"{_advise_address(explanation, where)}"
        )
    elif status == 405:
        fatal = f"{where.base_url} does not accept chat requests ({shown}).{_advise_address(explanation, where)}"
    elif status == 407:
        fatal = "the proxy wants a user name and a password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT sets them."
    if fatal is not None:
        return TeacherError(f"{opening}: {fatal}", fatal=True, reason=reason, explanation=explanation)
    too_large = re.search(TOO_LARGE, explanation, re.I) is not None
    # Some gateways say so with 502.
    filtered = (doubted or status == 502) and FILTERED.search(f"{code} {explanation}") is not None
    retryable = (status in RETRYABLE and not too_large) or (status >= 500 and not TOO_LONG.search(explanation))
    return TeacherError(
        f"{opening}: {shown}"
        + (
            ""
            if status in RETRYABLE and not too_large
            else hint("prompt is too large" if status == 413 and not too_large else explanation)
        ),
        retryable=retryable and not filtered,
        retry_after=retry_after,
        reason="content filter" if filtered else reason,
        explanation=explanation,
    )


def _advise_address(explanation: str, where: Address) -> str:
    if (advice := hint(explanation)) and ("teacher.api=" in advice or "API" in advice):
        return advice.removeprefix(".")
    own = urlsplit(where.base_url).path.rstrip("/")
    path = next((path for end, path in PATHS.items() if _host(where.base_url).endswith(end)), None)
    if path and path != own:
        return f" The compatible API is at teacher.base_url={urljoin(where.base_url, path)}."
    if not path and not _VERSION.search(own):
        versioned = "/v1" if own == "/api" else f"{own}/v1"  # Ollama's own API, which is another
        return f" Most servers expect a version in the path: teacher.base_url={urljoin(where.base_url, versioned)}."
    return " Check teacher.model and teacher.base_url."


def explain_error_object(error: Any, where: Address | None, key: str) -> TeacherError:
    """Return the error of an error object within an answer with status 200, as OpenRouter sends it."""
    fields = Fields(error if isinstance(error, dict) else {"message": error})
    explanation = scrub(read_words(fields) or error or "no explanation", key, MAX_SAID)
    status = fields.count("code", limit=999) or _digits(fields.text("code")) or fields.count("status", limit=999) or 0
    kind = excerpt(fields.text("code") or fields.text("type") or "", 40)
    if status < 400:
        status = next((known for known, kinds in _KINDS if kinds.search(kind)), 0)
        signs = (
            (402, kind in NO_MONEY or NO_CREDIT.search(explanation)),
            (401, BAD_KEY.search(explanation)),
            (404, NO_MODEL.search(explanation)),
        )
        status = next((known for known, tells in signs if tells), status)
    if status and where:
        wait = read_wait({}, json.dumps(error).encode(), explanation)
        return explain_code(status, explanation, kind, where, wait, prefix="error")
    return TeacherError(
        f"The endpoint answered with an error{f' ({kind})' if kind else ''}: "
        f"{explanation[:EXCERPT]}{hint(explanation)}",
        retryable=_PASSING.search(f"{kind} {explanation}") is not None,
        reason="error in answer",
        explanation=explanation,
    )


def malformed(content: Any, key: str = "") -> TeacherError:
    """Return the error of an answer that is not a completion, as overloaded servers and gateways send it."""
    advice = "Does teacher.base_url end in the API's version, such as /v1?"
    forced = False
    if isinstance(content, bytes):
        text = content.lstrip(b"\xef\xbb\xbf \t\r\n")
        if forced := text.startswith((b"data:", b"event:")):
            advice = "It is a stream of events, but not of a completion: something in between forces stream=true."
        elif text.startswith(b"<"):
            advice = f"It is a web page: a login page or a proxy answered instead. {advice}"
            content = plain_text(content)
        elif text.startswith((b"{", b"[")):
            advice = "It is JSON that is broken or was cut off in transit."
        elif not text:
            content, advice = "", f"It is empty. {advice}"
    return TeacherError(
        f"The endpoint's answer is not a completion: {scrub(content, key)!r}. {advice}",
        retryable=not forced,
        fatal=forced,  # every answer would be paid for and lost
        reason="malformed answer",
    )


def _advise_header(explanation: str, where: Address) -> str:
    """Return how to send the key in the header that a gateway names, or an empty text."""
    found = _HEADERS.search(explanation)
    if found is None or where.api_key_header != AUTHORIZATION:
        return ""
    header = "Ocp-Apim-Subscription-Key" if found[0].lower().endswith("subscription key") else found[0].lower()
    return f" It may expect the key in another header: teacher.api_key_header={header}."


def _digits(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) == 3 else None


def _host(address: str) -> str:
    return urlsplit(address).hostname or ""
