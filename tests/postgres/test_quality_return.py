"""The quarantine over several runs: what comes back, when, and that nothing is lost or done twice."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from postgres.staged import Staged
from postgres_server import Database

FUTURE = date(2093, 1, 1)


@pytest.fixture
def staged(database: Database) -> Staged:
    made = Staged(database)
    made.known_office()
    return made


def everything(staged: Staged) -> dict[str, list[dict[str, Any]]]:
    tables = ("quarantine.row", "quarantine.failing_key", "quality.run", "quality.result", "quality.left_out")
    admin = staged.database.admin()
    return {table: admin.execute(f"select t.* from {table} t order by t::text").fetchall() for table in tables}


def test_validating_a_run_again_changes_nothing(staged: Staged) -> None:
    staged.slice([{"source_key": "late", "office_key": "f2"}, {"source_key": "never", "birth_date": FUTURE}])
    staged.validate()
    staged.known_office("f2")
    staged.slice(
        [
            {"source_key": "warned", "phone": "1"},
            {"source_key": "twin"},
            {"source_key": "twin", "city": "台東区"},
            {"source_key": "again"},
            {"source_key": "again"},
            {"source_key": None, "critical_problem": "key:missing"},
        ],
        run_key="run-2",
    )
    first = staged.validate("run-2")
    state = everything(staged)
    assert staged.validate("run-2") == first
    assert everything(staged) == state
    assert len(state["quarantine.row"]) == 4


def test_a_record_whose_office_comes_later_gets_in_by_itself(staged: Staged) -> None:
    staged.slice([{"source_key": "early", "office_key": "f2", "given_name": "花"}])
    staged.validate()
    staged.known_office("f2")
    staged.slice([{"source_key": "other"}], run_key="run-2")
    (figures,) = staged.validate("run-2")
    assert (figures.returned, figures.waiting, figures.evaluated) == (1, 0, 2)
    assert staged.accepted("run-2") == ["early", "other"]
    (row,) = staged.quarantine()
    assert (row["status"], row["returned_as"], row["returned_run_key"]) == ("returned", "kept", "run-2")
    assert row["first_run_key"] == "run-1"


def test_a_returned_record_has_the_same_columns_and_values_as_a_staged_one(staged: Staged) -> None:
    change = {"source_key": "p", "valid_to": date(2030, 1, 1), "active": True, "extra": '{"blood_type": "A"}'}
    staged.known_office("there")
    staged.slice([change | {"office_key": "there"}])
    staged.validate()
    query = "select * from quality.accepted_patient"
    merge = staged.database.connect("merge")
    direct = merge.execute(query).fetchall()
    staged.slice([change | {"office_key": "f2"}], run_key="run-2")
    staged.validate("run-2")
    staged.known_office("f2")
    staged.slice([], run_key="run-3")
    staged.validate("run-3")
    (back,) = merge.execute(query + " where run_key = 'run-3'").fetchall()
    assert back == direct[0] | {"run_key": "run-3", "office_key": "f2"}


def test_a_record_that_still_fails_goes_on_waiting_with_its_age(staged: Staged) -> None:
    staged.slice([{"source_key": "p", "birth_date": FUTURE}])
    staged.validate()
    before = staged.quarantine()
    staged.slice([], run_key="run-2")
    (figures,) = staged.validate("run-2")
    assert (figures.evaluated, figures.quarantined, figures.waiting) == (1, 0, 1)
    assert staged.quarantine() == before


def test_a_return_that_was_never_merged_is_judged_again(staged: Staged) -> None:
    staged.slice([{"source_key": "p", "office_key": "f2"}])
    staged.validate()
    staged.known_office("f2")
    for run_key in ("run-2", "run-3"):
        staged.slice([], run_key=run_key)
        staged.validate(run_key)
        assert staged.accepted(run_key) == ["p"]
    assert staged.accepted("run-2") == []
    staged.merged("run-3")
    staged.slice([], run_key="run-4")
    staged.validate("run-4")
    assert staged.accepted("run-4") == []


def test_a_return_that_was_never_merged_and_comes_with_a_fault_waits_again(staged: Staged) -> None:
    staged.slice([{"source_key": "p", "office_key": "f2"}])
    staged.validate()
    staged.known_office("f2")
    staged.slice([], run_key="run-2")
    staged.validate("run-2")
    staged.slice([{"source_key": "p", "birth_date": FUTURE}], run_key="run-3")
    staged.validate("run-3")
    (row,) = staged.quarantine()
    assert (row["status"], row["first_run_key"], row["last_run_key"]) == ("open", "run-1", "run-3")
    assert staged.reasons("p") == {"birth_date_possible", "valid_after_birth"}


def test_a_newer_good_record_ends_the_wait(staged: Staged) -> None:
    staged.slice([{"source_key": "p", "birth_date": FUTURE}])
    staged.validate()
    staged.slice([{"source_key": "p", "city": "台東区"}], run_key="run-2")
    (figures,) = staged.validate("run-2")
    assert (figures.returned, figures.waiting) == (1, 0)
    assert [row["returned_as"] for row in staged.quarantine()] == ["newer"]
    assert staged.accepted("run-2") == ["p"]


def test_a_deletion_at_the_partner_ends_the_wait_for_good(staged: Staged) -> None:
    staged.slice([{"source_key": "p", "office_key": "f2"}])
    staged.validate()
    staged.slice([{"source_key": "p", "deleted": True}], run_key="run-2")
    staged.validate("run-2")
    assert staged.accepted("run-2") == ["p"]
    staged.known_office("f2")
    staged.slice([], run_key="run-3")
    staged.validate("run-3")
    assert [row["returned_as"] for row in staged.quarantine()] == ["deleted"]
    assert staged.accepted("run-3") == []


def test_copies_of_a_key_never_come_back_without_the_partner(staged: Staged) -> None:
    staged.slice([{"source_key": "twin"}, {"source_key": "twin", "city": "台東区"}])
    staged.validate()
    staged.slice([], run_key="run-2")
    (figures,) = staged.validate("run-2")
    assert (figures.evaluated, figures.waiting) == (2, 1)
    assert staged.accepted("run-2") == []
    staged.slice([{"source_key": "twin", "city": "台東区"}], run_key="run-3")
    staged.validate("run-3")
    assert staged.accepted("run-3") == ["twin"]


def test_a_key_that_fails_again_after_its_return_waits_in_a_new_row(staged: Staged) -> None:
    for run_key, change in (("run-1", {"birth_date": FUTURE}), ("run-2", {}), ("run-3", {"birth_date": FUTURE})):
        staged.slice([{"source_key": "p"} | change], run_key=run_key)
        staged.validate(run_key)
        staged.merged(run_key)
    assert [row["status"] for row in staged.quarantine()] == ["returned", "open"]


def test_a_failing_key_is_forgotten_when_it_passes_and_kept_when_a_list_of_changes_leaves_it_out(
    staged: Staged,
) -> None:
    staged.slice([{"source_key": "mended", "phone": "1"}, {"source_key": "silent", "phone": "1"}])
    staged.validate()
    staged.slice([{"source_key": "mended"}], run_key="run-2", mode="incremental")
    staged.validate("run-2")
    rows = staged.database.connect("validate").execute("select source_key, last_run_key from quarantine.failing_key")
    assert rows.fetchall() == [{"source_key": "silent", "last_run_key": "run-1"}]


def test_a_failing_key_is_forgotten_when_a_list_of_everything_leaves_it_out(staged: Staged) -> None:
    staged.slice([{"source_key": "gone", "phone": "1"}, {"source_key": "here", "phone": "1"}])
    staged.validate()
    staged.slice([{"source_key": "here", "phone": "1"}], run_key="run-2", state="incomplete")
    staged.validate("run-2")
    keys = "select source_key from quarantine.failing_key order by source_key"
    validate = staged.database.connect("validate")
    assert [row["source_key"] for row in validate.execute(keys)] == ["gone", "here"]
    staged.slice([{"source_key": "here", "phone": "1"}], run_key="run-3")
    staged.validate("run-3")
    assert [row["source_key"] for row in validate.execute(keys)] == ["here"]


def test_a_wait_in_one_organization_is_not_ended_by_another(staged: Staged) -> None:
    staged.slice([{"source_key": "p", "birth_date": FUTURE}])
    staged.validate()
    staged.known_office(organization="midori")
    staged.slice([{"source_key": "p"}], run_key="run-2", organization="midori")
    staged.validate("run-2", organizations=["aoba", "midori"])
    assert [(row["organization"], row["status"]) for row in staged.quarantine()] == [("aoba", "open")]
