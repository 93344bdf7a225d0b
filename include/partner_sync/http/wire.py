"""Connections to one partner: one for each thread, kept as long as calls follow each other.

httpx's transport without its client: no cookie is kept, no redirect followed, no proxy or netrc read, and a call costs
half. A pool that threads share looks through all its connections for each call.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

#: A connection that waited longer is not used again: servers close idle ones (5 s is usual), and a call that meets the
#: close on its way has an unknown outcome, which costs a whole settle time.
KEEPALIVE_SECONDS = 2.0
_ONE_CONNECTION = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEEPALIVE_SECONDS)


class Wire:
    """Sends requests with these header fields on every one. Serves several threads; ``close`` it."""

    def __init__(
        self, *, headers: Mapping[str, str], connect_seconds: float, read_seconds: float, tls: ssl.SSLContext
    ) -> None:
        self._headers = dict(headers)
        timeout = httpx.Timeout(read_seconds, connect=connect_seconds, pool=connect_seconds)
        self._extensions = {"timeout": timeout.as_dict()}
        self._tls = tls
        self._here = threading.local()
        self._lock = threading.Lock()
        self._opened: list[httpx.HTTPTransport] = []

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
        response = self._transport().handle_request(request)
        response.request = request
        try:
            yield response
        finally:
            response.close()

    def close(self) -> None:
        with self._lock:
            opened, self._opened = self._opened, []
        for transport in opened:
            transport.close()

    def _transport(self) -> httpx.HTTPTransport:
        transport: httpx.HTTPTransport | None = getattr(self._here, "transport", None)
        if transport is None:
            transport = httpx.HTTPTransport(verify=self._tls, trust_env=False, limits=_ONE_CONNECTION)
            self._here.transport = transport
            with self._lock:
                self._opened.append(transport)
        return transport
