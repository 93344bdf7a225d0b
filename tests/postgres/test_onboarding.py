"""Links: who is joined to whom, one master for each entity, and what people type."""

from __future__ import annotations

import pytest

from partner_sync.database import Connection
from partner_sync.errors import (
    ConfigError,
    DatabaseAwayError,
    NotLinkedError,
    SecondMasterError,
    UnknownOrganizationError,
)
from partner_sync.links import Link, link_of, linked_organizations
from partner_sync.onboarding import add_link, add_organization, join_key
from postgres_server import Database


def link(partner: str, organization: str, **changes: object) -> Link:
    facts: dict[str, object] = {
        "partner": partner,
        "organization": organization,
        "connection_id": f"partner_{partner}__{organization}",
        "directions": ("master", "schedule"),
        "master_of": ("patient",),
    }
    return Link(**(facts | changes))  # type: ignore[arg-type]  # a dict of any facts


@pytest.fixture
def onboarding(database: Database):
    conn = database.connect("onboarding")
    for code in ("sakura-care", "sakura-home", "momiji-care"):
        add_organization(conn, code=code, name=code)
    return conn


def test_a_link_makes_the_partners_staging_partitions(database: Database, onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    found = database.admin().execute("select to_regclass('staging.patient__aoba') as found").fetchone()
    assert found["found"] is not None


def test_a_second_master_is_refused_and_names_the_first(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    with pytest.raises(SecondMasterError, match="aoba is"):
        add_link(onboarding, link("midori", "sakura-care"))
    assert linked_organizations(onboarding, partner="midori", direction="master") == ()


def test_another_partner_can_be_the_master_after_the_first_gave_it_up(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    add_link(onboarding, link("aoba", "sakura-care", master_of=()))
    add_link(onboarding, link("midori", "sakura-care"))
    assert linked_organizations(onboarding, partner="midori", direction="master")[0].master_of == ("patient",)


def test_two_partners_can_each_be_the_master_of_another_entity(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care", master_of=("office", "practitioner")))
    add_link(onboarding, link("midori", "sakura-care", master_of=("patient",)))
    assert linked_organizations(onboarding, partner="aoba", direction="master")[0].master_of == (
        "office",
        "practitioner",
    )


def test_a_link_that_reads_nothing_cannot_be_a_master(onboarding) -> None:
    with pytest.raises(ConfigError, match="does not read master data"):
        add_link(onboarding, link("aoba", "sakura-care", directions=("schedule",)))


def test_adding_a_link_again_changes_what_it_says(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    add_link(onboarding, link("aoba", "sakura-care", release_mode="weekly"))
    links = linked_organizations(onboarding, partner="aoba", direction="schedule")
    assert [one.release_mode for one in links] == ["weekly"]


def test_a_disabled_link_takes_part_in_nothing(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care", enabled=False))
    assert linked_organizations(onboarding, partner="aoba", direction="master") == ()


def test_an_unknown_code_is_answered_with_near_ones(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    with pytest.raises(UnknownOrganizationError, match="Did you mean sakura-care or sakura-home"):
        linked_organizations(onboarding, partner="aoba", direction="master", codes=["sakura-car"])


def test_an_organization_that_is_known_but_not_linked_is_named(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    with pytest.raises(NotLinkedError, match="momiji-care has no enabled link to aoba"):
        linked_organizations(onboarding, partner="aoba", direction="master", codes=["sakura-care", "momiji-care"])


def test_lines_that_look_like_no_code_are_counted_and_not_repeated(onboarding) -> None:
    with pytest.raises(UnknownOrganizationError, match=r"typed \(2 lines\)") as refused:
        linked_organizations(onboarding, partner="aoba", direction="master", codes=["山田 花子", "Yamada Hanako"])
    assert "山田" not in repr(refused.value.facts)
    assert "Yamada" not in repr(refused.value.facts)
    with pytest.raises(UnknownOrganizationError, match="sakura-kare"):
        linked_organizations(onboarding, partner="aoba", direction="master", codes=["山田 花子", "sakura-kare"])


def test_a_database_that_is_away_is_told_in_our_own_words(onboarding) -> None:
    onboarding.close()
    with pytest.raises(DatabaseAwayError):
        linked_organizations(onboarding, partner="aoba", direction="master")


def test_typed_codes_are_trimmed_and_counted_once(onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    found = linked_organizations(
        onboarding, partner="aoba", direction="master", codes=[" sakura-care ", "sakura-care", ""]
    )
    assert [one.organization for one in found] == ["sakura-care"]


def test_a_key_that_a_person_joined_counts_before_the_crosswalk(database: Database, onboarding) -> None:
    add_link(onboarding, link("aoba", "sakura-care"))
    merge = database.connect("merge")
    merge.execute("insert into canonical.patient (id, organization) values (1, 'sakura-care')")
    merge.execute(
        "insert into canonical.crosswalk"
        " (partner, organization, entity, source_key, canonical_id, mastered, first_run_key)"
        " values ('aoba', 'sakura-care', 'patient', 'P-1', 1, true, 'run')"
    )
    for key in ("P-8", "P-9"):
        join_key(
            onboarding,
            link=link("aoba", "sakura-care"),
            entity="patient",
            canonical_id=1,
            source_key=key,
            joined_by="p",
        )
    rows = onboarding.execute("select source_key from canonical.partner_key").fetchall()
    assert [row["source_key"] for row in rows] == ["P-9"]


def row(database: Database, number: int, organization: str = "sakura-care") -> None:
    merge = database.connect("merge")
    merge.execute("insert into canonical.patient (id, organization) values (%s, %s)", [number, organization])


def joined(conn: Connection, *, canonical_id: int = 1, entity: str = "patient", key: str = "P-1") -> None:
    there = link("aoba", "sakura-care")
    join_key(conn, link=there, entity=entity, canonical_id=canonical_id, source_key=key, joined_by="p")


@pytest.mark.parametrize(("canonical_id", "entity"), [(99, "patient"), (1, "practitioner"), (2, "patient")])
def test_a_key_is_not_joined_to_a_row_that_the_organization_does_not_have(
    database: Database, onboarding: Connection, canonical_id: int, entity: str
) -> None:
    row(database, 1)
    row(database, 2, "momiji-care")
    with pytest.raises(ConfigError, match=f"sakura-care has no {entity} with the id {canonical_id}"):
        joined(onboarding, canonical_id=canonical_id, entity=entity)
    assert onboarding.execute("select * from canonical.key_map").fetchall() == []


def test_a_key_that_is_another_rows_is_refused_in_words(database: Database, onboarding: Connection) -> None:
    row(database, 1)
    row(database, 2)
    joined(onboarding)
    with pytest.raises(ConfigError, match="joined to another patient"):
        joined(onboarding, canonical_id=2)


def test_an_organization_without_a_new_name_keeps_its_own(onboarding: Connection) -> None:
    add_organization(onboarding, code="sakura-care", name="さくら会")
    add_organization(onboarding, code="sakura-care", name=None)
    add_organization(onboarding, code="ume-care", name=None)
    rows = onboarding.execute("select code, name from sync.organization where code in ('sakura-care', 'ume-care')")
    assert {each["code"]: each["name"] for each in rows} == {"sakura-care": "さくら会", "ume-care": "ume-care"}


def test_a_link_is_known_also_when_it_is_disabled(onboarding: Connection) -> None:
    disabled = link("aoba", "sakura-care", enabled=False)
    add_link(onboarding, disabled)
    assert link_of(onboarding, partner="aoba", organization="sakura-care") == disabled
    assert link_of(onboarding, partner="aoba", organization="momiji-care") is None
