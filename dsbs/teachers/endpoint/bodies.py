"""Bodies of responses, bounded in size before and after decompression.

Without bounds, a gzip body of 1 MB could become a gigabyte in memory.
"""

import zlib
from collections.abc import AsyncIterator, Mapping

from dsbs.core.errors import TeacherError

MEGABYTE = 2**20
MAX_BODY = 16 * MEGABYTE
# Of an error's explanation the head is enough.
MAX_ERROR = 2**16
# A file of a batch's results goes to the disk: 50,000 answers with room for 80 kB each.
MAX_FILE = 4 * 2**30
# Bodies above this size wait for each other, so that many at once do not fill the memory either.
LARGE = MEGABYTE
LARGE_AT_ONCE = 2
# What we ask for, and unpack ourselves.
ENCODINGS = {"gzip": 47, "x-gzip": 47, "deflate": 47}
ACCEPTED = "gzip, deflate"
_PIECE = 2**16


async def read_body(
    pieces: AsyncIterator[bytes], headers: Mapping[str, str], limit: int, *, cut: bool = False
) -> AsyncIterator[bytes]:
    """Yield a body, decompressed, up to ``limit`` bytes.

    Args:
        cut: whether to truncate a larger body; else it is an error.

    Raises:
        TeacherError: where it is too large, corrupt, or in an encoding that was not requested.
    """
    encodings = [name.strip().lower() for name in headers.get("Content-Encoding", "").split(",")]
    encodings = [name for name in encodings if name and name != "identity"]
    if len(encodings) > 1 or not ENCODINGS.keys() >= set(encodings):
        raise TeacherError(
            f"The endpoint compressed its answer as {', '.join(encodings)[:60]!r}, not as asked ({ACCEPTED}).",
            retryable=True,
            reason="malformed answer",
        )
    size, packed = 0, bool(encodings)
    if packed and "gzip" in encodings[0]:  # a gateway may have unpacked it and kept the header
        first = await anext(pieces, b"")
        packed, pieces = not first.lstrip().startswith((b"{", b"[")), _behind(first, pieces)
    async for piece in _unpack(pieces, ENCODINGS[encodings[0]]) if packed else pieces:
        size += len(piece)
        if size > limit:
            if cut:
                yield piece[: len(piece) - (size - limit)]
                return
            raise TeacherError(
                f"The endpoint sent an answer of more than {limit // MEGABYTE:,} MiB; reading it was aborted. Lower "
                "teacher.max_tokens or samples, or use another endpoint.",
                reason="answer too large",
            )
        yield piece


async def _behind(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


async def _unpack(pieces: AsyncIterator[bytes], window: int) -> AsyncIterator[bytes]:
    """Unpack in small pieces, so that the reader can stop in time."""
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
    return TeacherError("The endpoint's compressed answer is corrupt.", retryable=True, reason="malformed answer")
