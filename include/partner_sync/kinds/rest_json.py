"""The kind ``rest_json``: lists by GET, visits by PUT, POST, PATCH and DELETE, everything as the partner file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal
from urllib.parse import quote
from uuid import NAMESPACE_OID, uuid5
from zoneinfo import ZoneInfo

from partner_sync.errors import (
    AnotherVisitNamedError,
    ConfigError,
    PartnerSyncError,
    RejectedRequestError,
    UnmappableVisitError,
    VisitGoneError,
)
from partner_sync.http.client import Answer, PartnerClient, Request
from partner_sync.http.outcomes import Intent, unreadable
from partner_sync.kinds.interface import (
    Accepted,
    Access,
    Action,
    Capabilities,
    Gate,
    HeldVisit,
    LookUp,
    Page,
    Presence,
    Quota,
    VisitCall,
    VisitPage,
)
from partner_sync.kinds.listing import Listing
from partner_sync.kinds.rest_batch import BatchSender
from partner_sync.kinds.visit_body import VisitBody, name_or_none
from partner_sync.kinds.visit_list import Differences, VisitListing
from partner_sync.partners.converters import Unfit
from partner_sync.partners.model import Partner
from partner_sync.partners.paths import holds, value_at
from partner_sync.partners.push import BatchCall, Call, Push, ReadBack

_GONE = frozenset({404, 410})
_ABSENT = Presence(found="absent")


def capabilities(partner: Partner) -> Capabilities:
    """What a rest_json partner can do, as its file says."""
    entities = partner.master.entities.values() if partner.master else ()
    push = partner.push
    creating = (push.put, push.post) if push else ()
    return Capabilities(
        incremental=any(entity.incremental for entity in entities),
        deletes=any(entity.deleted_when for entity in entities),
        read_back=push is not None and push.read_back is not None,
        batch=push is not None and push.batch is not None,
        cancel=push is not None,
        idempotency_key=push is not None and all(call.idempotency_header for call in creating if call),
        list_visits=push is not None and push.visits_list is not None,
    )


class RestJsonKind:
    """A rest_json partner as one organization sees it. Serves several threads."""

    def __init__(self, partner: Partner, access: Access, gate: Gate) -> None:
        self.can = capabilities(partner)
        self._partner = partner
        self._client = PartnerClient(partner, access, gate)
        self._body = VisitBody(partner.push) if partner.push else None
        self._differences = Differences(partner.push) if partner.push else None

    def close(self) -> None:
        self._client.close()

    @property
    def policies(self) -> tuple[Quota, ...]:
        return self._client.policies

    def pages(
        self, entity: str, *, since: datetime | None = None, position: Mapping[str, Any] | None = None
    ) -> Iterator[Page]:
        sections: Mapping[Any, Any] = self._partner.master.entities if self._partner.master else {}
        if entity not in sections:
            raise ConfigError(problem=f"The partner file of {self._partner.slug} has no entity {entity}.")
        section = sections[entity]
        parameters = {name: _written(value) for name, value in section.parameters.items()}
        if since is not None and section.incremental is not None:
            zone = ZoneInfo(section.incremental.zone) if section.incremental.zone else UTC
            parameters[section.incremental.parameter] = since.astimezone(zone).isoformat(timespec="seconds")
        listing = Listing(
            client=self._client, name=entity, path=section.path, parameters=parameters,
            records_at=section.records_at, style=section.paging,
        )  # fmt: skip
        return listing.pages(position)

    def request_body(self, call: VisitCall) -> Mapping[str, object]:
        """Raises UnmappableVisitError when a value has no form at the partner."""
        return self._written(call, self._call_for(call))

    def send(self, call: VisitCall) -> Accepted:
        section, ref = self._call_for(call), call.partner_ref
        if "{ref}" in section.path and ref is None:
            # The first answer was lost, or the visit never came: only the partner knows its name for it.
            known = self.read_back(call) if self.can.read_back else _ABSENT
            if known.partner_ref is None:
                return self._nothing_to_withdraw(section, known)
            ref = known.partner_ref
        header = section.idempotency_header
        request = Request(
            path=_filled(section.path, call.visit_id, ref=ref),
            headers={header: self._key(call, section)} if header else {},
            body=self._written(call, section) if section.has_body else None,
        )
        intent = Intent(
            partner=self._partner.slug, endpoint=section.endpoint, changes=True, keyed=header is not None,
            absent_is_fine=call.action == "withdraw",
        )  # fmt: skip
        answer = self._called(intent, request, gone_means_new="{ref}" in section.path and self._push.post is not None)
        if answer.status in _GONE:
            return Accepted(status=answer.status, partner_ref=ref)
        self._names_ours(intent, section, answer=answer, visit_id=call.visit_id)
        return Accepted(status=answer.status, partner_ref=self._accepted_ref(intent, section, answer=answer) or ref)

    def batch_size(self, action: Action, *, named: bool) -> int:
        section = self._push.batch_of(action, named=named)
        return section.size if section else 1

    def send_batch(self, calls: Sequence[VisitCall]) -> Sequence[Accepted | PartnerSyncError]:
        section = self._push.batch_of(calls[0].action, named=calls[0].partner_ref is not None)
        if section is None:
            raise ConfigError(problem=f"The partner file of {self._partner.slug} has no batch for these visits.")
        return BatchSender(self._client, self._push, section, written=self._written).send(calls)

    def endpoint_of(self, what: Action | Literal["read_back"], *, named: bool) -> str:
        if what == "read_back":
            return self._push.read_back.endpoint if self._push.read_back else ""
        batched = self._push.batch_of(what, named=named)
        return batched.endpoint if batched else self._section(what, named=named).endpoint

    def read_back(self, call: VisitCall, look_up: LookUp | None = None) -> Presence:
        section = self._push.read_back
        if section is None:
            raise ConfigError(problem=f"The partner file of {self._partner.slug} has no read_back.")
        values = {**call.values, "visit_id": call.visit_id, "week": call.week}
        parameters = {name: _written(values.get(value)) for name, value in section.parameters.items()}
        if section.records_at is None:
            return self._presence(call, section, records=[self._one(call, section, parameters=parameters)])
        listing = Listing(
            client=self._client, name="visits", path=section.path, parameters=parameters,
            records_at=section.records_at, style=section.paging,
        )  # fmt: skip
        look_up = look_up or LookUp()
        for page in listing.pages(look_up.position):
            ours = [each for each in page.records if name_or_none(value_at(each, section.key_at)) == call.visit_id]
            look_up.note(self._presence(call, section, records=ours), page.next_position)
        return look_up.so_far

    def visits(
        self, week: date, organization: str, *, position: Mapping[str, Any] | None = None
    ) -> Iterator[VisitPage]:
        if self._push.visits_list is None:
            raise ConfigError(problem=f"The partner file of {self._partner.slug} has no list of visits.")
        listing = VisitListing(client=self._client, section=self._push.visits_list)
        return listing.pages(week, organization, position=position)

    def differences(self, held: HeldVisit, values: Mapping[str, object]) -> tuple[str, ...]:
        return self._differences.between(held.record, values) if self._differences else ()

    @property
    def _push(self) -> Push:
        if self._partner.push is None:
            raise ConfigError(problem=f"The partner file of {self._partner.slug} has no push.")
        return self._partner.push

    def _call_for(self, call: VisitCall) -> Call:
        return self._section(call.action, named=call.partner_ref is not None)

    def _section(self, action: Action, *, named: bool) -> Call:
        if action == "withdraw":
            return self._push.withdraw
        return self._push.put if named or self._push.post is None else self._push.post

    def _key(self, call: VisitCall, section: Call) -> str:
        """The idempotency key. An item that was to change a visit and then creates it is another request (see the
        draft-ietf-httpapi-idempotency-key-header: a key may not come again with another one).
        """
        if self._push.post is None or section is not self._push.put:
            return call.idempotency_key
        return str(uuid5(NAMESPACE_OID, f"put/{call.idempotency_key}"))

    def _called(self, intent: Intent, request: Request, *, gone_means_new: bool) -> Answer:
        try:
            return self._client.call(intent, request)
        except RejectedRequestError as error:
            status = error.facts.get("status")
            if gone_means_new and status in _GONE:
                raise VisitGoneError(partner=self._partner.slug, endpoint=intent.endpoint, status=status) from None
            raise

    def _names_ours(self, intent: Intent, section: Call, *, answer: Answer, visit_id: str) -> None:
        """Raises AnotherVisitNamedError when the answer names another visit; one that names none says nothing."""
        if section.key_at is None:
            return
        named = value_at(self._client.decoded(intent, answer), section.key_at)
        if named not in (None, "") and name_or_none(named) != visit_id:
            raise AnotherVisitNamedError(partner=self._partner.slug, endpoint=intent.endpoint)

    def _nothing_to_withdraw(self, section: Call, known: Presence) -> Accepted:
        if known.found == "absent" and self.can.read_back:
            return Accepted(status=404)
        raise UnmappableVisitError(
            partner=self._partner.slug, endpoint=section.endpoint, status=0, fields=("the partner's name of the visit",)
        )

    def _written(self, call: VisitCall, section: Call | BatchCall) -> dict[str, object]:
        try:
            return self._body.written(call.values) if self._body else {}
        except Unfit as unfit:
            raise UnmappableVisitError(
                partner=self._partner.slug, endpoint=section.endpoint, status=0, fields=(unfit.code,)
            ) from None

    def _accepted_ref(self, intent: Intent, section: Call, *, answer: Answer) -> str | None:
        """The partner's name for the visit, once the answer has shown that it is a success indeed."""
        if section.accepted_status and answer.status not in section.accepted_status:
            raise unreadable(intent, answer.status, problem=f"status {answer.status} is no acceptance there")
        creates = section is self._push.post
        if not (creates or section.accepted_at):
            return None
        body = self._client.decoded(intent, answer)
        if section.accepted_at and value_at(body, section.accepted_at) is None:
            raise unreadable(intent, answer.status, problem=f"there is nothing at {section.accepted_at}")
        ref = name_or_none(value_at(body, self._push.partner_ref)) if self._push.partner_ref else None
        if creates and ref is None:
            raise unreadable(intent, answer.status, problem="it does not name the visit")
        return ref

    def _one(self, call: VisitCall, section: ReadBack, *, parameters: Mapping[str, str | int]) -> object:
        intent = Intent(partner=self._partner.slug, endpoint=section.endpoint, absent_is_fine=True)
        path = _filled(section.path, call.visit_id, ref=call.partner_ref)
        answer = self._client.call(intent, Request(path=path, parameters=parameters))
        if answer.status in _GONE:
            return None
        found = value_at(self._client.decoded(intent, answer), section.record_at)
        if not isinstance(found, dict):
            where = f"at {section.record_at}" if section.record_at else "in it"
            raise unreadable(intent, answer.status, problem=f"there is no visit {where}")
        return found

    def _presence(self, call: VisitCall, section: ReadBack, *, records: list[object]) -> Presence:
        gone = holds(section.absent_when) if section.absent_when else None
        present = [each for each in records if isinstance(each, dict) and not (gone and gone(each))]
        if not present or self._body is None:
            return _ABSENT
        same = next((each for each in present if self._holds(each, call)), None)
        ref = name_or_none(value_at(same or present[0], section.ref_at)) if section.ref_at else call.partner_ref
        differing = self._differences.between(present[0], call.values) if same is None and self._differences else ()
        return Presence(found="different" if same is None else "same", partner_ref=ref, fields=differing)

    def _holds(self, record: dict[str, object], call: VisitCall) -> bool:
        try:
            return self._body is not None and self._body.is_in(record, call.values)
        except Unfit:
            # The partner file has lost a code since the visit was sent: what is there cannot be shown to be the same.
            return False


def _written(value: object) -> str | int:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value
    return value.isoformat() if isinstance(value, date) else str(value or "")


def _filled(template: str, key: str, *, ref: str | None) -> str:
    return template.replace("{key}", quote(key, safe="")).replace("{ref}", quote(ref or "", safe=""))
