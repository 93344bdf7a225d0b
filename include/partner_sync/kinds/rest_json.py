"""The kind ``rest_json``: lists by GET, visits by PUT, POST, PATCH and DELETE, everything as the partner file says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, Literal
from urllib.parse import quote
from zoneinfo import ZoneInfo

from partner_sync.errors import (
    AnotherVisitNamedError,
    BadAnswerError,
    ConfigError,
    OutcomeUnknownError,
    PagingLoopError,
    PartnerSyncError,
    ReadRefusedError,
    RejectedRequestError,
    UnmappableVisitError,
    VisitGoneError,
    VisitNameUnknownError,
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
from partner_sync.kinds.rest_batch import BatchSender, idempotency_key
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
            known = self._looked_up(call, section)
            if known.found == "absent":
                return self._nothing_there(call, section)
            ref = known.partner_ref
        header = section.idempotency_header
        intent = Intent(
            partner=self._partner.slug, endpoint=section.endpoint, changes=True, keyed=header is not None,
            absent_is_fine=call.action == "withdraw",
        )  # fmt: skip
        request = self._request(call, section, ref=ref)
        try:
            answer = self._client.call(intent, request)
        except RejectedRequestError as error:
            if error.facts.get("status") in _GONE and "{ref}" in section.path and self._push.post is not None:
                raise self._gone(call, section, status=error.facts["status"]) from None
            raise
        if answer.status in _GONE:
            return self._taken_away(call, section, status=answer.status)
        named = self._accepted_ref(intent, section, answer=answer, visit_id=call.visit_id)
        return Accepted(status=answer.status, partner_ref=named or ref)

    def batch_size(self, action: Action, *, named: bool, held: bool = False) -> int:
        section = self._push.batch_of(action, named=named, held=held)
        return section.size if section else 1

    def binding_key(self, call: VisitCall) -> str | None:
        section = self._call_for(call)
        if section.idempotency_header is None or section.method != "POST" or "{ref}" in section.path:
            return None
        return self._request(call, section, ref=None).headers[section.idempotency_header]

    def send_batch(self, calls: Sequence[VisitCall]) -> Sequence[Accepted | PartnerSyncError]:
        first = calls[0]
        section = self._push.batch_of(first.action, named=first.partner_ref is not None, held=first.held)
        if section is None:
            raise ConfigError(problem=f"The partner file of {self._partner.slug} has no batch for these visits.")
        return BatchSender(self._client, self._push, section, written=self._written).send(calls)

    def endpoint_of(self, what: Action | Literal["read_back"], *, named: bool, held: bool = False) -> str:
        if what == "read_back":
            return self._push.read_back.endpoint if self._push.read_back else ""
        batched = self._push.batch_of(what, named=named, held=held)
        return batched.endpoint if batched else self._push.call_of(what, named=named, held=held).endpoint

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
            records_at=section.records_at, style=section.paging, filled=_filled(section.path, call.visit_id, ref=None),
        )  # fmt: skip
        look_up = look_up or LookUp()
        try:
            for page in listing.pages(look_up.position):
                ours = [each for each in page.records if name_or_none(value_at(each, section.key_at)) == call.visit_id]
                look_up.note(page, self._presence(call, section, records=ours))
        except BadAnswerError as error:
            if "{key}" in section.path and error.facts.get("status") in _GONE:
                return _ABSENT
            raise
        _refuse_incomplete(look_up, listing.intent)
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
        return self._push.call_of(call.action, named=call.partner_ref is not None, held=call.held)

    def _request(self, call: VisitCall, section: Call, *, ref: str | None) -> Request:
        """The request. One that is in any way another one has another key: partners refuse a key that comes again with
        another request, or answers as to the first (draft-ietf-httpapi-idempotency-key-header).
        """
        path = _filled(section.path, call.visit_id, ref=ref)
        body = self._written(call, section) if section.has_body else None
        header = section.idempotency_header
        key = idempotency_key(section.method, path, {call.idempotency_key: body}) if header else ""
        return Request(path=path, headers={header: key} if header else {}, body=body)

    def _looked_up(self, call: VisitCall, section: Call) -> Presence:
        """What a read-back finds before a call by name: nothing, or the visit with its name. Nothing was done."""
        facts = {"partner": self._partner.slug, "endpoint": section.endpoint}
        if not self.can.read_back:
            raise VisitNameUnknownError(**facts)
        try:
            known = self.read_back(call)
        except (BadAnswerError, PagingLoopError, ReadRefusedError):
            # One visit that cannot be looked up now stops no others; it is asked for again, and counted.
            raise OutcomeUnknownError(**facts, problem="the visit could not be looked up") from None
        if known.found != "absent" and known.partner_ref is None:
            raise VisitNameUnknownError(**facts)
        return known

    def _gone(self, call: VisitCall, section: Call, *, status: object) -> PartnerSyncError:
        """A 404 may come from anything between us and the partner: the visit is gone when a look-up says so too."""
        facts: dict[str, object] = {"partner": self._partner.slug, "endpoint": section.endpoint}
        if self._looked_up(call, section).found == "absent":
            return VisitGoneError(**facts, status=status)
        return OutcomeUnknownError(**facts, problem=f"status {status}, and a look-up finds the visit")

    def _taken_away(self, call: VisitCall, section: Call, *, status: int) -> Accepted:
        """As ``_gone``, of a withdraw: a visit that is still there would be driven to."""
        if self.can.read_back and not self._is_absent(call):
            facts = {"partner": self._partner.slug, "endpoint": section.endpoint}
            raise OutcomeUnknownError(**facts, problem=f"status {status}, and no look-up says that the visit is gone")
        return Accepted(status=status, partner_ref=call.partner_ref)

    def _is_absent(self, call: VisitCall) -> bool:
        try:
            return self.read_back(call).found == "absent"
        except (BadAnswerError, PagingLoopError, ReadRefusedError):
            return False

    def _nothing_there(self, call: VisitCall, section: Call) -> Accepted:
        if call.action == "withdraw":
            return Accepted(status=404)
        raise VisitGoneError(partner=self._partner.slug, endpoint=section.endpoint, status=404)

    def _written(self, call: VisitCall, section: Call | BatchCall) -> dict[str, object]:
        try:
            return self._body.written(call.values) if self._body else {}
        except Unfit as unfit:
            raise UnmappableVisitError(
                partner=self._partner.slug, endpoint=section.endpoint, status=0, fields=(unfit.code,)
            ) from None

    def _accepted_ref(self, intent: Intent, section: Call, *, answer: Answer, visit_id: str) -> str | None:
        """The partner's name for the visit, once the answer has shown that it is a success indeed, and about ours.

        Raises OutcomeUnknownError, AnotherVisitNamedError. An answer without content says all that nobody needs.
        """
        if section.accepted_status and answer.status not in section.accepted_status:
            raise unreadable(intent, answer.status, problem=f"status {answer.status} is no acceptance there")
        creates = section is self._push.post
        if not (answer.content.strip() or creates or section.accepted_at):
            return None
        body = self._client.decoded(intent, answer)
        for path in (section.accepted_at, section.key_at):
            if path and value_at(body, path) in (None, ""):
                raise unreadable(intent, answer.status, problem=f"there is nothing at {path}")
        if section.key_at and name_or_none(value_at(body, section.key_at)) != visit_id:
            raise AnotherVisitNamedError(partner=self._partner.slug, endpoint=intent.endpoint)
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
        if same is not None:
            unseen = self._unseen(same, call)
            safe = self._push.put.method == "PUT" or self._push.put.idempotency_header is not None
            found: Literal["same", "different", "unproven"] = "same"
            if unseen:
                found = "different" if safe else "unproven"
            return Presence(found=found, partner_ref=ref, fields=unseen)
        differing = self._differences.between(present[0], call.values) if self._differences else ()
        return Presence(found="different", partner_ref=ref, fields=differing)

    def _unseen(self, record: dict[str, object], call: VisitCall) -> tuple[str, ...]:
        """The fields that the partner does not show, when nothing else shows that it has taken a change."""
        if self._body is None or call.action == "withdraw" or not call.held:
            # What was not there is there: that alone shows it.
            return ()
        hidden = self._body.hidden_in(record)
        try:
            changed = self._body.changed(call.before, call.values) if call.before is not None else frozenset(hidden)
        except Unfit:
            changed = frozenset(hidden)
        return hidden if changed and changed <= set(hidden) else ()

    def _holds(self, record: dict[str, object], call: VisitCall) -> bool:
        try:
            return self._body is not None and self._body.is_in(record, call.values)
        except Unfit:
            # The partner file has lost a code since the visit was sent: what is there cannot be shown to be the same.
            return False


def _refuse_incomplete(look_up: LookUp, intent: Intent) -> None:
    """Raises BadAnswerError for a list without our visit that is not complete: it says nothing (design, rule 12)."""
    if look_up.found == "absent" and not look_up.whole:
        problem = "the list is not complete: a page came twice, or the total is another one"
        raise BadAnswerError(partner=intent.partner, endpoint=intent.endpoint, status=200, problem=problem)


def _written(value: object) -> str | int:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return value
    return value.isoformat() if isinstance(value, date) else str(value or "")


def _filled(template: str, key: str, *, ref: str | None) -> str:
    return template.replace("{key}", quote(key, safe="")).replace("{ref}", quote(ref or "", safe=""))
