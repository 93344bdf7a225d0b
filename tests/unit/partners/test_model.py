"""What a partner file may say, and what contradicts itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from partner_made import made
from partner_sync.kinds.interface import Capabilities
from partner_sync.kinds.rest_json import capabilities

INCLUDE = Path(__file__).resolve().parents[3] / "include"


FOUND: dict[str, Any] = {"path": "/v1/visits", "records_at": "data", "key_at": "id"}
BY_NAME: dict[str, Any] = {
    "post": {"method": "POST", "path": "/v1/visits"},
    "put": {"method": "PUT", "path": "/v1/visits/{ref}"},
    "partner_ref": "no",
}


def limit(**changes: Any) -> dict[str, Any]:
    return {"scope": "organization", "requests": 60, "per_seconds": 60, **changes}


@pytest.mark.parametrize(
    "top",
    [
        {"limits": []},
        {"limits": [limit(requests=0)]},
        {"limits": [limit(per_seconds=-1)]},
        {"limits": [limit(requests="60")]},
        {"limits": [limit(counts="fixed_window", zone="Asia/Tokio")]},
        {"limits": [limit(counts="fixed_window", zone="../../etc/passwd")]},
        {"limits": [limit(counts="fixed_window", anchor="24:00")]},
        {"limits": [limit(zone="Asia/Tokyo")]},
        {"limits": [limit(burst=5)]},
        {"limits": [limit(counts="in_flight")]},
        {"limits": [{"scope": "vendor", "requests": 5}]},
        {"limits": [limit(scope="endpoint")]},
        {"limits": [limit(scope="endpoint", endpoint="GET /v1/unknown")]},
        {"timeouts": {"read_seconds": 30.0, "connect_seconds": 5.0, "settle_after_seconds": 20.0}},
        {"timeouts": {"connect_seconds": 20.0}, "grant_ttl_seconds": 10.0},
        {"circuit": {"open_seconds": 60.0, "longest_open_seconds": 30.0}},
        {"circuit": {"open_seconds": 1.0}},
        {"circuit": {"failures": 0}},
        {"circuit": {"organizations": 1}},
        {"kind": "orca"},
        {"jitter_seconds": -0.1},
        {"shards": 0},
        {"shards": True},
        {"entity": {"path": "v1/patients"}},
        {"entity": {"path": "/v1/patients/{key}"}},
        {"entity": {"path": "/v1/patients?all=1"}},
        {"entity": {"key": "id..x"}},
        {"entity": {"map": {}}},
        {"entity": {"map": {"active": "in_use"}}},
        {"entity": {"map": {"gender": {"from": "sex", "convert": "code_map"}}}},
        {"entity": {"map": {"gender": {"from": "sex", "convert": "code_map", "codes": "none"}}}},
        {"entity": {"map": {"family_name": {"from": "name", "convert": "split_name"}}}},
        {"entity": {"map": {"family_name": {"from": "name", "which": "family"}}}},
        {"entity": {"map": {"family_name": {"from": "name", "convert": "eval"}}}},
        {"entity": {"match_by": ["insured_number"]}},
        {"entity": {"paging": {"style": "page_number", "size": "limit"}}},
        {"entity": {"paging": {"style": "offset_total"}}},
        {"entity": {"deleted_when": {"from": "deleted"}}},
        {"push": {"map": {"x": "patient_name"}}},
        {"push": {"map": {"x": "start_at"}}},
        {"push": {"map": {"x": {"from": "status", "convert": "datetime"}}}},
        {"push": {"put": {"method": "PUT", "path": "/v1/visits/{ref}"}}},
        {"push": {"post": {"method": "POST", "path": "/v1/visits"}}},
        {"push": {"read_back": {"path": "/v1/visits", "records_at": "data"}}},
        {"push": {"read_back": {"path": "/v1/visits", "parameters": ["patient_name"]}}},
        {"push": {"read_back": {**FOUND, "parameters": ["note"]}}},
        {"push": {"read_back": {**FOUND, "parameters": ["patient_key"]}}},
        {"push": BY_NAME | {"read_back": FOUND}},
        {"push": {"schedule": "0 18 * *"}},
        {"push": {"schedule": "61 18 * * FRI"}},
        {"push": {"schedule": "*/0 * * * *"}},
        {"push": {"max_attempts": 0}},
        {"push": {"put": {"method": "PUT", "path": "/v1/visits/{key}", "idempotency_header": "Bad Header"}}},
    ],
)  # fmt: skip
def test_what_contradicts_itself_is_refused(top: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        made(**top)


def test_a_visit_that_the_partner_names_is_looked_up_with_its_name() -> None:
    assert made(push=BY_NAME | {"read_back": FOUND | {"ref_at": "no", "parameters": ["week"]}}).push is not None
    assert made(push={"read_back": FOUND | {"parameters": ["visit_id", "start_at"]}}).push is not None


@pytest.mark.parametrize("schedule", ["*/15 * * * *", "0 18 * * FRI", "5,35 8-18 1 JAN-DEC MON-FRI", "0 0 * * 7"])
def test_cron_texts_are_taken(schedule: str) -> None:
    partner = made(push={"schedule": schedule})
    assert partner.push is not None
    assert partner.push.schedule == schedule


def test_the_endpoints_are_method_and_path_template() -> None:
    assert made().endpoints == (
        "GET /v1/patients", "PUT /v1/visits/{key}", "DELETE /v1/visits/{key}", "GET /v1/visits/{key}",
    )  # fmt: skip


def test_a_limit_may_name_an_endpoint() -> None:
    partner = made(limits=[limit(scope="endpoint", endpoint="PUT /v1/visits/{key}")])
    assert partner.limits[0].endpoint == "PUT /v1/visits/{key}"


def test_what_a_partner_can_do_follows_from_its_file() -> None:
    assert capabilities(made()) == Capabilities(read_back=True, cancel=True, idempotency_key=True)
    plain = made(push={"put": {"method": "PUT", "path": "/v1/visits/{key}"}})
    assert not capabilities(plain).idempotency_key
    changed = made(
        entity={"incremental": {"parameter": "since", "field": "at"}, "deleted_when": {"from": "x", "is_set": True}}
    )
    assert (capabilities(changed).incremental, capabilities(changed).deletes) == (True, True)


def test_reading_partner_files_loads_no_http_and_no_airflow() -> None:
    code = (
        "import sys; import partner_sync.partners.loader; "
        "print(sorted({'httpx', 'orjson', 'jaconv', 'airflow', 'psycopg', 'croniter'} & sys.modules.keys()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(INCLUDE)}
    )
    assert done.stdout.strip() == "[]"
