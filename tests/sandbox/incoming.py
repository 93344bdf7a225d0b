"""Reading a maker's requests."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import orjson
from fastapi import Request, Response

from sandbox.answers import JSON, RefusedError
from sandbox.visits import Visit, read_time, week_of
from sandbox.world import World, caller


def reply(body: object, status: int = 200) -> Response:
    return Response(orjson.dumps(body), status, media_type=JSON)


async def visit_body(request: Request) -> dict[str, Any]:
    """The JSON object that was sent; raises RefusedError 400."""
    try:
        body = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise RefusedError(400, "bad_json") from error
    if not isinstance(body, dict):
        raise RefusedError(400, "bad_json")
    return body


def own_organization(request: Request, named: str | None) -> str:
    """The caller's organization; raises RefusedError 403 when another one is named."""
    organization = caller(request)
    if named is not None and named != organization:
        raise RefusedError(403, "forbidden")
    return organization


def own_visit(world: World, organization: str, key: str) -> Visit | None:
    """The caller's visit under a key; raises RefusedError 403 when it is another organization's."""
    visit = world.visits.find(key)
    if visit is not None and visit.organization != organization:
        raise RefusedError(403, "forbidden")
    return visit


def found_visit(world: World, organization: str, key: str) -> Visit:
    """As ``own_visit``; raises RefusedError 404 when there is none."""
    visit = own_visit(world, organization, key)
    if visit is None:
        raise RefusedError(404, "not_found")
    return visit


def time_parameter(text: str | None) -> datetime | None:
    """A time in the query; raises RefusedError 400 for what is no time."""
    moment = read_time(text)
    if text is not None and moment is None:
        raise RefusedError(400, "bad_request")
    return moment


def page_size(asked: int, largest: int) -> int:
    """Raises RefusedError 400 for a page larger than the partner gives."""
    if asked > largest:
        raise RefusedError(400, "page_too_large")
    return asked


def accepted_visit(organization: str, key: str, external_id: str, body: dict[str, Any]) -> Visit:
    """A checked body as a visit received now."""
    start = read_time(body["start_at"])
    if start is None:
        raise RefusedError(400, "bad_request")
    return Visit(
        organization=organization,
        key=key,
        external_id=external_id,
        version=1,
        week=week_of(start),
        received_at=datetime.now().astimezone().isoformat(),
        body=body,
    )
