"""What the partner has no key for waits apart, with its reason, and goes by itself when that is gone (rule 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from partner_sync.catalogue import sentence
from partner_sync.circuit import Calls, CircuitRule, report_calls
from partner_sync.database import Connection
from partner_sync.delivery.claims import Claims, Scope
from partner_sync.statements import statement
from partner_sync.words import reason_name
from postgres.circuits import hold
from postgres.hand_pusher import HandPusher, release
from postgres.product import PARTNER, WEEK, Product, make_product
from postgres_server import Database

NEEDS = ("office", "patient", "practitioner")
JOIN = (
    "insert into canonical.key_map (partner, organization, entity, canonical_id, source_key, joined_by)"
    " values ('honoka', 'sakura', %s, %s, %s, 'person-1')"
)


@pytest.fixture
def product(database: Database) -> Product:
    """A released week with two visits; of the second one's patient the partner has no key."""
    made = make_product(database)
    admin = database.admin()
    admin.execute("delete from canonical.crosswalk where entity = 'patient' and canonical_id = 12")
    made.visit("v1")
    made.visit("v2", patient_id=12)
    made.week("finalized")
    release(made)
    return made


def tick(product: Product, *, needs: tuple[str, ...] = NEEDS) -> list[str]:
    """What a tick would send now: nothing for an organization that is not due."""
    push = product.database.connect("push")
    if "sakura" not in due(push, needs):
        return []
    claims = Claims(push, Scope(partner=PARTNER, organization="sakura", needs=needs), run_key="run")
    claims.close_without_call()
    return [one.visit_id for one in claims.candidates(10)]


def due(push: Connection, needs: tuple[str, ...]) -> list[str]:
    rows = push.execute(statement("delivery.due_organizations"), {"partner": PARTNER, "needs": list(needs)})
    return [row["organization"] for row in rows]


def later(product: Product, visit_id: str) -> None:
    product.database.admin().execute(
        "update sync.todo set due_at = now() + interval '1 hour' where visit_id = %s", (visit_id,)
    )


def reasons(product: Product) -> list[tuple[Any, ...]]:
    rows = product.database.connect("release").execute(
        "select visit_id, week, office_id, reason from sync.blocked_reasons('honoka', 'sakura', %s)", (list(NEEDS),)
    )
    return [tuple(row.values()) for row in rows]


def test_only_what_the_partner_has_keys_for_is_taken(product: Product) -> None:
    assert tick(product) == ["v1"]
    assert reasons(product) == [("v2", WEEK.monday, 1, "no_key_patient")]


def test_an_organization_with_nothing_but_blocked_visits_is_not_due(product: Product) -> None:
    tick(product)
    later(product, "v1")
    assert due(product.database.connect("push"), NEEDS) == []


def test_when_a_person_joins_the_key_the_next_tick_takes_the_visit(product: Product) -> None:
    tick(product)
    later(product, "v1")
    product.database.connect("onboarding").execute(JOIN, ("patient", 12, "P-2"))
    assert tick(product) == ["v2"]
    assert reasons(product) == []


def test_when_a_merge_brings_the_key_the_next_tick_takes_the_visit(product: Product) -> None:
    tick(product)
    later(product, "v1")
    product.database.connect("merge").execute(
        "insert into canonical.crosswalk (partner, organization, entity, source_key, canonical_id, mastered,"
        " first_run_key) values ('honoka', 'sakura', 'patient', 'P-2', 12, true, 'second')"
    )
    assert tick(product) == ["v2"]


def test_a_key_whose_transaction_is_open_while_the_visit_is_captured_is_not_missed(product: Product) -> None:
    tick(product)
    later(product, "v1")
    onboarding = product.database.connect("onboarding")
    with onboarding.transaction():
        onboarding.execute(JOIN, ("patient", 12, "P-2"))
        product.visit("v2", revision=2, patient_id=12, note="edited meanwhile")
        assert tick(product) == []
    assert tick(product) == ["v2"]


def test_a_key_of_somebody_else_frees_nothing(product: Product) -> None:
    admin = product.database.admin()
    admin.execute("delete from canonical.crosswalk where entity = 'patient' and canonical_id = 13")
    tick(product)
    later(product, "v1")
    product.database.connect("onboarding").execute(JOIN, ("patient", 13, "P-3"))
    assert tick(product) == []
    assert due(product.database.connect("push"), NEEDS) == []


def test_a_key_that_a_person_takes_away_blocks_again(product: Product) -> None:
    onboarding = product.database.connect("onboarding")
    onboarding.execute(JOIN, ("patient", 12, "P-2"))
    assert tick(product) == ["v1", "v2"]
    onboarding.execute("delete from canonical.key_map where canonical_id = 12")
    assert tick(product) == ["v1"]
    assert [row[0] for row in reasons(product)] == ["v2"]


def test_a_partner_that_no_longer_wants_the_key_gets_the_visit(product: Product) -> None:
    tick(product)
    later(product, "v1")
    assert tick(product, needs=("office",)) == ["v2"]
    assert tick(product) == []


def test_a_visit_that_changes_to_a_patient_with_a_key_is_free_at_once(product: Product) -> None:
    tick(product)
    later(product, "v1")
    product.visit("v2", revision=2, patient_id=13)
    assert tick(product) == ["v2"]


def test_a_withdraw_is_never_blocked(product: Product) -> None:
    HandPusher(product).push("v1", "v2")
    product.visit("v2", revision=2, patient_id=12, status="cancelled")
    assert tick(product) == ["v2"]


def test_a_patient_whose_record_waits_in_quarantine_is_told_from_one_that_nobody_has_joined(product: Product) -> None:
    admin = product.database.admin()
    numbers = {"insurer_number": "06132013", "insured_number": "12345678"}
    admin.execute("update canonical.patient set insurer_number = '06132013', insured_number = '12345678' where id = 12")
    for source_key, extra in (("P-9", {}), ("P-2", numbers)):
        admin.execute(
            "insert into quarantine.row (partner, organization, entity, source_key, reasons, staged, raw,"
            " first_run_key, last_run_key) values ('honoka', 'sakura', 'patient', %s, '[]', %s, '[{}]', 'run', 'run')",
            (source_key, Jsonb([{"family_name": "x", **extra}])),
        )
        found = reasons(product)[0][3]
        assert found == ("patient_in_quarantine" if extra else "no_key_patient")


def test_a_visit_with_two_reasons_names_both(product: Product) -> None:
    product.database.admin().execute("delete from canonical.crosswalk where entity = 'practitioner'")
    product.visit("v2", revision=2, patient_id=12, note="edited")
    assert [row[3] for row in reasons(product)] == ["no_key_patient", "no_key_practitioner"]


def open_circuit(product: Product) -> None:
    conn = product.database.connect("push")
    report_calls(conn, Calls(failed=10), partner=PARTNER, organization="sakura", rule=CircuitRule())


def hold_organization(product: Product) -> None:
    hold(product.database, "sakura")


def hold_partner(product: Product) -> None:
    hold(product.database)


@pytest.mark.parametrize(
    ("stop", "reason"),
    [(open_circuit, "circuit_open"), (hold_organization, "organization_held"), (hold_partner, "partner_held")],
)
def test_what_stops_an_organization_is_a_reason_of_each_of_its_visits_until_it_is_gone(
    product: Product, stop: Callable[[Product], None], reason: str
) -> None:
    stop(product)
    found = {(row[0], row[3]) for row in reasons(product)}
    assert found == {("v1", reason), ("v2", reason), ("v2", "no_key_patient")}
    for language in ("ja", "en"):
        assert reason_name(reason, language) != reason.replace("_", " ")  # type: ignore[arg-type]  # a language
        assert sentence(reason, language, partner="honoka", organization="sakura")  # type: ignore[arg-type]
    admin = product.database.admin()
    admin.execute("delete from sync.circuit")
    for held in ("", "sakura"):
        hold(product.database, held, held=False)
    assert [(row[0], row[3]) for row in reasons(product)] == [("v2", "no_key_patient")]


def test_a_visit_that_lacks_a_key_as_well_is_counted_by_that(product: Product) -> None:
    hold(product.database)
    work = {"partner": PARTNER, "organization": "sakura", "needs": list(NEEDS), "week": WEEK.monday}
    rows = product.database.connect("run").execute(statement("delivery.blocked_by_reason"), work).fetchall()
    assert {row["reason"]: row["count"] for row in rows} == {"no_key_patient": 1, "partner_held": 1}


def test_a_stop_of_another_organization_is_no_reason(product: Product) -> None:
    hold(product.database, "ume")
    assert [row[0] for row in reasons(product)] == ["v2"]
