"""An answer as bytes, and refusals that each maker words in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

JSON = "application/json"


@dataclass(frozen=True)
class Answer:
    """What goes back to the caller."""

    status: int
    body: bytes = field(default=b"", repr=False)
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()

    def with_headers(self, *headers: tuple[str, str]) -> Answer:
        return Answer(self.status, self.body, self.content_type, (*self.headers, *headers))

    def with_body(self, body: bytes, content_type: str = JSON) -> Answer:
        return Answer(self.status, body, content_type, self.headers)


def json_answer(status: int, body: object, *headers: tuple[str, str]) -> Answer:
    return Answer(status, orjson.dumps(body), JSON, headers)


class RefusedError(Exception):
    """A call that the partner refuses, with a status and a code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


class FieldsRefusedError(Exception):
    """A visit whose fields the partner refuses: 422 with the fields and codes, never with values."""

    def __init__(self, errors: list[dict[str, str]]) -> None:
        super().__init__(", ".join(f"{error['field']}: {error['code']}" for error in errors))
        self.errors = errors


def page_of(body: bytes) -> dict[str, Any]:
    """The JSON object in a body of our own making."""
    decoded: dict[str, Any] = orjson.loads(body)
    return decoded


def header(headers: Mapping[bytes, bytes], name: str) -> str | None:
    """A request header's text; None when it was not sent."""
    value = headers.get(name.lower().encode())
    return None if value is None else value.decode("latin-1")
