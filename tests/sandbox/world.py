"""The state of one server. Whatever must outlive the process happens through ``record``: applied, then written down."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from fastapi import Request

from sandbox.answers import Answer
from sandbox.faults import Faults
from sandbox.idempotency import IdempotencyKeys
from sandbox.journal import Journal
from sandbox.keys import Keys
from sandbox.limits import Limiter
from sandbox.maker import Maker
from sandbox.organization import Organization
from sandbox.people import TOKYO
from sandbox.received import Received
from sandbox.settings import Settings
from sandbox.visits import Visit, Visits


class World:
    """Everything that one practice partner knows; used from one event loop only, so nothing is locked."""

    def __init__(self, maker: Maker, settings: Settings, *, journal: Journal, control_token: str) -> None:
        self.maker = maker
        self.control_token = control_token
        self._journal = journal
        self._first_settings = settings
        self._start(settings)
        for event in journal.events():
            self._apply(event)

    def _start(self, settings: Settings) -> None:
        self.settings = settings
        self._organizations: dict[str, Organization] = {}
        self.keys = Keys(settings.organizations, kind=self.maker.sign_in, profile=self.maker.name, seed=settings.seed)
        self.limiter = Limiter(settings.limit, scope=self.maker.limit_scope)
        self.visits = Visits()
        self.idempotency = IdempotencyKeys()
        self.received = Received()
        self.faults = Faults()

    def organization(self, name: str) -> Organization:
        """The records of an organization, made when first asked for."""
        if name not in self._organizations:
            self._organizations[name] = Organization(self.settings, name, salt=self.maker.name)
        return self._organizations[name]

    def reset(self) -> None:
        """Back to the start, journal included."""
        self._journal.clear()
        self._start(self._first_settings)

    def close(self) -> None:
        self._journal.close()

    def keep_visit(self, visit: Visit) -> Visit:
        self.record("visit", visit=asdict(visit))
        return self.visits.held(visit.key)

    def drop_visit(self, key: str) -> None:
        self.record("visit_gone", key=key)

    def keep_answer(self, organization: str, key: str, request: str, answer: Answer) -> None:
        """Store the answer of an idempotency key."""
        body = base64.b64encode(answer.body).decode()
        self.record("answer", organization=organization, key=key, request=request, status=answer.status, body=body)

    def change_patients(self, organization: str, ordinals: Sequence[int]) -> None:
        self.record("changed", organization=organization, ordinals=list(ordinals), at=_now())

    def delete_patients(self, organization: str, ordinals: Sequence[int]) -> None:
        self.record("deleted", organization=organization, ordinals=list(ordinals), at=_now())

    def add_late_office(self, organization: str) -> None:
        self.record("late_office", organization=organization, at=_now())

    def change_key(self, organization: str) -> None:
        self.record("key", organization=organization, turn=self.keys.next_turn(organization))

    def change_settings(self, changes: dict[str, Any]) -> None:
        """Raises pydantic's ValidationError, before anything is written down."""
        self.settings.changed(changes)
        self.record("settings", changes=changes)

    def record(self, kind: str, **values: Any) -> None:
        event = {"event": kind, **values}
        self._apply(event)
        self._journal.add(event)

    def _apply(self, event: dict[str, Any]) -> None:
        appliers: dict[str, Callable[[dict[str, Any]], object]] = {
            "visit": lambda e: self.visits.keep(Visit(**e["visit"])),
            "visit_gone": lambda e: self.visits.drop(e["key"]),
            "answer": self._apply_answer,
            "changed": lambda e: self.organization(e["organization"]).change(e["ordinals"], _at(e)),
            "deleted": lambda e: self.organization(e["organization"]).delete(e["ordinals"], _at(e)),
            "late_office": lambda e: self.organization(e["organization"]).add_late_office(_at(e)),
            "key": lambda e: self.keys.change(e["organization"], e["turn"]),
            "settings": self._apply_settings,
        }
        appliers[event["event"]](event)

    def _apply_answer(self, event: dict[str, Any]) -> None:
        answer = Answer(event["status"], base64.b64decode(event["body"]))
        self.idempotency.finish(event["organization"], event["key"], event["request"], answer)

    def _apply_settings(self, event: dict[str, Any]) -> None:
        before, self.settings = self.settings, self.settings.changed(event["changes"])
        self.limiter = Limiter(self.settings.limit, scope=self.maker.limit_scope)
        sizes = {"offices", "practitioners", "patients", "dirty_share"}
        if before.model_dump(include=sizes) != self.settings.model_dump(include=sizes):
            self._organizations = {}


def world_of(request: Request) -> World:
    world: World = request.app.state.world
    return world


def caller(request: Request) -> str:
    """The organization that signed in."""
    organization: str = request.state.organization
    return organization


def _now() -> str:
    return datetime.now(TOKYO).isoformat()


def _at(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["at"])
