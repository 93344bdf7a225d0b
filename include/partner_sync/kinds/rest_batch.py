"""Several visits in one call, as the section ``batch`` of a partner file says (docs/decisions/0012-batches.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import NAMESPACE_OID, uuid5

import orjson

from partner_sync.errors import (
    BadAnswerError,
    BatchRefusedError,
    OutcomeUnknownError,
    PartnerSyncError,
    RejectedRequestError,
    UnmappableVisitError,
    VisitGoneError,
)
from partner_sync.http.client import PartnerClient, Request
from partner_sync.http.outcomes import Intent, unreadable
from partner_sync.http.refusals import complaint
from partner_sync.kinds.interface import Accepted, VisitCall
from partner_sync.kinds.visit_body import name_or_none, put_at
from partner_sync.partners.paths import holds, value_at
from partner_sync.partners.push import BatchCall, Push

_Came = Accepted | PartnerSyncError
_Written = Callable[[VisitCall, BatchCall], dict[str, object]]


class BatchSender:
    """Sends one batch. ``written`` makes the body of a visit; it raises UnmappableVisitError."""

    def __init__(self, client: PartnerClient, push: Push, section: BatchCall, *, written: _Written) -> None:
        self._client = client
        self._push = push
        self._section = section
        self._written = written
        self._intent = Intent(
            partner=client.partner.slug,
            endpoint=section.endpoint,
            changes=True,
            keyed=section.idempotency_header is not None,
        )
        self._accepted = holds(section.ok_when)
        self._gone = holds(section.gone_when) if section.gone_when else None

    def send(self, calls: Sequence[VisitCall]) -> list[_Came]:
        """What came of each call, in their order; one that cannot be written is left out of the batch."""
        items: dict[str, dict[str, object]] = {}
        unfit: dict[str, UnmappableVisitError] = {}
        for call in calls:
            try:
                items[call.visit_id] = self._item(call)
            except UnmappableVisitError as error:
                unfit[call.visit_id] = error
        results = self._results([call for call in calls if call.visit_id in items], items) if items else {}
        return [unfit.get(call.visit_id) or results[call.visit_id] for call in calls]

    def _item(self, call: VisitCall) -> dict[str, object]:
        section = self._section
        item = {} if call.action == "withdraw" else self._written(call, section)
        for path, value in ((section.key_in, call.visit_id), (section.ref_in, call.partner_ref)):
            if path:
                put_at(item, path, value=value)
        return item

    def _results(self, calls: Sequence[VisitCall], items: dict[str, dict[str, object]]) -> dict[str, _Came]:
        """What came of each visit of the call."""
        # In one order: the same items again are the same request, under the same key.
        calls = sorted(calls, key=lambda call: call.visit_id)
        answer = self._called(calls, [items[call.visit_id] for call in calls])
        listed = value_at(self._client.decoded(self._intent, answer), self._section.results_at)
        if not isinstance(listed, list):
            raise unreadable(self._intent, answer.status, problem="there is no list of results")
        by_visit: dict[str, list[dict[str, Any]]] = {}
        for each in listed:
            if isinstance(each, dict) and (key := name_or_none(value_at(each, self._section.key_at))):
                by_visit.setdefault(key, []).append(each)
        return {call.visit_id: self._judged(call, by_visit.get(call.visit_id, []), answer.status) for call in calls}

    def _called(self, calls: Sequence[VisitCall], items: list[dict[str, object]]) -> Any:
        section = self._section
        body: dict[str, object] | list[dict[str, object]] = items
        if section.items_at:
            body = {}
            put_at(body, section.items_at, value=items)
        header = section.idempotency_header
        keyed = {call.idempotency_key: item for call, item in zip(calls, items, strict=True)}
        key = idempotency_key(section.method, section.path, keyed) if header else ""
        request = Request(path=section.path, headers={header: key} if header else {}, body=body)
        try:
            return self._client.call(self._intent, request)
        except RejectedRequestError as error:
            raise self._refused(error, len(items)) from None

    def _refused(self, error: RejectedRequestError, items: int) -> PartnerSyncError:
        """A refusal of all of them may be the fault of one: then they go one by one."""
        facts: dict[str, object] = {"partner": self._intent.partner, "endpoint": self._intent.endpoint}
        status = error.facts.get("status")
        if status in {404, 410}:
            return BadAnswerError(**facts, status=status, problem="the address of the batch is not known there")
        return error if items == 1 else BatchRefusedError(**facts, status=status)

    def _judged(self, call: VisitCall, results: list[dict[str, Any]], status: int) -> _Came:
        """Only one clear result is one: none, or several, leave it open what was done."""
        facts: dict[str, object] = {"partner": self._intent.partner, "endpoint": self._intent.endpoint}
        if len(results) != 1:
            return OutcomeUnknownError(**facts, problem="it has no result, or several")
        (result,) = results
        section, refusal = self._section, self._section.error_at
        if self._accepted(result):
            ref = name_or_none(value_at(result, section.ref_at)) if section.ref_at else None
            if ref is None and self._push.batch and section is self._push.batch.post:
                return OutcomeUnknownError(**facts, problem="its result does not name the visit")
            return Accepted(status=status, partner_ref=ref)
        if self._gone and self._gone(result):
            if call.action == "withdraw":
                return Accepted(status=status, partner_ref=call.partner_ref)
            return VisitGoneError(**facts, status=status)
        code = value_at(result, refusal.code) if refusal else None
        if refusal is None or code is None:
            return OutcomeUnknownError(**facts, problem="its result says neither yes nor no")
        field = value_at(result, refusal.field) if refusal.field else None
        return RejectedRequestError(**facts, status=status, fields=(complaint(self._push, field, code),))


def idempotency_key(method: str, path: str, items: Mapping[str, object]) -> str:
    """The key of a request, by what it is in every respect: its items by their own keys, with what is sent of each."""
    written = hashlib.blake2b(orjson.dumps(list(items.items())), digest_size=16).hexdigest()
    return str(uuid5(NAMESPACE_OID, f"{method} {path} {written}"))
