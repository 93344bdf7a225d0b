"""What the server asks of a profile: how this maker words, signs in, counts and pages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from fastapi import APIRouter

from sandbox.answers import Answer
from sandbox.keys import SignIn
from sandbox.settings import ProfileName


@dataclass(frozen=True, kw_only=True)
class RecordFields:
    """Dotted names of the fields that faults spoil in a record of one collection."""

    key: str
    text: str
    date: str


class Maker(Protocol):
    """One maker's ways; it holds no state."""

    name: ProfileName
    sign_in: SignIn
    limit_scope: Literal["organization", "vendor"]
    idempotent: bool
    records_at: tuple[str, ...]
    record_fields: Mapping[str, RecordFields]
    router: APIRouter

    def error_body(self, code: str, **more: str) -> dict[str, Any]:
        """The body of a refusal."""

    def first_page_query(self, query: str) -> str:
        """The query string of the first page of the same list."""

    def looped(self, answer: Answer, *, url: str) -> Answer:
        """The first page's answer, made to say that its own address comes next."""

    def repeated(self, first: Answer, answer: Answer) -> Answer:
        """The first page's records, with what this page says of the pages to come."""


def records_in(body: dict[str, Any], at: tuple[str, ...]) -> list[Any] | None:
    """The list of records in a decoded body; None when the answer is no list."""
    value: Any = body
    for name in at:
        value = value.get(name) if isinstance(value, dict) else None
    return value if isinstance(value, list) else None
