"""ほのか記録: bearer keys, page numbers, incremental lists with deletions, idempotency keys, limits an organization."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import APIRouter, Query, Request, Response

from sandbox import honoka_shapes as shapes
from sandbox.answers import Answer, RefusedError, page_of
from sandbox.incoming import (
    accepted_visit,
    found_visit,
    own_organization,
    own_visit,
    page_size,
    reply,
    time_parameter,
    visit_body,
)
from sandbox.keys import SignIn
from sandbox.maker import RecordFields
from sandbox.organization import Organization
from sandbox.settings import ProfileName
from sandbox.visit_rules import MakerKeys, VisitFields, check_visit, known_to
from sandbox.visits import Visit
from sandbox.world import caller, world_of

router = APIRouter()
Page = Annotated[int, Query(ge=1)]
VISIT_FIELDS = VisitFields(
    external_id=None,
    office="office_id",
    patient="patient_id",
    practitioner="staff_id",
    statuses=frozenset({"planned", "performed", "cancelled"}),
)
KEYS = MakerKeys(
    office=shapes.office_key,
    patient=shapes.patient_key,
    practitioner=shapes.practitioner_key,
    ordinal=shapes.ordinal_of,
)


class Honoka:
    """The ways of ほのか記録."""

    name: ProfileName = "honoka"
    sign_in: SignIn = "bearer"
    limit_scope: Literal["organization", "vendor"] = "organization"
    idempotent = True
    records_at: tuple[str, ...] = ("data",)
    record_fields: Mapping[str, RecordFields] = {
        "/v1/offices": RecordFields(key="id", text="name", date="updated_at"),
        "/v1/practitioners": RecordFields(key="id", text="name.family", date="valid_from"),
        "/v1/patients": RecordFields(key="id", text="name.family", date="birth"),
        "/v1/visits": RecordFields(key="key", text="note", date="start_at"),
    }
    router = router

    def error_body(self, code: str, **more: str) -> dict[str, Any]:
        return {"error": {"code": code, **more}}

    def first_page_query(self, query: str) -> str:
        return urlencode([(name, value) for name, value in parse_qsl(query) if name != "page"])

    def looped(self, answer: Answer, *, url: str) -> Answer:
        """The last page runs ahead of whoever asks."""
        body = page_of(answer.body)
        asked = int(dict(parse_qsl(url.partition("?")[2])).get("page", "1"))
        body["pagination"] |= {"page": 1, "last_page": asked + 1}
        return answer.with_body(orjson.dumps(body))

    def repeated(self, first: Answer, answer: Answer) -> Answer:
        pagination = page_of(answer.body)["pagination"]
        return answer.with_body(orjson.dumps({**page_of(first.body), "pagination": pagination}))


@router.get("/v1/visits")
async def visits(
    request: Request, page: Page = 1, limit: Page = 100, week: str | None = None, organization: str | None = None
) -> Response:
    owner = own_organization(request, organization)
    held = world_of(request).visits.of(owner, week=week)
    return _page(request, [_written(visit) for visit in held], page=page, limit=limit)


@router.get("/v1/visits/{key}")
async def visit(request: Request, key: str) -> Response:
    return reply({"data": _written(found_visit(world_of(request), caller(request), key))})


@router.put("/v1/visits/{key}")
async def put_visit(request: Request, key: str) -> Response:
    world, organization = world_of(request), caller(request)
    known = own_visit(world, organization, key)
    body = await visit_body(request)
    check_visit(body, VISIT_FIELDS, known_to(world.organization(organization), KEYS))
    kept = world.keep_visit(accepted_visit(organization, key, key, body))
    facts = {"key": key, "version": kept.version, "received_at": kept.received_at}
    return reply({"data": facts}, 200 if known else 201)


@router.delete("/v1/visits/{key}")
async def delete_visit(request: Request, key: str) -> Response:
    world = world_of(request)
    found_visit(world, caller(request), key)
    world.drop_visit(key)
    return Response(status_code=204)


@router.get("/v1/patients/{key}")
async def patient(request: Request, key: str) -> Response:
    record = world_of(request).organization(caller(request)).patient(shapes.ordinal_of(key))
    if record is None or shapes.patient_key(record.ordinal) != key:
        raise RefusedError(404, "not_found")
    return reply({"data": shapes.patient(record)})


@router.get("/v1/{entity}")
async def listing(
    request: Request,
    entity: Literal["offices", "practitioners", "patients"],
    page: Page = 1,
    limit: Page = 100,
    organization: str | None = None,
    updated_since: str | None = None,
) -> Response:
    owner = world_of(request).organization(own_organization(request, organization))
    since = time_parameter(updated_since)
    if since is None:
        records = _records(owner, entity)
    else:
        # RFC 3339 texts of one offset sort as times do, but the caller's offset is its own: compare times.
        both = _records(owner, entity) + _tombstones(owner, entity)
        fresh = [record for record in both if (time_parameter(record["updated_at"]) or since) >= since]
        records = sorted(fresh, key=lambda record: str(record["id"]))
    return _page(request, records, page=page, limit=limit)


def _records(owner: Organization, entity: str) -> list[dict[str, Any]]:
    if entity == "offices":
        return [shapes.office(record) for record in owner.offices]
    if entity == "practitioners":
        return [shapes.practitioner(record) for record in owner.practitioners]
    return [shapes.patient(record) for record in owner.patients()]


def _tombstones(owner: Organization, entity: str) -> list[dict[str, Any]]:
    return [shapes.tombstone(ordinal, at) for ordinal, at in owner.deleted.items()] if entity == "patients" else []


def _page(request: Request, records: list[dict[str, Any]], *, page: int, limit: int) -> Response:
    limit = page_size(limit, world_of(request).settings.max_page_size)
    pagination = {
        "page": page,
        "limit": limit,
        "last_page": max(1, math.ceil(len(records) / limit)),
        "total": len(records),
    }
    return reply({"data": records[(page - 1) * limit : page * limit], "pagination": pagination})


def _written(visit: Visit) -> dict[str, Any]:
    return {
        **visit.body,
        "key": visit.key,
        "version": visit.version,
        "week": visit.week,
        "received_at": visit.received_at,
    }
