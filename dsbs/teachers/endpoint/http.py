"""HTTP connections to one endpoint, within bounds of time and size.

The only module that uses the HTTP library. Whatever goes wrong on the way to the endpoint becomes a ``TeacherError``;
the endpoint's own answer, errors included, is a ``Reply``.
"""

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlsplit

from dsbs.core.errors import TeacherError
from dsbs.teachers.endpoint.address import Address
from dsbs.teachers.endpoint.bodies import ACCEPTED, LARGE, LARGE_AT_ONCE, MAX_BODY, MAX_ERROR, MAX_FILE, read_body
from dsbs.teachers.endpoint.faults import explain_connection
from dsbs.teachers.endpoint.proxies import find_proxy

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

# Files may take this many times the timeout of a request.
FILE_PATIENCE = 10
_PIECE = 2**18


@dataclass(frozen=True, slots=True)
class Reply:
    """An HTTP response.

    Attributes:
        headers: by name, case-insensitive.
        content: the body, decompressed.
    """

    status: int
    headers: Mapping[str, str]
    content: bytes

    @property
    def ok(self) -> bool:
        """Whether the request succeeded; gateways answer with 201 and 203, too."""
        return 200 <= self.status < 300


class Connection:
    """A pool of connections to an endpoint; an async context manager."""

    def __init__(self, where: Address, key: str) -> None:
        self.where, self.key = where, key
        self._base = where.base_url.rstrip("/")
        self._proxy = find_proxy(self._base)
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._session: ClientSession | None = None
        self._routes: dict[str, Any] = {}
        self._options: dict[str, Any] = {}

    async def __aenter__(self) -> "Connection":
        import aiohttp
        from yarl import URL

        self._options = {"allow_redirects": False}
        if self._proxy is not None:
            self._proxy.check()
            url = URL(self._proxy.url)
            auth = aiohttp.BasicAuth(url.user, url.password or "") if url.user else None
            self._options |= {"proxy": url.with_user(None), "proxy_auth": auth}
        secure = urlsplit(self._base).scheme == "https"
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=_trust() if secure else False),
            headers=self.where.key_header(self.key) | {"Accept-Encoding": ACCEPTED, "User-Agent": "dsbs"},
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,  # within bounds, by ourselves
            timeout=aiohttp.ClientTimeout(total=None),  # one deadline over everything, in ``send``
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._session is not None
        await self._session.close()

    async def post(self, route: str, content: bytes) -> Reply:
        """Send a JSON document; see ``send``."""
        return await self.send("POST", route, data=content, headers={"Content-Type": "application/json"})

    async def send(self, method: str, route: str, patience: int = 1, **parts: Any) -> Reply:
        """Send a request and return the response, whatever its status.

        Args:
            route: below ``base_url``.
            patience: timeout, in multiples of ``teacher.timeout``.
            parts: ``data``, ``headers``, ``params``, as in aiohttp.

        Raises:
            TeacherError: where no complete response came.
        """
        async with self._request(method, route, patience, **parts) as response:
            content = in_utf8(await self._read(response), response.charset)
            return Reply(response.status, response.headers, content)

    async def download(self, route: str, target: BinaryIO) -> Reply:
        """Download a file into ``target``; with a status other than 200 the body is in the reply instead."""
        async with self._request("GET", route, FILE_PATIENCE) as response:
            if response.status != 200:
                return Reply(response.status, response.headers, await self._read(response))
            async for piece in read_body(response.content.iter_any(), response.headers, MAX_FILE):
                target.write(piece)
            return Reply(response.status, response.headers, b"")

    async def upload(self, route: str, name: str, content: BinaryIO, fields: Mapping[str, str]) -> Reply:
        """Upload a file as a multipart form."""
        boundary = f"dsbs-{os.urandom(16).hex()}"
        disposition = f'--{boundary}\r\nContent-Disposition: form-data; name="'
        head = "".join(f'{disposition}{field}"\r\n\r\n{value}\r\n' for field, value in fields.items())
        head += f'{disposition}file"; filename="{name}"\r\nContent-Type: application/octet-stream\r\n\r\n'
        tail = f"\r\n--{boundary}--\r\n"
        size = content.seek(0, os.SEEK_END)
        content.seek(0)

        async def body() -> AsyncIterator[bytes]:
            yield head.encode()
            while piece := content.read(_PIECE):
                yield piece
            yield tail.encode()

        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}",
                   "Content-Length": str(len(head.encode()) + size + len(tail))}  # fmt: skip
        return await self.send("POST", route, FILE_PATIENCE, data=body(), headers=headers)

    @asynccontextmanager
    async def _request(self, method: str, route: str, patience: int, **parts: Any) -> AsyncIterator["ClientResponse"]:
        """Open a response; whatever goes wrong before it is read to its end becomes a ``TeacherError``."""
        assert self._session is not None
        try:
            # One deadline over everything: a server that drips a byte a second never trips a read timeout.
            async with (
                asyncio.timeout(self.where.timeout * patience),
                self._session.request(method, self._address(route), **self._options, **parts) as response,
            ):
                yield response
        except TeacherError:
            raise
        except Exception as error:
            raise explain_connection(error, self.where, self.key, self._proxy and self._proxy.shown) from None

    async def _read(self, response: "ClientResponse") -> bytes:
        """Return a body; of an error the head, and of large ones only a few at once."""
        failed, size = response.status >= 400, response.content_length
        if size is not None and size <= LARGE and not failed and "Content-Encoding" not in response.headers:
            return await response.read()
        pieces: list[bytes] = []
        most, read = MAX_ERROR if failed else MAX_BODY, 0
        async with AsyncExitStack() as stack:
            async for piece in read_body(response.content.iter_any(), response.headers, most, cut=failed):
                before, read = read, read + len(piece)
                if before <= LARGE < read:
                    await stack.enter_async_context(self._large)
                pieces.append(piece)
        return b"".join(pieces)

    def _address(self, route: str) -> Any:
        from yarl import URL

        if route not in self._routes:
            if len(self._routes) > 100:  # routes with ids in them
                self._routes.clear()
            self._routes[route] = URL(self._base + route)
        return self._routes[route]


def in_utf8(content: bytes, charset: str | None) -> bytes:
    """Return a body in UTF-8; one that is not is in the charset that its header names.

    Without a header it is in that of Windows, unless it has characters of UTF-8: then some of its bytes are broken.

    >>> in_utf8("schön".encode("latin-1"), "iso-8859-1") == in_utf8("schön".encode(), "iso-8859-1") == "schön".encode()
    True
    """
    if content.isascii() or content.startswith((b"\xff\xfe", b"\xfe\xff")):  # UTF-16 says so itself
        return content
    try:
        content.decode()
    except UnicodeDecodeError:
        if charset is None and content.decode(errors="ignore").isascii():
            charset = "cp1252"
        with suppress(LookupError, UnicodeDecodeError):
            return content.decode(charset or "utf-8").encode()
    return content


def _trust() -> ssl.SSLContext:
    """Return what is trusted: the system's certificates, and certifi's where it is there (slim images have none)."""
    context = ssl.create_default_context()
    with suppress(ImportError, OSError):
        import certifi

        context.load_verify_locations(certifi.where())
    return context
