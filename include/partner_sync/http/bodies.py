"""The body of an answer, bounded in bytes, also when it is small only packed; in time the deadline of the call does."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx

#: What we say that we read, and nothing else is read: a body packed several times over can grow without any bound.
ACCEPTED_ENCODING = "gzip"
_PACKED = frozenset({"gzip", "x-gzip", "deflate"})
#: Unpacked in pieces of this size, so that the bound is met before the memory is used.
_PIECE_BYTES = 1024 * 1024


def bounded_body(response: httpx.Response, *, most: int) -> bytes | None:
    """The body, or None when it has more than ``most`` bytes, packed or unpacked.

    Raises RemoteProtocolError when it is cut off, and DecodingError when it cannot be unpacked.
    """
    pieces, size = [], 0
    for piece in _unpacked(response, response.iter_raw()):
        size += len(piece)
        if size > most:
            return None
        pieces.append(piece)
    return b"".join(pieces)


def _unpacked(response: httpx.Response, chunks: Iterator[bytes]) -> Iterator[bytes]:
    encoding = response.headers.get("Content-Encoding", "").strip().lower()
    if encoding in {"", "identity"}:
        return chunks
    if encoding not in _PACKED:
        raise httpx.DecodingError("the answer is packed in a way that was not asked for")
    return _inflated(chunks)


def _inflated(chunks: Iterator[bytes]) -> Iterator[bytes]:
    # gzip, or zlib's own frame, which is what 'deflate' means (RFC 9110, 8.4.1.2).
    unpacking = zlib.decompressobj(zlib.MAX_WBITS | 32)
    arrived = False
    try:
        for chunk in chunks:
            arrived = True
            yield unpacking.decompress(chunk, _PIECE_BYTES)
            while unpacking.unconsumed_tail:
                yield unpacking.decompress(unpacking.unconsumed_tail, _PIECE_BYTES)
    except zlib.error:
        raise httpx.DecodingError("the answer cannot be unpacked") from None
    yield unpacking.flush()
    if arrived and not unpacking.eof:
        raise httpx.RemoteProtocolError("the packed answer is cut off")
