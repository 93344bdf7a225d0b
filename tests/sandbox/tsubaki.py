"""つばきケア: basic sign-in, Link headers, full lists only, its own visit numbers, one limit for the whole vendor."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

from fastapi import APIRouter, Query, Request, Response

from sandbox import tsubaki_shapes as shapes
from sandbox.answers import Answer, RefusedError
from sandbox.incoming import accepted_visit, found_visit, own_organization, page_size, reply, visit_body
from sandbox.keys import SignIn
from sandbox.maker import RecordFields
from sandbox.organization import Organization
from sandbox.settings import ProfileName
from sandbox.visit_rules import MakerKeys, VisitFields, check_visit, known_to
from sandbox.visits import Visit
from sandbox.world import caller, world_of

router = APIRouter()
PageSize = Annotated[int, Query(ge=1)]
VISIT_FIELDS = VisitFields(
    external_id="external_id",
    office="facility_code",
    patient="user_no",
    practitioner="staff_no",
    statuses=frozenset({"1", "2", "9"}),
)
KEYS = MakerKeys(
    office=shapes.office_key,
    patient=shapes.patient_key,
    practitioner=shapes.practitioner_key,
    ordinal=shapes.ordinal_of,
)


class Tsubaki:
    """The ways of つばきケア."""

    name: ProfileName = "tsubaki"
    sign_in: SignIn = "basic"
    limit_scope: Literal["organization", "vendor"] = "vendor"
    idempotent = False
    records_at: tuple[str, ...] = ("result", "items")
    record_fields: Mapping[str, RecordFields] = {
        "/api/facilities": RecordFields(key="facility_code", text="name", date="updated_at"),
        "/api/staff": RecordFields(key="staff_no", text="full_name", date="joined_on"),
        "/api/users": RecordFields(key="user_no", text="full_name", date="birthday"),
        "/api/visits": RecordFields(key="visit_no", text="note", date="start_at"),
    }
    router = router

    def error_body(self, code: str, **more: str) -> dict[str, Any]:
        return {"result": None, "error": {"code": code, **more}}

    def first_page_query(self, query: str) -> str:
        return urlencode([(name, value) for name, value in parse_qsl(query) if name != "cursor"])

    def looped(self, answer: Answer, *, url: str) -> Answer:
        others = tuple((name, value) for name, value in answer.headers if name.lower() != "link")
        return Answer(answer.status, answer.body, answer.content_type, (*others, ("link", f'<{url}>; rel="next"')))

    def repeated(self, first: Answer, answer: Answer) -> Answer:
        return answer.with_body(first.body)


@router.get("/api/visits")
async def visits(
    request: Request,
    per_page: PageSize = 50,
    cursor: str | None = None,
    external_id: str | None = None,
    week: str | None = None,
    corp: str | None = None,
) -> Response:
    owner = own_organization(request, corp)
    held = world_of(request).visits.of(owner, week=week, external_id=external_id)
    return _page(request, [_written(visit) for visit in held], per_page=per_page, cursor=cursor)


@router.get("/api/visits/{visit_no}")
async def visit(request: Request, visit_no: str) -> Response:
    return reply({"result": _written(found_visit(world_of(request), caller(request), visit_no))})


@router.post("/api/visits")
async def create_visit(request: Request) -> Response:
    return await _keep(request, None, status=201)


@router.put("/api/visits/{visit_no}")
async def change_visit(request: Request, visit_no: str) -> Response:
    found_visit(world_of(request), caller(request), visit_no)
    return await _keep(request, visit_no, status=200)


@router.delete("/api/visits/{visit_no}")
async def delete_visit(request: Request, visit_no: str) -> Response:
    world = world_of(request)
    found_visit(world, caller(request), visit_no)
    world.drop_visit(visit_no)
    return reply({"result": {"visit_no": visit_no}})


@router.get("/api/users/{user_no}")
async def user(request: Request, user_no: str) -> Response:
    record = world_of(request).organization(caller(request)).patient(shapes.ordinal_of(user_no))
    if record is None or shapes.patient_key(record.ordinal) != user_no:
        raise RefusedError(404, "not_found")
    return reply({"result": shapes.patient(record)})


@router.get("/api/{entity}")
async def listing(
    request: Request,
    entity: Literal["facilities", "staff", "users"],
    per_page: PageSize = 50,
    cursor: str | None = None,
    corp: str | None = None,
) -> Response:
    owner = world_of(request).organization(own_organization(request, corp))
    return _page(request, _records(owner, entity), per_page=per_page, cursor=cursor)


async def _keep(request: Request, visit_no: str | None, *, status: int) -> Response:
    world, organization = world_of(request), caller(request)
    body = await visit_body(request)
    # After the last await: two creations at the same time must not draw one number.
    visit_no = visit_no or f"V{world.visits.next_number():07}"
    check_visit(body, VISIT_FIELDS, known_to(world.organization(organization), KEYS))
    kept = world.keep_visit(accepted_visit(organization, visit_no, body["external_id"], body))
    return reply({"result": {"visit_no": kept.key, "external_id": kept.external_id}}, status)


def _records(owner: Organization, entity: str) -> list[dict[str, Any]]:
    if entity == "facilities":
        return [shapes.office(record) for record in owner.offices]
    if entity == "staff":
        return [shapes.practitioner(record) for record in owner.practitioners]
    return [shapes.patient(record) for record in owner.patients()]


def _page(request: Request, records: list[dict[str, Any]], *, per_page: int, cursor: str | None) -> Response:
    per_page = page_size(per_page, world_of(request).settings.max_page_size)
    start = _offset(cursor)
    end = start + per_page
    answer = reply({"result": {"items": records[start:end]}, "total": len(records)})
    if end < len(records):
        address = request.url.include_query_params(cursor=_cursor(end))
        answer.headers["link"] = f'<{address}>; rel="next"'
    return answer


def _cursor(offset: int) -> str:
    return base64.urlsafe_b64encode(f"after:{offset}".encode()).decode().rstrip("=")


def _offset(cursor: str | None) -> int:
    """Raises RefusedError 400 for a cursor that was not given out."""
    if cursor is None:
        return 0
    try:
        word, _, offset = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode().partition(":")
        if word == "after":
            return int(offset)
    except (binascii.Error, ValueError) as error:
        raise RefusedError(400, "bad_cursor") from error
    raise RefusedError(400, "bad_cursor")


def _written(visit: Visit) -> dict[str, Any]:
    return {
        **visit.body,
        "visit_no": visit.key,
        "external_id": visit.external_id,
        "week": visit.week,
        "received_at": visit.received_at,
    }
