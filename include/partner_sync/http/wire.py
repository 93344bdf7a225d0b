"""Connections to one partner: one for each thread, kept as long as calls follow each other.

httpx's requests and answers over httpcore's connections: no cookie is kept, no redirect followed, no proxy or netrc
read, a call costs half, and it has a deadline, for which httpx's own transport has no place. A pool that threads share
looks through all its connections for each call.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpcore
import httpx

from partner_sync.http.deadline import BoundedBackend, Deadline

#: A connection that waited longer is not used again: servers close idle ones (5 s is usual), and a call that meets the
#: close on its way has an unknown outcome, which costs a whole settle time.
KEEPALIVE_SECONDS = 2.0

#: httpx's error for each of httpcore's, by the same name.
_OF_HTTPX: Mapping[type[Exception], type[httpx.TransportError]] = {
    httpcore.ConnectTimeout: httpx.ConnectTimeout,
    httpcore.ReadTimeout: httpx.ReadTimeout,
    httpcore.WriteTimeout: httpx.WriteTimeout,
    httpcore.PoolTimeout: httpx.PoolTimeout,
    httpcore.ConnectError: httpx.ConnectError,
    httpcore.ReadError: httpx.ReadError,
    httpcore.WriteError: httpx.WriteError,
    httpcore.LocalProtocolError: httpx.LocalProtocolError,
    httpcore.RemoteProtocolError: httpx.RemoteProtocolError,
    httpcore.ProxyError: httpx.ProxyError,
    httpcore.UnsupportedProtocol: httpx.UnsupportedProtocol,
}


class Wire:
    """Sends requests with these header fields on every one. Serves several threads; ``close`` it.

    ``call_seconds`` bounds a call as a whole, until its body is read; the others bound connecting and each silence.
    """

    def __init__(
        self,
        *,
        headers: Mapping[str, str],
        connect_seconds: float,
        read_seconds: float,
        call_seconds: float,
        tls: ssl.SSLContext,
    ) -> None:
        self._headers = dict(headers)
        timeout = httpx.Timeout(read_seconds, connect=connect_seconds, pool=connect_seconds)
        self._extensions = {"timeout": timeout.as_dict()}
        self._call_seconds = call_seconds
        self._tls = tls
        self._here = threading.local()
        self._lock = threading.Lock()
        self._opened: list[_Line] = []

    @contextmanager
    def exchange(
        self,
        method: str,
        url: str,
        *,
        parameters: Mapping[str, str | int] | None,
        headers: Mapping[str, str],
        content: bytes | None,
    ) -> Iterator[httpx.Response]:
        """Send one request and give its answer, whose body is still to be read; raises httpx's errors."""
        request = httpx.Request(
            method,
            url,
            params=parameters,
            headers={**self._headers, **headers},
            content=content,
            extensions=self._extensions,
        )
        response = self._line().send(request, seconds=self._call_seconds)
        try:
            yield response
        finally:
            response.close()

    def hurry(self, seconds: float) -> None:
        """The rest of this thread's answer is worth so many seconds at most."""
        self._line().hurry(seconds)

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, []
        for line in opened:
            line.close()

    def _line(self) -> _Line:
        line: _Line | None = getattr(self._here, "line", None)
        if line is None:
            line = self._here.line = _Line(self._tls)
            with self._lock:
                self._opened.append(line)
        return line


class _Line:
    """One thread's connection, made anew when it was closed or has waited for too long."""

    def __init__(self, tls: ssl.SSLContext) -> None:
        self._deadline = Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=1,
            keepalive_expiry=KEEPALIVE_SECONDS,
            network_backend=BoundedBackend(self._deadline),
        )

    def send(self, request: httpx.Request, *, seconds: float) -> httpx.Response:
        url = request.url
        parts = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
        sent = httpcore.Request(
            request.method,
            parts,
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        self._deadline.start(seconds)
        with _errors_of_httpx():
            came = self._pool.handle_request(sent)
        return httpx.Response(came.status, headers=came.headers, stream=_Body(came), request=request)

    def hurry(self, seconds: float) -> None:
        self._deadline.shorten(seconds)

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    def __init__(self, came: httpcore.Response) -> None:
        self._came = came

    def __iter__(self) -> Iterator[bytes]:
        with _errors_of_httpx():
            yield from self._came.iter_stream()

    def close(self) -> None:
        self._came.close()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    try:
        yield
    except tuple(_OF_HTTPX) as error:
        raise _OF_HTTPX[type(error)](str(error)) from None
