"""The DAGs on a live Airflow, end to end: what stands in the database is what the practice partners received."""

from __future__ import annotations

import pytest

from e2e.conftest import Live

pytestmark = pytest.mark.live

SENDING = [("honoka", "sakura-care"), ("honoka", "momiji-care"), ("tsubaki", "hinata-care"), ("tsubaki", "momiji-care")]


def test_every_run_ended_as_expected(live: Live) -> None:
    assert live.told.surprises == []


@pytest.mark.parametrize(("partner", "organization"), SENDING)
def test_the_partner_holds_exactly_the_visits_that_stand_as_accepted(
    live: Live, partner: str, organization: str
) -> None:
    held = {
        row["visit_id"]
        for row in live.rows(
            "select visit_id from sync.held where partner = %s and organization = %s", partner, organization
        )
    }
    assert held
    assert set(live.practice_visits(partner, organization)) == held


def test_no_visit_was_made_twice(live: Live) -> None:
    for partner in live.partners.values():
        assert partner.duplicates() == []


def test_no_call_met_the_partners_limit(live: Live) -> None:
    for partner in live.partners.values():
        statuses = {call["status"] for call in partner.received()}
        assert 429 not in statuses


def test_what_is_extracted_is_quarantined_or_merged_and_nothing_is_lost(live: Live) -> None:
    # What the partner counts itself: a sync by schedule in between replaces the rows of the first in staging.
    honoka = live.partners["honoka"]
    records = {name: counts["patients"] for name, counts in honoka.summary().items()}
    rows = live.rows(
        "select s.organization, s.state,"
        " (select count(*) from canonical.crosswalk c where c.partner = s.partner and c.organization = s.organization"
        "  and c.entity = s.entity) as merged,"
        " (select count(*) from quarantine.row q where q.partner = s.partner and q.organization = s.organization"
        "  and q.entity = s.entity and q.status = 'open') as quarantined"
        " from staging.slice s"
        " where s.entity = 'patient' and s.partner = 'honoka' and s.mode = 'full' and s.records > 0"
    )
    assert rows
    for row in rows:
        assert row["state"] == "complete"
        keys = records[row["organization"]] - len(honoka.dirty(row["organization"])["duplicate_key"])
        assert row["merged"] + row["quarantined"] == keys
        assert row["quarantined"] > 0


def test_the_organization_with_the_wrong_key_is_the_only_one_that_stopped(live: Live) -> None:
    open_incidents = live.rows("select organization, code from sync.incident where closed_at is null")
    assert {(row["organization"], row["code"]) for row in open_incidents} == {("kaede-care", "partner_auth")}
    assert live.rows("select from canonical.patient where organization = 'kaede-care'") == []


def test_an_office_that_is_not_finalized_sends_nothing(live: Live) -> None:
    rows = live.rows(
        "select o.id from canonical.office o where o.organization = 'sakura-care' and not exists (select from"
        " schedule.week_finalized f where f.office_id = o.id and f.week = %s)",
        live.week.monday,
    )
    assert len(rows) >= 1
    left_open = [row["id"] for row in rows]
    assert live.rows("select from sync.push_attempt where office_id = any (%s)", left_open) == []


def test_a_momiji_visit_is_at_both_partners_under_their_own_keys(live: Live) -> None:
    at_honoka = live.practice_visits("honoka", "momiji-care")
    at_tsubaki = live.practice_visits("tsubaki", "momiji-care")
    both = set(at_honoka) & set(at_tsubaki)
    assert both
    one = sorted(both)[0]
    assert at_honoka[one]["patient_id"].startswith("P-")
    assert at_tsubaki[one]["user_no"].isdigit()


def test_the_runs_carry_a_note_with_counts_in_both_languages(live: Live) -> None:
    run = next(run for dag, run in live.told.runs if dag == "honoka__schedule_push")
    note = live.api.run("honoka__schedule_push", run)["note"]
    assert note
    assert "offices released" in note
    assert "offices not finalized 1" in note
    assert "visits accepted" in note
    assert any("\u3040" <= letter <= "\u30ff" for letter in note)


def test_no_personal_value_stands_in_xcoms_notes_or_logs(live: Live) -> None:
    names = {
        row["family_name"]
        for row in live.rows("select distinct family_name from canonical.patient where length(family_name) > 1")
    }
    phones = {
        row["phone"] for row in live.rows("select phone from canonical.patient where phone is not null limit 200")
    }
    logs = [path.read_text(errors="replace") for path in live.installation.home.path.rglob("*.log")]
    xcoms = live.api.request("GET", "dags/~/dagRuns/~/taskInstances/~/xcomEntries", params={"limit": 100})
    text = "\n".join([*logs, str(xcoms)])
    assert logs
    assert sorted(word for word in names | phones if word in text) == []
