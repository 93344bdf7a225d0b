"""Spoiling a good answer: what a fault makes of the page that the partner would have given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from sandbox.answers import Answer, page_of
from sandbox.faults import Fault
from sandbox.maker import Maker, RecordFields, records_in

HTML = "<!doctype html><html lang=ja><title>メンテナンス中</title><p>ただいまメンテナンス中です。</p></html>"


def spoil(answer: Answer, fault: Fault, *, maker: Maker, template: str) -> Answer:
    """The answer as the fault leaves it; faults that are no matter of the body leave it as it is."""
    whole = {
        "not_json": lambda: Answer(200, b'{"data": [{"id": '),
        "html": lambda: Answer(200, HTML.encode(), "text/html; charset=utf-8"),
        "error_200": lambda: Answer(200, orjson.dumps({"error": {"code": "system_busy"}})),
    }
    if fault.kind in whole:
        return whole[fault.kind]()
    fields = maker.record_fields.get(template)
    if answer.status != 200 or fields is None:
        return answer
    body = page_of(answer.body)
    records = records_in(body, maker.records_at)
    if records is None:
        return answer
    if fault.kind == "empty_page":
        records.clear()
    elif fault.kind in _RECORD_SPOILERS:
        _spoil_records(records, fault, fields)
    else:
        return answer
    return answer.with_body(orjson.dumps(body))


def _spoil_records(records: list[Any], fault: Fault, fields: RecordFields) -> None:
    for position in range(min(fault.records, len(records))):
        records[position] = _RECORD_SPOILERS[fault.kind](records[position], fields, fault)


def _without(record: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key != name}


def _with(record: dict[str, Any], dotted: str, value: object) -> dict[str, Any]:
    """The record with one field, named by a dotted path, set to a value."""
    first, _, rest = dotted.partition(".")
    if rest:
        value = _with(record.get(first) or {}, rest, value)
    return {**record, first: value}


def _long_text(fault: Fault) -> str:
    # One such character is three bytes of UTF-8.
    return "山" * int(fault.megabytes * 1_000_000 / 3)


_RECORD_SPOILERS: dict[str, Callable[[dict[str, Any], RecordFields, Fault], object]] = {
    "record_not_object": lambda record, fields, fault: "this is no record",
    "missing_key": lambda record, fields, fault: _without(record, fields.key),
    "number_for_text": lambda record, fields, fault: _with(record, fields.text, 12345),
    "long_text": lambda record, fields, fault: _with(record, fields.text, _long_text(fault)),
    "nul": lambda record, fields, fault: _with(record, fields.text, "山\x00田"),
    "wrong_date": lambda record, fields, fault: _with(record, fields.date, "2026-02-30"),
}
