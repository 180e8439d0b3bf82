"""Proxies that the environment names, and what is reached past them."""

import ipaddress
import os
import urllib.request
from typing import NamedTuple
from urllib.parse import urlsplit

from dsbs.core.errors import TeacherError
from dsbs.teachers.endpoint.address import leads_here

# Where servers say that they listen: it leads to this machine.
ANY = ("0.0.0.0", "::")  # noqa: S104 - an address to connect to


class Proxy(NamedTuple):
    """A proxy that an environment variable names.

    Attributes:
        url: its address, with user name and password where there are any.
    """

    url: str
    variable: str

    @property
    def shown(self) -> str:
        """Variable and address without user name and password, for messages."""
        parts = urlsplit(self.url)
        try:
            address = f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
        except ValueError:  # no port
            address = str(parts.hostname)
        return f"{self.variable}={parts.scheme}://{address}"

    def check(self) -> None:
        """Check that it can be used.

        Raises:
            TeacherError: where it speaks SOCKS, or is no address.
        """
        parts = urlsplit(self.url)
        try:
            sound = bool(parts.hostname) and " " not in self.url and (parts.port is None or parts.port > 0)
        except ValueError:
            sound = False
        if not sound or parts.scheme not in ("http", "https"):
            raise TeacherError(
                f"{self.shown}: expected an HTTP proxy, such as {self.variable}=http://HOST:PORT. Set one, or add the "
                "endpoint's host to NO_PROXY.",
                fatal=True,
                reason="no proxy",
            )


def find_proxy(address: str) -> Proxy | None:
    """Return the proxy that the environment names for a URL, or None; this machine is never reached by proxy."""
    parts = urlsplit(address)
    if leads_here(address) or parts.hostname in ANY or _is_excepted(parts.hostname or "", parts.port):
        return None
    proxies = urllib.request.getproxies()
    for kind in (parts.scheme, "all"):
        if url := proxies.get(kind):
            names = (f"{kind}_proxy", f"{kind.upper()}_PROXY")
            return Proxy(url if "://" in url else f"http://{url}", next((n for n in names if n in os.environ), "proxy"))
    return None


def _is_excepted(host: str, port: int | None) -> bool:
    """Return whether NO_PROXY names a host, with or without its port, its domain, or a network that it is in."""
    if urllib.request.proxy_bypass(f"{host}:{port}" if port and ":" not in host else host):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for name in urllib.request.getproxies().get("no", "").split(","):
        try:
            if address in ipaddress.ip_network(name.strip(), strict=False):
                return True
        except ValueError:
            continue
    return False
