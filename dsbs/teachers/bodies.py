"""Bodies of responses within bounds: as they come and after they are unpacked, for one request and for all at once.

``bound_body`` is a hook of the HTTP client. Without it a client unpacks a gzip body of 1 MB into a gigabyte, and joins
whatever streams in.
"""

import asyncio
import sys
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from contextvars import ContextVar
from typing import Any

from dsbs.core.errors import TeacherError

MEGABYTE = 2**20
MOST_BODY = 16 * MEGABYTE
# Of an error's explanation the head is enough.
MOST_ERROR = 2**16
# A file of a batch's results goes to the disk: 50,000 answers with room for 80 kB each.
MOST_FILE = 4 * 2**30
# Bodies above this size wait for each other, so that many at once do not fill the memory either.
LARGE = MEGABYTE
LARGE_AT_ONCE = 2
# What we ask for, and unpack ourselves.
ENCODINGS = {"gzip": 47, "x-gzip": 47, "deflate": 47}
ACCEPTED = "gzip, deflate"
_PIECE = 2**16

# The bound of the next body; ``MOST_FILE`` around a download.
most_body: ContextVar[int] = ContextVar("most_body", default=MOST_BODY)


class Bounds:
    """Bounds the bodies of one connection pool. ``hook`` goes to the client's event hooks for responses."""

    def __init__(self) -> None:
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)

    async def hook(self, response: Any) -> None:
        """Replace the stream of a response by one that ends, and unpacks within the bound."""
        encodings = [name.strip().lower() for name in response.headers.get("content-encoding", "").split(",")]
        encodings = [name for name in encodings if name and name != "identity"]
        if len(encodings) > 1 or not ENCODINGS.keys() >= set(encodings):
            raise TeacherError(
                f"The endpoint packed its answer as {', '.join(encodings)[:60]!r}, which was not asked for "
                f"({ACCEPTED}).", retryable=True, reason="malformed answer",
            )  # fmt: skip
        if encodings:
            del response.headers["content-encoding"]
        pieces = response.stream
        if encodings:
            pieces = _unpack(pieces, ENCODINGS[encodings[0]])
        failed = response.status_code >= 400
        kept = _cut(pieces, MOST_ERROR) if failed else self._bound(pieces, most_body.get())
        # Of the client's own family of streams, whichever HTTP library it is built on.
        library = sys.modules[type(response).__module__.partition(".")[0]]
        response.stream = type("BoundedStream", (_Stream, library.AsyncByteStream), {})(kept, response.stream)

    async def _bound(self, pieces: Any, most: int) -> AsyncIterator[bytes]:
        size = 0
        async with AsyncExitStack() as stack:
            async for piece in pieces:
                before, size = size, size + len(piece)
                if size > most:
                    raise too_large(f"an answer of more than {most // MEGABYTE:,} MiB")
                if before <= LARGE < size and most == MOST_BODY:
                    await stack.enter_async_context(self._large)
                yield piece


class _Stream:
    """What the client reads: the pieces, and the connection to close."""

    def __init__(self, pieces: AsyncIterator[bytes], source: Any) -> None:
        self._pieces, self._source = pieces, source

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._pieces:
            yield piece

    async def aclose(self) -> None:
        if hasattr(self._pieces, "aclose"):
            await self._pieces.aclose()
        await self._source.aclose()


def too_large(what: str) -> TeacherError:
    """Return the error of an answer that passes a bound; asking again would bring it again."""
    return TeacherError(
        f"The endpoint sent {what}; it was not read to its end. Lower teacher.max_tokens or samples, or ask another "
        "endpoint.",
        reason="answer too large",
    )


async def _cut(pieces: Any, most: int) -> AsyncIterator[bytes]:
    async for piece in pieces:
        yield piece[:most]
        most -= len(piece)
        if most <= 0:
            return


async def _unpack(pieces: Any, window: int) -> AsyncIterator[bytes]:
    """Unpack in small pieces, so that whoever reads them can leave off in time."""
    unpacker = zlib.decompressobj(window)
    started = False
    async for piece in pieces:
        while piece:
            try:
                unpacked = unpacker.decompress(piece, _PIECE)
            except zlib.error:
                if started:
                    raise _broken() from None
                unpacker, unpacked = zlib.decompressobj(-zlib.MAX_WBITS), b""  # deflate without a header
                started = True
                continue
            started = True
            if unpacked:
                yield unpacked
            if unpacker.eof:
                return
            piece = unpacker.unconsumed_tail
    if rest := unpacker.flush():  # what one step before its end had no room for
        yield rest
    if started and not unpacker.eof:
        raise _broken()


def _broken() -> TeacherError:
    return TeacherError("The endpoint's packed answer is broken.", retryable=True, reason="malformed answer")
