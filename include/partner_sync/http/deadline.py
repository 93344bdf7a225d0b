"""A deadline for a whole call: connecting, the request, the header section and the body together.

A time-out of httpx is for one read or one write, and each byte begins it anew: a partner that sends a byte now and then
could hold a call, its claim and its run for ever. httpcore lets its network be replaced, and here each step gets no
more time than the call has left.
"""

from __future__ import annotations

import math
import ssl
import time
from collections.abc import Iterable
from contextlib import suppress

import httpcore

#: A request is written in pieces for which a socket that can be written to has room at once: a longer one would be
#: taken in parts, each with the whole time.
_PIECE_BYTES = 4096


class Deadline:
    """When the call that is on its way must be over; one call at a time."""

    def __init__(self) -> None:
        self._ends_at = math.inf

    def start(self, seconds: float) -> None:
        """A call begins."""
        self._ends_at = time.monotonic() + seconds

    def shorten(self, seconds: float) -> None:
        """What is left of the call gets so many seconds at most."""
        self._ends_at = min(self._ends_at, time.monotonic() + seconds)

    def left(self, most: float | None, *, late: type[httpcore.TimeoutException]) -> float:
        """Seconds for the next step, at most so many; raises ``late`` when none are left."""
        seconds = self._ends_at - time.monotonic()
        if seconds <= 0:
            raise late("the call takes too long as a whole")
        return seconds if most is None else min(most, seconds)


class BoundedBackend(httpcore.NetworkBackend):
    """Opens connections on which no step outlasts the deadline.

    Looking up a name, and trying one address after the other, may last longer; then nothing leaves any more.
    """

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline
        self._network = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.left(timeout, late=httpcore.ConnectTimeout)
        try:
            stream = self._network.connect_tcp(host, port, seconds, local_address, socket_options)
        except (ValueError, OverflowError) as error:
            # The socket does not take the name or the port: nothing was called.
            raise httpcore.LocalProtocolError(type(error).__name__) from None
        return _BoundedStream(stream, self._deadline)


class _BoundedStream(httpcore.NetworkStream):
    """What is written leaves when an answer is asked for: the header section and the body of a request together."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream = stream
        self._deadline = deadline
        self._unsent: list[bytes] = []

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        if self._unsent:
            # Who closes before all is sent may have answered why (httpcore, which writes at once, does the same).
            with suppress(httpcore.WriteError):
                self._send(timeout)
        return self._stream.read(max_bytes, self._deadline.left(timeout, late=httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        if buffer:
            self._unsent.append(buffer)

    def _send(self, timeout: float | None) -> None:
        whole, self._unsent = b"".join(self._unsent), []
        for at in range(0, len(whole), _PIECE_BYTES):
            seconds = self._deadline.left(timeout, late=httpcore.WriteTimeout)
            self._stream.write(whole[at : at + _PIECE_BYTES], seconds)

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        seconds = self._deadline.left(timeout, late=httpcore.ConnectTimeout)
        return _BoundedStream(self._stream.start_tls(ssl_context, server_hostname, seconds), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)
