"""The quarantine: who waits and why; values only by an audited POST of who has the right."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Form, HTTPException, Path, Request
from fastapi.responses import RedirectResponse, Response, StreamingResponse
from psycopg import ServerCursor

from partner_sync.catalogue import entries, sentence
from partner_sync.database import Connection, translated_errors
from partner_sync.quality.release import release as release_record
from partner_sync.report.moments import TOKYO
from partner_sync.report.office_file import Encoding, file_of
from partner_sync.report.reading import Report, Row
from partner_sync.report.texts import Texts
from partner_sync.statements import statement
from partner_sync_airflow.pages.asking import NO_NUL, Code, Narrowed, PageNumber, Person, report_for
from partner_sync_airflow.pages.database import open_database, opened
from partner_sync_airflow.pages.rendering import language, link, page
from partner_sync_airflow.pages.rights import Unmasker, Visitor

routes = APIRouter()
FormCode = Annotated[str, Form(max_length=100, pattern=NO_NUL)]
Reason = Annotated[str, Form(max_length=2000, pattern=NO_NUL)]
Content = Annotated[str, Form(pattern="^([0-9a-f]{32})?$")]
RecordId = Annotated[int, Path(ge=1, lt=2**63)]
_FETCH_ROWS = 200


@routes.get("/quarantine")
def waiting(
    request: Request, person: Person, narrowed: Narrowed, partner: Code = "", number: PageNumber = 1
) -> Response:
    """Records that wait, the oldest first."""
    with report_for(person, partner=partner) as (report, partners):
        places = report.rows("report.quarantine_places", partners=report.partners)
        listed = report.page_of(
            "report.quarantine_rows",
            number,
            partners=report.partners,
            organization=narrowed.organization,
            entity=narrowed.entity,
        )
        sentences = _sentences(report)
    return page(
        request,
        "quarantine.html",
        section="quarantine",
        partner=partner,
        partners=[row["partner"] for row in partners],
        choice=narrowed,
        places=places,
        listed=listed,
        sentences=sentences,
    )


@routes.get("/quarantine/{record}")
def one_record(request: Request, person: Person, record: RecordId, done: Code = "") -> Response:
    """One record, masked. ``done``: what came of a release, 'released' or why not."""
    with _record(person, record) as (report, row):
        values = _about(request, report, row)
    said = Texts(language(request))("record.done_released") if done == "released" else _why_not(request, done)
    return page(request, "record.html", section="quarantine", **values, said=said, seen=None)


@routes.post("/quarantine/{record}/values")
def unmasked_record(request: Request, person: Person, _unmasker: Unmasker, record: RecordId) -> Response:
    """One record with its values; the look is written down."""
    with _record(person, record) as (report, row):
        values = _about(request, report, row)
    with opened() as conn, translated_errors(), conn.transaction():
        seen = conn.execute(statement("report.read_record"), {"id": record, "who": person.name}).fetchall()
    return page(request, "record.html", section="quarantine", **values, said="", seen=seen[0] if seen else None)


@routes.post("/quarantine/{record}/release")
def release(
    request: Request, person: Person, _unmasker: Unmasker, *, record: RecordId, reason: Reason = "",
    content: Content = "",
) -> Response:  # fmt: skip
    """Let one record in, as it was shown; the next validation does it."""
    with _record(person, record), opened() as conn:
        refusal = release_record(conn, record, who=person.name, reason=reason, content=content or None)
    back = link(request, "quarantine", str(record), done=refusal or "released")
    return RedirectResponse(back, HTTPStatus.SEE_OTHER)


@routes.post("/keys/{partner}/{entity}/{expectation}")
def unmasked_keys(
    request: Request, person: Person, _unmasker: Unmasker, *, partner: str, entity: str, expectation: str,
    organization: FormCode,
) -> Response:  # fmt: skip
    """The partner's keys that fail an expectation at an organization; the look is written down."""
    with report_for(person, partner=partner):
        pass
    asked: dict[str, Any] = {
        "partner": partner,
        "organization": organization,
        "entity": entity,
        "expectation": expectation,
    }
    with opened() as conn, translated_errors(), conn.transaction():
        keys = conn.execute(statement("report.read_keys"), asked | {"who": person.name}).fetchall()
    return page(request, "keys.html", section="overview", keys=keys, **asked)


@routes.post("/quarantine-file")
def office_file(
    request: Request, person: Person, _unmasker: Unmasker, *, partner: FormCode, organization: FormCode,
    entity: FormCode = "", encoding: Annotated[Encoding, Form()] = "utf-8",
) -> Response:  # fmt: skip
    """The records of an organization that wait, as a file for the partner's office; the download is written down."""
    with report_for(person, partner=partner) as (report, _):
        sentences = _sentences(report)
        if organization not in {row["organization"] for row in report.rows("report.slices", partner=partner)}:
            raise HTTPException(HTTPStatus.NOT_FOUND)
    asked = {"partner": partner, "organization": organization, "entity": entity, "who": person.name}
    texts = Texts(language(request))

    def tell(kind: str, code: str) -> str:
        if kind in {"file", "entity"}:
            return texts.word(kind, code)
        return texts.sentence(sentences[kind, code], code=code) if (kind, code) in sentences else code

    pieces = file_of(_held_rows(asked), encoding=encoding, tell=tell)
    charset = "utf-8" if encoding == "utf-8" else "Shift_JIS"
    return StreamingResponse(
        pieces,
        media_type=f"text/csv; charset={charset}; header=present",
        headers={"content-disposition": f'attachment; filename="{_file_name(partner, organization)}"'},
    )


def _file_name(partner: str, organization: str) -> str:
    return f"quarantine-{partner}-{organization}-{datetime.now(UTC).astimezone(TOKYO):%Y%m%d}.csv"


def _held_rows(asked: dict[str, Any]) -> Iterator[Row]:
    """The rows, some at a time. The look is written and committed before this returns, before anything can be sent: a
    reader who goes away halfway has seen what was sent.
    """
    conn = open_database()
    try:
        with translated_errors():
            cursor = conn.cursor("office_file", withhold=True)
            cursor.execute(statement("report.read_open"), asked)
    except BaseException:
        conn.close()
        raise
    return _fetched(conn, cursor)


def _fetched(conn: Connection, cursor: ServerCursor[Row]) -> Iterator[Row]:
    with closing(conn), translated_errors(), cursor:
        while rows := cursor.fetchmany(_FETCH_ROWS):
            yield from rows


@contextmanager
def _record(person: Visitor, record: int) -> Iterator[tuple[Report, Row]]:
    """The report and one record; raises HTTPException 404 for one that is not there or not for this person."""
    with report_for(person) as (report, _):
        found = report.rows("report.quarantine_row", id=record)
        if not found or found[0]["partner"] not in report.partners:
            raise HTTPException(HTTPStatus.NOT_FOUND)
        yield report, found[0]


def _about(request: Request, report: Report, row: Row) -> dict[str, Any]:
    shape = report.rows("report.record_shape", id=row["id"])[0]["shape"]
    content = report.rows("report.record_content", id=row["id"])[0]["content"]
    refusal = report.rows("release_record.refusal", id=row["id"], content=content)[0]["refusal"]
    why_not = _why_not(request, refusal or "")
    return {"row": row, "shape": shape, "content": content, "sentences": _sentences(report), "why_not": why_not}


def _why_not(request: Request, code: str) -> str:
    """Why a record cannot be released, in words; empty for what is no such code."""
    return sentence(code, language(request)) if code.startswith("release_") and code in entries() else ""


def _sentences(report: Report) -> dict[tuple[str, str], Row]:
    return {(row["entity"], row["expectation"]): row for row in report.rows("report.all_expectations")}
