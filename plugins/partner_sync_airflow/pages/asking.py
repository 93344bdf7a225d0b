"""What every route needs: the report as its reader may see it, and what the address has narrowed it to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, HTTPException, Query, Request

from partner_sync.report.reading import Chosen, Report, Row, known_partners, reading
from partner_sync_airflow.pages.database import opened
from partner_sync_airflow.pages.rights import Reader, Visitor

#: PostgreSQL takes no NUL.
NO_NUL = r"^[^\x00]*$"
#: Our own codes: what cannot be one is refused before it reaches anything.
Code = Annotated[str, Query(max_length=100, pattern=NO_NUL)]
PageNumber = Annotated[int, Query(ge=1, le=10_000)]


def chosen(organization: Code = "", entity: Code = "", expectation: Code = "", severity: Code = "") -> Chosen:
    """What the address narrows a page to."""
    return Chosen(organization, entity, expectation, severity)


Narrowed = Annotated[Chosen, Depends(chosen)]


def note_visitor(request: Request, person: Reader) -> Visitor:
    """The person, also for the frame of the page."""
    request.state.quality_visitor = person
    return person


Person = Annotated[Visitor, Depends(note_visitor)]


@contextmanager
def report_for(person: Visitor, *, partner: str = "") -> Iterator[tuple[Report, list[Row]]]:
    """The report and the partners in it; raises HTTPException 404 for a partner that is not for this person."""
    if partner and not person.may_see(partner):
        raise HTTPException(HTTPStatus.NOT_FOUND)
    with opened() as conn, reading(conn):
        partners = [row for row in known_partners(conn) if person.may_see(row["partner"])]
        if partner and partner not in {row["partner"] for row in partners}:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        shown = [partner] if partner else [row["partner"] for row in partners]
        yield Report(conn, shown), partners
