"""The address of an endpoint, and the header that carries its API key."""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit

from dsbs.core.secrets import looks_secret

# The header of a key, as ``Bearer KEY``; in others it is alone.
AUTHORIZATION = "Authorization"
# What is sent where there is no key.
NO_KEY = "none"
# Routes that people copy into a base URL.
_ROUTES = re.compile(r"(?:/chat)?/completions$|(?<=/v\d)/chat$|/(?:models|responses|messages|embeddings|docs)$")
_OLLAMA = {"/api/chat", "/api/generate"}
_DEPLOYMENT = re.compile(r"/openai/deployments/([\w.-]{1,100})")
_NO_SCHEME = re.compile(r"(?!https?\b)[A-Za-z0-9.-]{1,200}(?::\d{1,5})?(?:/[\w./-]{0,200})?")
_ODD = re.compile(r"[\s'\"<>,]")


class Address(NamedTuple):
    """What messages about an endpoint name: its address, model, key's variable and header, and timeout in seconds."""

    base_url: str
    model: str
    api_key_env: str | None
    timeout: float
    api_key_header: str = AUTHORIZATION

    def key_header(self, key: str) -> dict[str, str]:
        """Return the header that carries a key."""
        bearer = self.api_key_header.lower() == AUTHORIZATION.lower()
        return {self.api_key_header: f"Bearer {key}" if bearer else key}


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine itself.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0"), is_loopback("example.org")
    (True, True, False, False)
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def leads_here(url: str) -> bool:
    """Return whether a URL leads to this machine.

    >>> leads_here("http://127.0.0.1:8000/v1"), leads_here("http://[::1]/v1"), leads_here("https://host.io/v1")
    (True, True, False)
    """
    return is_loopback(urlsplit(url).hostname or "")


def address_faults(address: str) -> list[str]:
    """Return what is wrong with ``teacher.base_url``; what looks like a key in it is not repeated."""
    if not address.strip():
        return ["teacher.base_url is empty: expected an address, or null for OpenAI. Is a shell variable unset?"]
    parts = urlsplit(address)
    if _NO_SCHEME.fullmatch(address) and not looks_secret(address):
        return [f"teacher.base_url={address}: http:// or https:// is missing: teacher.base_url=http://{address}"]
    if parts.scheme not in ("http", "https") or not parts.hostname or _ODD.search(address) or not _has_port(parts):
        return [f"teacher.base_url={parts.scheme or parts.path}…: expected an address such as "
                f"http://localhost:8000/v1, without spaces or quotes.{_advise(parts)}"]  # fmt: skip
    secret = any(looks_secret(part) for part in parts.path.split("/"))
    if parts.username or parts.password or secret:
        return ["teacher.base_url: put no key or password into the address, but into an environment variable; "
                "name that with teacher.api_key_env=NAME."]  # fmt: skip
    short = parts._replace(query="", fragment="", path=parts.path.rstrip("/")).geturl()
    if deployment := _DEPLOYMENT.match(parts.path):
        compatible = f"teacher.base_url={parts.scheme}://{parts.netloc}/openai/v1 teacher.model={deployment[1]}"
        return [f"teacher.base_url: the address of an Azure deployment; the compatible API is at {compatible}"]
    if parts.path.rstrip("/") in _OLLAMA:
        return [f"teacher.base_url: Ollama's own API; the compatible one is at teacher.base_url={parts.scheme}://"
                f"{parts.netloc}/v1"]  # fmt: skip
    if route := _ROUTES.search(short):
        added = ", which is added" if route[0].endswith("completions") else ""
        return [f"teacher.base_url: drop {route[0]}{added}: teacher.base_url={short[: route.start()]}"]
    if parts.query or parts.fragment:
        azure = " Azure needs none at https://RESOURCE.openai.azure.com/openai/v1." if "azure" in address else ""
        return [
            "teacher.base_url: put no key or password into the address, and neither a query nor a fragment: "
            f"teacher.base_url={short}. A key belongs in the variable that teacher.api_key_env=NAME names.{azure}"
        ]
    return []


def _advise(parts: SplitResult) -> str:
    if "unix" in parts.scheme:
        return " For a Unix socket: socat TCP-LISTEN:8000,bind=127.0.0.1,fork UNIX-CONNECT:FILE"
    return " IPv6 stands in brackets: http://[::1]:8000/v1" if parts.netloc.count(":") > 1 else ""


def _has_port(parts: SplitResult) -> bool:
    """Return whether the port of an address, if any, is one."""
    try:
        return parts.port is None or parts.port > 0
    except ValueError:
        return False
