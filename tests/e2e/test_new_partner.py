"""A new partner in the five steps of the README, each as a person would do it, on the running Airflow."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from e2e.conftest import Live
from partner_sync.weeks import Week
from sandbox.running import RunningPartner
from stack import practice_product
from stack.home import CLONE

pytestmark = pytest.mark.live

ORGANIZATION = "aoba-clinic"
# The practice server knows the organization by a name of its own; the key says who is asking.
THEIR_NAME = "sakura-care"

PAGES = "{style: page_number, page: page, size: limit, size_value: 20, last_at: pagination.last_page}"
LIST = f"records_at: data, paging: {PAGES}"
FILE = f"""\
name: {{ja: あおば記録, en: Aoba records}}
owner: {{team: integration, alert: "#partner-sync"}}
kind: rest_json
auth: {{style: bearer}}
timeouts: {{connect_seconds: 5, read_seconds: 10, settle_after_seconds: 20}}
limits:
  - {{scope: organization, requests: 50, per_seconds: 10, counts: sliding_window}}
master:
  entities:
    office: {{path: /v1/offices, {LIST}, key: id, map: {{office_number: number, name: name}}}}
    practitioner: {{path: /v1/practitioners, {LIST}, key: id, map: {{office: office_id, family_name: name.family}}}}
    patient:
      path: /v1/patients
      records_at: data
      paging: {{style: page_number, page: page, size: limit, size_value: 20, last_at: pagination.last_page}}
      key: id
      map:
        office: office_id
        family_name: name.family
        given_name: name.given
        birth_date: {{from: birth, convert: date}}
        gender: {{from: sex, convert: code_map, codes: gender}}
      extra: [blood_type]
push:
  put: {{method: PUT, path: "/v1/visits/{{key}}", idempotency_header: Idempotency-Key}}
  withdraw: {{method: DELETE, path: "/v1/visits/{{key}}"}}
  read_back: {{path: "/v1/visits/{{key}}", record_at: data}}
  errors: {{at: errors, field: field, code: code}}
  map:
    office_id: office_key
    patient_id: patient_key
    start_at: {{from: start_at, convert: datetime, zone: Asia/Tokyo}}
    end_at: {{from: end_at, convert: datetime, zone: Asia/Tokyo}}
    status: status
"""


@pytest.fixture(scope="module")
def partner() -> Iterator[RunningPartner]:
    with RunningPartner("honoka", patients=30, practitioners=4, offices=2, dirty_share=0) as running:
        yield running


def make(live: Live, *arguments: str, key: str = "") -> str:
    """Run a documented command as a person would; the key goes in by standard input."""
    environment = os.environ | {
        "PARTNER_SYNC_HOME": str(live.installation.home.path),
        "PARTNER_SYNC_PARTNERS": str(live.installation.partners),
    }
    done = subprocess.run(
        ["make", *arguments],
        check=False,
        cwd=CLONE,
        env=environment,
        input=key,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def run(live: Live, dag_id: str, **form: object) -> str:
    live.api.unpause(dag_id)
    return live.api.wait_for_run(dag_id, live.api.trigger(dag_id, form))


def test_five_steps_and_no_code_bring_a_new_partner_to_a_finished_run(live: Live, partner: RunningPartner) -> None:
    (live.installation.partners / "aoba.yaml").write_text(FILE, encoding="utf-8")

    key = partner.key(THEIR_NAME).secret
    master = "MASTER=office,practitioner,patient"
    told = make(
        live, "link", "PARTNER=aoba", f"ORGANIZATION={ORGANIZATION}", f"URL={partner.base_url}", master, key=key
    )
    assert "is joined to aoba" in told
    assert key not in told

    report = make(live, "check-partner", "PARTNER=aoba")
    assert "20 records on the first page" in report
    assert "family_name text(" in report
    assert "50 calls in 10 s for each organization" in report

    live.api.wait_for_dags(["aoba__master_sync", "aoba__schedule_push"])
    assert run(live, "aoba__master_sync", mode="full") == "success"
    rows = live.rows("select count(*) as n from canonical.patient where organization = %s", ORGANIZATION)
    assert rows[0]["n"] == 30

    week = Week.of(datetime.now(UTC)).next()
    with live.installation.connect("sync_product") as product:
        practice_product.plan_weeks(product, ORGANIZATION, weeks={week: False})
        practice_product.finalize(product, ORGANIZATION, week=week)
    assert run(live, "aoba__schedule_push", week=str(week), dry_run=True) == "success"
    assert partner.visits() == []
    assert run(live, "aoba__schedule_push", week=str(week)) == "success"
    planned = live.rows("select visit_id from schedule.visit where organization = %s", ORGANIZATION)
    assert {visit["key"] for visit in partner.visits(THEIR_NAME)} == {row["visit_id"] for row in planned}


def test_a_blocked_visit_goes_out_after_a_person_has_joined_its_practitioner(live: Live) -> None:
    blocked = live.rows(
        "select b.visit_id, v.practitioner_id"
        " from sync.blocked_reasons('tsubaki', 'momiji-care', array ['practitioner', 'patient']) b"
        " join schedule.visit v using (visit_id) group by b.visit_id, v.practitioner_id"
        " having array_agg(b.entity) = array ['practitioner'] order by b.visit_id"
    )
    assert blocked
    free = live.rows(
        "select source_key from staging.practitioner s"
        " where s.partner = 'tsubaki' and s.organization = 'momiji-care' and not exists ("
        "  select from canonical.crosswalk c where (c.partner, c.organization, c.entity, c.source_key)"
        "  = (s.partner, s.organization, 'practitioner', s.source_key)) order by source_key"
    )
    who = f"ID={blocked[0]['practitioner_id']}"
    told = make(
        live, "join-key", "PARTNER=tsubaki", "ORGANIZATION=momiji-care", "ENTITY=practitioner", who, "BY=planner-1",
        key=free[0]["source_key"],
    )  # fmt: skip
    assert "Joined" in told
    assert run(live, "tsubaki__live_push") == "success"
    assert blocked[0]["visit_id"] in live.practice_visits("tsubaki", "momiji-care")
