"""What partners say of their limits, beside the file: written once, told once, and never a red run (design, rule 8)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from partner_made import made
from partner_sync.errors import RateLimitedError
from partner_sync.incidents import claim_notice, open_incidents
from partner_sync.kinds.interface import Access, Quota
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization
from partner_sync.policies import note_policies
from partner_sync.runs import conclude
from partner_sync.steps.check import check_partner
from partner_sync.steps.organizations import Doors
from postgres_server import Database
from scripted_server import Reply, ScriptedServer
from stack.check_partner import lines_of

SAME = Quota(name="burst", requests=60, window_seconds=60)
SMALLER = Quota(name="burst", requests=30, window_seconds=60)
LARGER = Quota(name="daily", requests=10_000_000, window_seconds=86_400)


class Noted:
    """What runs of one partner note, as login sync_run."""

    def __init__(self, database: Database) -> None:
        self.database, self.conn, self.partner = database, database.connect("run"), made()

    def note(self, *policies: Quota, run_key: str = "r1", organization: str = "aoba") -> bool:
        return note_policies(
            self.conn, self.partner, organization=organization, run_key=run_key, policies=list(policies)
        )

    def rows(self, columns: str = "name, requests, differs") -> list[tuple[Any, ...]]:
        found = self.database.admin().execute(f"select {columns} from sync.rate_policy order by organization, name")
        return [tuple(row.values()) for row in found]

    def open(self) -> list[tuple[str, str]]:
        found = open_incidents(self.conn, partner="trial")
        return [(incident.organization, incident.code) for incident in found]

    def concluded(self, run_key: str = "r1") -> Any:
        return conclude(self.conn, partner="trial", run_key=run_key)


@pytest.fixture
def noted(database: Database) -> Noted:
    return Noted(database)


def test_a_policy_that_agrees_with_the_file_is_written_and_is_no_notice(noted: Noted) -> None:
    assert noted.note(SAME)
    assert (noted.rows(), noted.open()) == ([("burst", 60, "same")], [])


def test_the_same_again_writes_nothing_until_an_hour_later(noted: Noted) -> None:
    noted.note(SMALLER)
    before = noted.rows("xmin, *")
    assert not noted.note(SMALLER, run_key="r2")
    assert noted.rows("xmin, *") == before
    noted.database.admin().execute("update sync.rate_policy set last_seen_at = last_seen_at - interval '61 minutes'")
    assert noted.note(SMALLER, run_key="r3")
    assert noted.rows("last_seen_at - first_seen_at < interval '10 seconds'") == [(True,)]


@pytest.mark.parametrize(("policy", "differs"), [(SMALLER, "smaller"), (LARGER, "larger")])
def test_a_policy_that_differs_is_a_notice_and_turns_no_run_red(noted: Noted, policy: Quota, differs: str) -> None:
    noted.note(policy)
    assert [row[2] for row in noted.rows()] == [differs]
    found = noted.concluded()
    assert not found.failed
    assert (found.new_causes, [cause.code for cause in found.notices]) == ((), ["policy_differs"])
    assert "make check-partner" in found.note_ja
    assert "make check-partner" in found.note_en
    assert noted.concluded() == found, "a conclusion that is tried again says the same"


def test_a_notice_is_in_the_note_of_one_run_and_told_once(noted: Noted) -> None:
    noted.note(SMALLER)
    [notice] = noted.concluded().notices
    assert claim_notice(noted.conn, notice, to="alerts") is not None
    assert claim_notice(noted.conn, notice, to="alerts") is None
    noted.note(SMALLER, run_key="r2")
    assert noted.concluded("r2").notices == ()


def test_a_difference_that_a_check_met_is_told_by_the_next_run(noted: Noted) -> None:
    noted.note(SMALLER, run_key="check_partner")
    assert len(noted.concluded("r7").notices) == 1


def test_organizations_with_the_same_difference_are_one_notice(noted: Noted) -> None:
    noted.note(SMALLER)
    noted.note(SMALLER, organization="botan")
    [notice] = noted.concluded().notices
    assert notice.organizations == ("aoba", "botan")
    assert "aoba, botan" in noted.concluded().note_en


def test_a_file_that_is_brought_into_line_ends_the_notice(noted: Noted) -> None:
    noted.note(SMALLER)
    noted.partner = made(limits=[{"scope": "organization", "requests": 30, "per_seconds": 60}])
    assert noted.note(SMALLER, run_key="r2")
    assert (noted.rows(), noted.open()) == ([("burst", 30, "same")], [])


def test_what_one_direction_says_does_not_end_the_notice_of_the_other(noted: Noted) -> None:
    noted.note(Quota(name="write", requests=5, window_seconds=60))
    noted.note(Quota(name="read", requests=60, window_seconds=60))
    assert noted.open() == [("aoba", "policy_differs")]


def test_a_difference_that_has_not_been_said_for_two_days_is_over(noted: Noted) -> None:
    noted.note(Quota(name="old", requests=5, window_seconds=60))
    noted.database.admin().execute("update sync.rate_policy set last_seen_at = last_seen_at - interval '49 hours'")
    noted.note(SAME, run_key="r2")
    assert noted.open() == []


@pytest.mark.parametrize("writer", ["extract", "push", "merge", "reader"])
def test_no_other_login_writes_what_partners_say(database: Database, writer: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(writer).execute("select sync.note_policies('trial', 'aoba', '[]', 'r1')")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        database.connect(writer).execute("delete from sync.rate_policy")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    fields = {"RateLimit-Policy": '"burst";q=60;w=60, "daily";q=1000;w=86400', "RateLimit": '"burst";r=40;t=20'}
    with ScriptedServer(Reply(200, {"data": []}, fields)) as running:
        yield running


def link_of(database: Database) -> Link:
    onboarding = database.connect("onboarding")
    add_organization(onboarding, code="aoba", name="aoba")
    link = Link(
        partner="trial", organization="aoba", connection_id="trial_aoba", directions=("master",), master_of=("patient",)
    )
    add_link(onboarding, link)
    return link


def doors_of(database: Database, server: ScriptedServer) -> Doors:
    return Doors(connect=database.connect, access=lambda _: Access(base_url=server.base_url, secret="key"))


def test_the_check_shows_what_the_partner_says_beside_the_file(
    database: Database, server: ScriptedServer, noted: Noted
) -> None:
    report = check_partner(doors_of(database, server), noted.partner, link=link_of(database))
    lines = [line.strip() for line in lines_of(report) if "says" in line]
    assert lines == [
        "trial says: 60 calls in 60 s (burst), as the file says",
        "trial says: 1000 calls in 86400 s (daily), less than the file says (60 calls in 60 s for each organization):"
        " bring it into line",
    ]
    assert noted.rows() == [("burst", 60, "same"), ("daily", 1000, "smaller")]


def test_what_a_refusal_says_is_written_too(database: Database, server: ScriptedServer, noted: Noted) -> None:
    server.answer = Reply(429, b"", {"RateLimit-Policy": '"burst";q=5;w=60', "Retry-After": "60"})
    with pytest.raises(RateLimitedError):
        check_partner(doors_of(database, server), noted.partner, link=link_of(database))
    assert noted.rows() == [("burst", 5, "smaller")]
