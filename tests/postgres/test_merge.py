"""Merge: from accepted rows to canonical ones; what changes, what stays, what waits for a person."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from partner_sync.errors import SliceIncompleteError
from partner_sync.master.guard import Guard, MergeCounts
from postgres.listings import ListedPartner, MasterBed, office, patient
from postgres_server import Database

STRICT = Guard(minimum_rows=2)


def many(count: int, **changes: str) -> list[dict[str, object]]:
    return [patient(f"P-{n}", **changes) for n in range(count)]


def alive(bed: MasterBed) -> list[str]:
    return sorted(key for key, row in bed.canonical().items() if row["deleted_at"] is None)


def test_new_records_are_inserted_with_ids_in_the_order_of_their_keys(bed: MasterBed) -> None:
    counts = bed.sync("r1", [patient("P-2"), patient("P-1"), patient("P-3")])
    assert counts == MergeCounts(inserted=3, updated=0, unchanged=0, tombstoned=0)
    rows = bed.canonical()
    assert rows["P-1"]["id"] < rows["P-2"]["id"] < rows["P-3"]["id"]
    assert (rows["P-1"]["family_name"], rows["P-1"]["active"]) == ("山田", True)


def test_only_what_really_changed_is_updated_and_the_old_row_is_kept(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    before = bed.canonical()
    counts = bed.sync("r2", [patient("P-0"), patient("P-1", family="佐藤"), patient("P-2")])
    assert counts == MergeCounts(inserted=0, updated=1, unchanged=2, tombstoned=0)
    after = bed.canonical()
    assert after["P-1"]["family_name"] == "佐藤"
    assert after["P-1"]["updated_at"] > before["P-1"]["updated_at"]
    assert {key: after[key] for key in ("P-0", "P-2")} == {key: before[key] for key in ("P-0", "P-2")}
    history = bed.rows("select id, was ->> 'family_name' as family_name from canonical.patient_history")
    assert history == [{"id": before["P-1"]["id"], "family_name": "山田"}]


def test_a_change_of_an_extra_field_alone_is_a_change(bed: MasterBed) -> None:
    bed.sync("r1", [patient("P-1", blood_type="A")])
    assert bed.sync("r2", [patient("P-1", blood_type="B")]).updated == 1
    assert bed.canonical()["P-1"]["extra"] == {"blood_type": "B"}


def test_the_same_page_merged_by_two_runs_changes_no_row(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    before = bed.canonical()
    assert bed.sync("r2", many(3)) == MergeCounts(inserted=0, updated=0, unchanged=3, tombstoned=0)
    assert bed.canonical() == before
    assert bed.rows("select from canonical.patient_history") == []


def test_a_second_merge_of_one_slice_returns_the_figures_of_the_first(bed: MasterBed) -> None:
    first = bed.sync("r1", many(3))
    assert bed.merge("r1") == first


def test_two_merges_of_one_slice_at_once_do_it_once(bed: MasterBed, database: Database) -> None:
    bed.extract("r1", ListedPartner([many(200)]))
    bed.judge("r1")
    other = MasterBed(database)
    together = threading.Barrier(2)

    def merge(which: MasterBed) -> MergeCounts:
        together.wait()
        return which.merge("r1")

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(merge, (bed, other))
    assert first == second == MergeCounts(inserted=200, updated=0, unchanged=0, tombstoned=0)
    assert len(bed.canonical()) == 200


def test_an_office_is_found_by_the_partners_key(bed: MasterBed) -> None:
    bed.sync("r1", [office("O-1"), office("O-2")], entity="office")
    bed.sync("r1", [patient("P-1", office_id="O-2"), patient("P-2", office_id=None)])
    rows = bed.canonical()
    assert rows["P-1"]["office_id"] == bed.canonical("office")["O-2"]["id"]
    assert rows["P-2"]["office_id"] is None


def test_practitioners_are_merged_and_updated(bed: MasterBed) -> None:
    staff = {"id": "S-1", "name": {"family": "鈴木", "given": "一郎"}, "role": "nurse", "active": True}
    assert bed.sync("r1", [staff], entity="practitioner").inserted == 1
    assert bed.sync("r2", [staff | {"active": False}], entity="practitioner").updated == 1
    assert bed.canonical("practitioner")["S-1"]["active"] is False


def test_the_same_key_twice_in_a_slice_changes_nothing_of_the_row(bed: MasterBed) -> None:
    bed.sync("r1", many(2))
    before = bed.canonical()
    counts = bed.sync("r2", [patient("P-0", family="甲"), patient("P-0", family="乙"), patient("P-1")])
    assert (counts.updated, counts.tombstoned, bed.canonical()) == (0, 0, before)


# --- gone ---------------------------------------------------------------------------------------------------


def test_absence_from_two_complete_full_slices_makes_a_tombstone(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    assert bed.sync("r2", many(2)).tombstoned == 0
    assert bed.sync("r3", many(2)).tombstoned == 1
    gone = bed.canonical()["P-2"]
    assert gone["active"] is False
    assert gone["deleted_at"] is not None
    assert bed.sync("r4", many(2)).tombstoned == 0


def test_absence_counts_once_for_one_run(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    bed.sync("r2", many(2))
    bed.looking.execute("delete from canonical.slice_merge where run_key = 'r2'")
    assert bed.merge("r2").tombstoned == 0


def test_presence_in_between_starts_the_count_again(bed: MasterBed) -> None:
    for run_key, count in (("r1", 3), ("r2", 2), ("r3", 3), ("r4", 2)):
        assert bed.sync(run_key, many(count)).tombstoned == 0
    assert alive(bed) == ["P-0", "P-1", "P-2"]


def test_a_key_that_is_quarantined_counts_as_present(bed: MasterBed) -> None:
    bed.sync("r1", many(2))
    for run_key in ("r2", "r3", "r4"):
        assert bed.sync(run_key, [patient("P-0"), patient("P-1", birth="no date")]).tombstoned == 0
    assert alive(bed) == ["P-0", "P-1"]


def test_nothing_is_read_from_absence_while_a_record_has_no_key(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    for run_key in ("r2", "r3", "r4"):
        assert bed.sync(run_key, [*many(2), patient(None)]).tombstoned == 0


def test_nothing_is_read_from_absence_in_an_incremental_slice(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    for run_key in ("r2", "r3", "r4"):
        bed.sync(run_key, many(1), mode="incremental")
    assert alive(bed) == ["P-0", "P-1", "P-2"]


def test_an_incomplete_slice_brings_what_is_present_and_reads_nothing_from_absence(bed: MasterBed) -> None:
    bed.sync("r1", many(3))
    marked = bed.watermark()
    for run_key in ("r2", "r3"):
        later = [patient("P-0", family="佐藤", updated_at="2026-02-01T09:00:00+09:00")]
        bed.extract(run_key, ListedPartner([later], total=3))
        bed.judge(run_key)
        assert bed.merge(run_key).tombstoned == 0
    assert bed.canonical()["P-0"]["family_name"] == "佐藤"
    assert bed.watermark() == marked
    assert alive(bed) == ["P-0", "P-1", "P-2"]


def test_a_record_that_says_it_is_deleted_is_a_tombstone_at_once(bed: MasterBed) -> None:
    bed.sync("r1", many(2))
    deleted = {"id": "P-1", "deleted": True, "updated_at": "2026-02-01T09:00:00+09:00"}
    assert bed.sync("r2", [deleted], mode="incremental").tombstoned == 1
    assert alive(bed) == ["P-0"]
    assert bed.sync("r3", [deleted], mode="incremental").tombstoned == 0


def test_a_deleted_record_that_we_never_had_makes_no_row(bed: MasterBed) -> None:
    deleted = {"id": "P-9", "deleted": True, "updated_at": "2026-02-01T09:00:00+09:00"}
    assert bed.sync("r1", [deleted]) == MergeCounts(inserted=0, updated=0, unchanged=0, tombstoned=0)
    assert bed.canonical() == {}


def test_who_comes_back_has_the_old_id(bed: MasterBed) -> None:
    bed.sync("r1", many(2))
    before = bed.canonical()["P-1"]["id"]
    bed.sync("r2", [{"id": "P-1", "deleted": True}], mode="incremental")
    assert bed.sync("r3", many(2)).updated == 1
    back = bed.canonical()["P-1"]
    assert (back["id"], back["deleted_at"], back["active"]) == (before, None, True)


# --- held ---------------------------------------------------------------------------------------------------


def test_an_unusual_share_of_changes_is_held_and_moves_nothing(bed: MasterBed) -> None:
    bed.sync("r1", many(10))
    before, marked = bed.canonical(), bed.watermark()
    changed = many(10, family="佐藤", updated_at="2026-02-01T09:00:00+09:00")
    held = bed.sync("r2", [*changed, patient("P-new")], guard=STRICT)
    assert held == MergeCounts(inserted=1, updated=10, unchanged=0, tombstoned=0, state="held")
    assert (bed.canonical(), bed.watermark()) == (before, marked)
    assert bed.merge("r2", guard=STRICT) == held


def test_an_unusual_share_of_vanished_rows_is_held(bed: MasterBed) -> None:
    bed.sync("r1", many(10))
    bed.sync("r2", many(7), guard=STRICT)
    held = bed.sync("r3", many(7), guard=STRICT)
    assert (held.state, held.tombstoned) == ("held", 3)
    assert len(alive(bed)) == 10


def test_a_new_sync_may_go_up_to_the_approved_figures(bed: MasterBed) -> None:
    bed.sync("r1", many(10))
    changed = many(10, family="佐藤")
    assert bed.sync("r2", changed, guard=Guard(minimum_rows=2, approved_changed=9)).state == "held"
    approved = bed.sync("r3", changed, guard=Guard(minimum_rows=2, approved_changed=10))
    assert (approved.state, approved.updated) == ("merged", 10)


def test_a_first_load_is_not_held(bed: MasterBed) -> None:
    assert bed.sync("r1", many(50), guard=STRICT).state == "merged"


# --- slices that cannot be used -----------------------------------------------------------------------------


def test_a_slice_that_broke_off_moves_nothing(bed: MasterBed) -> None:
    with pytest.raises(SliceIncompleteError):
        bed.extract(
            "r1",
            ListedPartner(
                [many(1), []], breaks={2: SliceIncompleteError(**bed.key("r1").as_parameters(), problem="x")}
            ),
        )
    bed.judge("r1")
    with pytest.raises(SliceIncompleteError, match="last page was not reached"):
        bed.merge("r1")
    assert bed.canonical() == {}


def test_a_slice_that_was_not_validated_is_refused(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([many(1)]))
    with pytest.raises(SliceIncompleteError, match="not validated"):
        bed.merge("r1")


def test_a_slice_that_lost_rows_is_refused(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([many(2)]))
    bed.judge("r1")
    bed.looking.execute("delete from staging.patient where source_key = 'P-1'")
    with pytest.raises(SliceIncompleteError, match="no longer in staging"):
        bed.merge("r1")


def test_a_slice_that_was_never_read_is_refused(bed: MasterBed) -> None:
    with pytest.raises(SliceIncompleteError):
        bed.merge("r1")


# --- watermark ----------------------------------------------------------------------------------------------


def test_the_watermark_is_the_greatest_source_time_less_the_overlap(bed: MasterBed) -> None:
    pages = [patient("P-1", updated_at="2026-02-01T09:00:00+09:00"), patient("P-2")]
    bed.sync("r1", pages, overlap_seconds=120)
    assert bed.watermark() == datetime(2026, 1, 31, 23, 58, tzinfo=UTC)
    assert bed.extract("r2", ListedPartner([[]]), mode="incremental").since_at == bed.watermark()


def test_a_record_dated_in_the_future_does_not_hide_later_changes(bed: MasterBed) -> None:
    bed.sync("r1", [patient("P-1", updated_at="2999-01-01T00:00:00+09:00")])
    marked = bed.watermark()
    assert marked is not None
    assert marked.year < 2999


def test_an_empty_slice_leaves_the_watermark(bed: MasterBed) -> None:
    bed.sync("r1", many(1))
    marked = bed.watermark()
    bed.sync("r2", [], mode="incremental")
    assert bed.watermark() == marked


def test_a_reload_that_leaves_a_gap_does_not_move_the_watermark(bed: MasterBed) -> None:
    bed.sync("r1", many(1))
    marked = bed.watermark()
    partner = ListedPartner([[patient("P-9", updated_at="2026-06-01T00:00:00+09:00")]])
    bed.extract("r2", partner, mode="incremental", since_at=datetime(2026, 5, 1, tzinfo=UTC))
    bed.judge("r2")
    assert bed.merge("r2").inserted == 1
    assert bed.watermark() == marked


# --- partners that are not the master -----------------------------------------------------------------------


@pytest.fixture
def second(bed: MasterBed, database: Database) -> MasterBed:
    return MasterBed(database, partner="tsubaki", organization=bed.organization)


def user(number: str, insured: str | None) -> dict[str, object]:
    return {"user_no": number, "full_name": "山田　花子", "birthday": "3130405", "insured_no": insured, "in_use": "1"}


def numbered(key: str, insured: str | None) -> dict[str, object]:
    return patient(key, care={"insured_number": insured})


def joined(second: MasterBed) -> dict[str, int]:
    found = second.rows(
        "select source_key, canonical_id from canonical.crosswalk where partner = 'tsubaki' and not mastered"
    )
    return {row["source_key"]: row["canonical_id"] for row in found}


def test_another_partners_keys_are_joined_by_the_identifier_and_change_no_row(
    bed: MasterBed, second: MasterBed
) -> None:
    bed.sync("r1", [numbered("P-1", "0000000001"), numbered("P-2", "0000000002")])
    before = bed.canonical()
    counts = second.sync(
        "t1", [user("11", "0000000001"), user("12", "0000000009")], mastered=False, match_by=["insured_number"]
    )
    assert counts == MergeCounts(inserted=0, updated=0, unchanged=1, tombstoned=0)
    assert joined(second) == {"11": before["P-1"]["id"]}
    assert bed.canonical() == before


def test_an_identifier_that_two_of_theirs_have_joins_nobody(bed: MasterBed, second: MasterBed) -> None:
    bed.sync("r1", [numbered("P-1", "0000000001")])
    second.sync("t1", [user("11", "0000000001"), user("12", "0000000001")], mastered=False, match_by=["insured_number"])
    assert joined(second) == {}


def test_an_identifier_that_two_of_ours_have_joins_nobody(bed: MasterBed, second: MasterBed) -> None:
    bed.sync("r1", [numbered("P-1", "0000000001"), numbered("P-2", "0000000001")])
    second.sync("t1", [user("11", "0000000001")], mastered=False, match_by=["insured_number"])
    assert joined(second) == {}


def test_an_absent_identifier_joins_nobody(bed: MasterBed, second: MasterBed) -> None:
    bed.sync("r1", [numbered("P-1", None)])
    second.sync("t1", [user("11", None)], mastered=False, match_by=["insured_number"])
    assert joined(second) == {}


def test_what_a_person_has_joined_is_not_joined_again(bed: MasterBed, second: MasterBed, database: Database) -> None:
    bed.sync("r1", [numbered("P-1", "0000000001")])
    database.connect("onboarding").execute(
        "insert into canonical.key_map values ('tsubaki', %s, 'patient', %s, '99', 'a person')",
        [bed.organization, bed.canonical()["P-1"]["id"]],
    )
    second.sync("t1", [user("11", "0000000001")], mastered=False, match_by=["insured_number"])
    assert joined(second) == {}


def test_a_later_full_list_of_the_other_partner_joins_who_came_meanwhile(bed: MasterBed, second: MasterBed) -> None:
    second.sync("t1", [user("11", "0000000001")], mastered=False, match_by=["insured_number"])
    bed.sync("r1", [numbered("P-1", "0000000001")])
    second.sync("t2", [user("11", "0000000001")], mastered=False, match_by=["insured_number"])
    assert joined(second) == {"11": bed.canonical()["P-1"]["id"]}


def test_a_key_that_a_person_has_joined_gets_that_id_when_its_partner_becomes_the_master(
    bed: MasterBed, second: MasterBed, database: Database
) -> None:
    bed.sync("r1", [patient("P-1")])
    ours = bed.canonical()["P-1"]["id"]
    database.connect("onboarding").execute(
        "insert into canonical.key_map values ('tsubaki', %s, 'patient', %s, '99', 'a person')",
        [bed.organization, ours],
    )
    assert second.sync("t1", [user("98", None), user("99", None)]).inserted == 1
    assert second.canonical()["99"]["id"] == ours
