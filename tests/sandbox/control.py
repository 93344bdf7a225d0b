"""The control calls under /practice/: what arrived, what is held, and the switches."""

from __future__ import annotations

import hmac
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Depends, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sandbox import honoka_shapes, tsubaki_shapes
from sandbox.answers import RefusedError
from sandbox.dirt import KINDS, UNKNOWN_OFFICE
from sandbox.faults import Fault
from sandbox.world import World, world_of

SHAPES = {"honoka": honoka_shapes, "tsubaki": tsubaki_shapes}


async def _controlled(request: Request) -> None:
    token = request.headers.get("X-Practice-Token", "")
    if not hmac.compare_digest(token.encode(), world_of(request).control_token.encode()):
        raise RefusedError(403, "no_control")


health_router = APIRouter(prefix="/practice")
router = APIRouter(prefix="/practice", dependencies=[Depends(_controlled)])


class Choice(BaseModel):
    """Which patients: by key, or so many of the clean ones, in the order of the key."""

    model_config = ConfigDict(extra="forbid")

    organization: str
    count: int | None = Field(default=None, ge=0)
    keys: list[str] | None = None


class OneOrganization(BaseModel):
    """An organization by name."""

    model_config = ConfigDict(extra="forbid")

    organization: str


@health_router.get("/health")
async def health(request: Request) -> dict[str, str]:
    return {"status": "ok", "profile": world_of(request).maker.name}


@router.get("/keys")
async def keys(request: Request) -> dict[str, Any]:
    return {name: asdict(key) for name, key in world_of(request).keys.all().items()}


@router.post("/keys/{organization}")
async def change_key(request: Request, organization: str) -> dict[str, Any]:
    world = world_of(request)
    _known(world, organization)
    world.change_key(organization)
    return asdict(world.keys.of(organization))


@router.get("/received")
async def received(
    request: Request,
    organization: str | None = None,
    method: str | None = None,
    template: str | None = None,
    after: int = 0,
) -> dict[str, Any]:
    calls = world_of(request).received.calls(after=after, organization=organization, method=method, template=template)
    return {"calls": calls}


@router.get("/visits")
async def visits(request: Request, organization: str | None = None) -> dict[str, Any]:
    held = world_of(request).visits.all()
    return {"visits": [asdict(visit) for visit in held if organization in {None, visit.organization}]}


@router.get("/duplicates")
async def duplicates(request: Request) -> dict[str, Any]:
    return {"duplicates": world_of(request).visits.duplicates()}


@router.get("/dirty")
async def dirty(request: Request) -> dict[str, Any]:
    world = world_of(request)
    return {name: _dirty_of(world, name) for name in world.settings.organizations}


@router.get("/summary")
async def summary(request: Request) -> dict[str, Any]:
    world = world_of(request)
    return {name: _summary_of(world, name) for name in world.settings.organizations}


@router.get("/settings")
async def settings(request: Request) -> dict[str, Any]:
    return world_of(request).settings.model_dump(mode="json")


@router.put("/settings")
async def change_settings(request: Request, changes: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
    if not changes.keys() <= _CHANGEABLE:
        raise RefusedError(400, "not_changeable")
    try:
        world_of(request).change_settings(changes)
    except ValidationError as error:
        raise RefusedError(400, "bad_settings") from error
    return world_of(request).settings.model_dump(mode="json")


@router.post("/patients/change")
async def change_patients(request: Request, choice: Choice) -> dict[str, Any]:
    world = world_of(request)
    ordinals = _chosen(world, choice)
    world.change_patients(choice.organization, ordinals)
    return _keys_of(world, ordinals)


@router.post("/patients/delete")
async def delete_patients(request: Request, choice: Choice) -> dict[str, Any]:
    world = world_of(request)
    ordinals = _chosen(world, choice)
    world.delete_patients(choice.organization, ordinals)
    return _keys_of(world, ordinals)


@router.post("/offices/add")
async def add_office(request: Request, wanted: OneOrganization) -> dict[str, str]:
    world = world_of(request)
    _known(world, wanted.organization)
    world.add_late_office(wanted.organization)
    return {"key": SHAPES[world.maker.name].office_key(UNKNOWN_OFFICE)}


@router.post("/faults")
async def add_fault(request: Request, fault: Fault) -> dict[str, int]:
    return {"id": world_of(request).faults.add(fault)}


@router.get("/faults")
async def faults(request: Request) -> dict[str, Any]:
    return {"faults": world_of(request).faults.listed()}


@router.delete("/faults")
async def clear_faults(request: Request) -> dict[str, Any]:
    world_of(request).faults.clear()
    return {"faults": []}


@router.delete("/faults/{number}")
async def remove_fault(request: Request, number: int) -> dict[str, Any]:
    if not world_of(request).faults.remove(number):
        raise RefusedError(404, "not_found")
    return {"faults": world_of(request).faults.listed()}


@router.post("/reset")
async def reset(request: Request) -> dict[str, str]:
    world_of(request).reset()
    return {"status": "ok"}


_CHANGEABLE = {
    *("offices", "practitioners", "patients", "dirty_share"),
    *("limit", "say_scope", "rate_limit_fields", "max_page_size"),
}


def _known(world: World, organization: str) -> None:
    if organization not in world.settings.organizations:
        raise RefusedError(404, "not_found")


def _chosen(world: World, choice: Choice) -> list[int]:
    """The ordinals of a choice; raises RefusedError for unknown ones, or when neither keys nor a count is given."""
    _known(world, choice.organization)
    organization = world.organization(choice.organization)
    if choice.keys is None:
        if choice.count is None:
            raise RefusedError(400, "keys_or_count")
        return organization.clean_ordinals()[: choice.count]
    ordinals = [SHAPES[world.maker.name].ordinal_of(key) for key in choice.keys]
    if not all(organization.knows(ordinal) for ordinal in ordinals):
        raise RefusedError(404, "not_found")
    return ordinals


def _dirty_of(world: World, name: str) -> dict[str, Any]:
    organization, shapes = world.organization(name), SHAPES[world.maker.name]
    by_kind = {kind: organization.dirty_ordinals(kind) for kind in KINDS}
    return {
        kind: {"count": len(ordinals), "keys": [shapes.patient_key(ordinal) for ordinal in ordinals]}
        for kind, ordinals in by_kind.items()
    }


def _keys_of(world: World, ordinals: list[int]) -> dict[str, Any]:
    return {"keys": [SHAPES[world.maker.name].patient_key(ordinal) for ordinal in ordinals]}


def _summary_of(world: World, name: str) -> dict[str, Any]:
    organization = world.organization(name)
    return {
        "offices": len(organization.offices),
        "practitioners": len(organization.practitioners),
        "patients": len(organization.patients()),
        "patients_deleted": len(organization.deleted),
        "visits": len(world.visits.of(name)),
        "calls": world.received.statuses(name),
    }
