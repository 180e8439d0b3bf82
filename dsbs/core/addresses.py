"""Addresses of this machine."""

import ipaddress
from urllib.parse import urlsplit


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
