"""The committed partner files list a week and show a visit as the practice partners do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from partner_sync.delivery.comparison import Findings
from partner_sync.kinds.interface import Access, Gate, PartnerKind
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.loader import load_partners
from postgres.desk import Desk
from postgres.product import make_product
from postgres_server import Database
from sandbox.running import RunningPartner

FILES = Path(__file__).resolve().parents[2] / "include" / "partners"
ORGANIZATION = "momiji-care"
KEYS = {
    "honoka": {"office": "O-001", "patient": "P-000001", "practitioner": "S-0001"},
    "tsubaki": {"office": "01", "patient": "0000000001", "practitioner": "00001"},
}
AT = {"honoka": "/v1/visits/{}", "tsubaki": "/api/visits/{}"}


class PracticeDesk(Desk):
    """A desk whose partner is a practice partner, by the committed file."""

    def __init__(self, database: Database, practice: RunningPartner) -> None:
        super().__init__(make_product(database, organization=ORGANIZATION), "keyed")
        self.practice = practice
        found = load_partners(FILES).partners[practice.profile]
        timeouts = found.timeouts.model_copy(update={"settle_after_seconds": 0.2})
        limits = tuple(limit.model_copy(update={"requests": 1000}) for limit in found.limits)
        self.partner = found.model_copy(update={"slug": "honoka", "timeouts": timeouts, "limits": limits})
        for entity, key in KEYS[practice.profile].items():
            database.admin().execute(
                "update canonical.crosswalk set source_key = %s where entity = %s"
                " and canonical_id = (select min(canonical_id) from canonical.crosswalk where entity = %s)",
                (key, entity, entity),
            )

    def open(self, gate: Gate) -> PartnerKind:
        key = self.practice.key(ORGANIZATION)
        access = Access(base_url=self.practice.base_url, login=key.login, secret=key.secret)
        return open_kind(self.partner, access, gate)

    def delete(self, visit_id: str) -> None:
        [held] = [each for each in self.practice.visits(ORGANIZATION) if each["external_id"] == visit_id]
        with self.practice.client(ORGANIZATION) as client:
            path = AT[self.practice.profile].format(held["key"])
            assert client.delete(path, headers={"Idempotency-Key": f"by-hand-{visit_id}"}).is_success


@pytest.fixture(params=["honoka", "tsubaki"])
def desk(database: Database, request: pytest.FixtureRequest) -> Iterator[PracticeDesk]:
    profile = request.param
    with RunningPartner(profile, patients=5, practitioners=2, offices=2, dirty_share=0, max_page_size=500) as practice:
        practice.limit(1000, per_seconds=1)
        desk = PracticeDesk(database, practice)
        for number in range(1, 5):
            desk.product.visit(f"v{number}", note="ring twice")
        desk.product.week("finalized")
        desk.release()
        assert desk.push().outcomes == {"accepted": 4}
        desk.settle()
        yield desk


def test_what_was_sent_is_found_the_same_in_the_list(desk: PracticeDesk) -> None:
    assert desk.compare() == Findings(same=4)
    asked = [call["template"] for call in desk.practice.received(ORGANIZATION, method="GET")]
    assert len(asked) == 1, "one page of the list is all"


def test_what_was_deleted_there_comes_back_once(desk: PracticeDesk) -> None:
    desk.delete("v3")
    assert desk.compare() == Findings(same=3, differences={"missing": 1})
    assert desk.repair_and_push() == Findings(same=4)
    assert sorted(each["external_id"] for each in desk.practice.visits(ORGANIZATION)) == ["v1", "v2", "v3", "v4"]
