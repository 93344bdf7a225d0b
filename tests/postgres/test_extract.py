"""Extract: pages into staging, resumable, and nothing that a record holds can stop it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from partner_sync.errors import (
    BadAnswerError,
    DatabaseRefusedError,
    LimitReachedError,
    PagingLoopError,
    SliceIncompleteError,
)
from partner_sync.kinds.interface import Capabilities
from postgres.listings import ListedPartner, MasterBed, patient
from postgres_server import Database


def wait() -> LimitReachedError:
    return LimitReachedError(partner="honoka", retry_at=datetime(2030, 1, 1, tzinfo=UTC))


def keys_in_staging(bed: MasterBed) -> list[str | None]:
    return [row["source_key"] for row in bed.staged()]


def test_typed_columns_stand_beside_the_record_as_it_came(bed: MasterBed) -> None:
    record = patient("P-1", family="髙橋", blood_type="A")
    bed.extract("r1", ListedPartner([[record]]))
    row = bed.staged()[0]
    assert (row["family_name"], str(row["birth_date"]), row["care_level"]) == ("髙橋", "1938-04-05", "care_1")
    assert row["extra"] == {"blood_type": "A"}
    assert row["raw"] == record


def test_a_listing_that_reached_its_end_is_complete(bed: MasterBed) -> None:
    counts = bed.extract("r1", ListedPartner([[patient("P-1")], [patient("P-2")]], total=2))
    assert (counts.state, counts.pages, counts.records, counts.problem) == ("complete", 2, 2, None)


@pytest.mark.parametrize(
    "text",
    [
        "tab\there",
        "line\nbreak",
        "carriage\rreturn",
        "back\\slash",
        "\\N",
        "\\.",
        "unit\x1fseparator",
        '"quoted"',
        "𠮷野家",
    ],
)
def test_a_text_comes_through_copy_as_it_is(bed: MasterBed, text: str) -> None:
    bed.extract("r1", ListedPartner([[patient(f"P-{text}", family=f"a{text}b")]]))
    row = bed.staged()[0]
    assert (row["source_key"], row["family_name"]) == (f"P-{text}", f"a{text}b")
    assert row["raw"]["name"]["family"] == f"a{text}b"


def test_a_deferral_goes_on_at_the_page_it_stopped_before(bed: MasterBed) -> None:
    partner = ListedPartner([[patient(f"P-{n}")] for n in range(5)], breaks={4: wait()})
    with pytest.raises(LimitReachedError):
        bed.extract("r1", partner)
    assert len(bed.staged()) == 3
    counts = bed.extract("r1", partner)
    assert (counts.state, counts.records) == ("complete", 5)
    assert partner.asked == [1, 2, 3, 4, 5]
    assert keys_in_staging(bed) == [f"P-{n}" for n in range(5)]


def test_a_page_that_the_database_refuses_leaves_the_pages_before_it_and_its_own_position(
    bed: MasterBed, database: Database
) -> None:
    admin = database.admin()
    admin.execute("alter table staging.patient add constraint no_third check (source_key <> 'P-2')")
    partner = ListedPartner([[patient(f"P-{n}")] for n in range(4)])
    with pytest.raises(DatabaseRefusedError) as refused:
        bed.extract("r1", partner)
    assert "山田" not in str(refused.value)
    admin.execute("alter table staging.patient drop constraint no_third")
    assert bed.extract("r1", partner).records == 4
    assert keys_in_staging(bed) == [f"P-{n}" for n in range(4)]


def test_a_finished_slice_is_not_read_again(bed: MasterBed) -> None:
    partner = ListedPartner([[patient("P-1")]])
    first = bed.extract("r1", partner)
    assert bed.extract("r1", partner) == first
    assert partner.asked == [1]


def test_a_new_run_replaces_the_rows_of_older_ones(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([[patient("P-1"), patient("P-2")]]))
    bed.extract("r2", ListedPartner([[patient("P-3")]]))
    assert keys_in_staging(bed) == ["P-3"]


def test_a_cleared_run_whose_rows_were_replaced_is_read_anew(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([[patient("P-1")]]))
    bed.extract("r2", ListedPartner([[patient("P-2")]]))
    assert bed.extract("r1", ListedPartner([[patient("P-1")]])).state == "complete"
    assert keys_in_staging(bed) == ["P-1"]


def test_two_tasks_on_one_slice_never_double_its_rows(bed: MasterBed, database: Database) -> None:
    other = MasterBed(database)
    pages = [[patient("P-1")], [patient("P-2")], [patient("P-3")]]

    class Meanwhile(ListedPartner):
        """Another extract of the same slice begins while the second page is read."""

        def pages(self, *args, **values):
            for page in super().pages(*args, **values):
                if page.number == 2:
                    other.extract("r1", ListedPartner(self.pages_of))
                yield page

    with pytest.raises(SliceIncompleteError):
        bed.extract("r1", Meanwhile(pages))
    assert bed.extract("r1", ListedPartner(pages)).records == 3
    assert keys_in_staging(bed) == ["P-1", "P-2", "P-3"]


def test_a_repeated_page_makes_the_slice_incomplete(bed: MasterBed) -> None:
    page = [patient("P-1"), patient("P-2")]
    counts = bed.extract("r1", ListedPartner([page, [patient("P-3")], page]))
    assert (counts.state, counts.problem) == ("incomplete", "a page came twice")


def test_a_page_repeated_after_a_deferral_is_noticed_too(bed: MasterBed) -> None:
    page = [patient("P-1"), patient("P-2")]
    partner = ListedPartner([page, [patient("P-3")], page], breaks={3: wait()})
    with pytest.raises(LimitReachedError):
        bed.extract("r1", partner)
    assert bed.extract("r1", partner).state == "incomplete"


def test_a_total_that_disagrees_makes_the_slice_incomplete(bed: MasterBed) -> None:
    counts = bed.extract("r1", ListedPartner([[patient("P-1")]], total=2))
    assert (counts.state, counts.problem) == ("incomplete", "the partner reports 2 records and listed 1")


def test_an_empty_list_is_complete(bed: MasterBed) -> None:
    counts = bed.extract("r1", ListedPartner([[]], total=0))
    assert (counts.state, counts.records) == ("complete", 0)


def test_an_empty_page_in_the_middle_loses_nothing(bed: MasterBed) -> None:
    assert bed.extract("r1", ListedPartner([[patient("P-1")], [], [], [patient("P-2")]])).state == "complete"
    assert keys_in_staging(bed) == ["P-1", "P-2"]


def test_a_loop_of_pages_ends_incomplete_and_the_next_call_starts_afresh(bed: MasterBed) -> None:
    loop = PagingLoopError(partner="honoka", entity="patient", page=2)
    partner = ListedPartner([[patient("P-1")], [patient("P-2")]], breaks={2: loop})
    with pytest.raises(PagingLoopError):
        bed.extract("r1", partner)
    assert bed.rows("select state from staging.slice") == [{"state": "incomplete"}]
    assert bed.extract("r1", partner).state == "complete"
    assert partner.asked == [1, 1, 2]


def test_an_answer_that_cannot_be_read_leaves_the_slice_open(bed: MasterBed) -> None:
    broken = BadAnswerError(partner="honoka", endpoint="GET /v1/patients", status=200, problem="it is not JSON")
    with pytest.raises(BadAnswerError):
        bed.extract("r1", ListedPartner([[patient("P-1")], []], breaks={2: broken}))
    assert bed.rows("select state, pages from staging.slice") == [{"state": "open", "pages": 1}]


@pytest.mark.parametrize("record", ["text", 7, None, ["list"], True])
def test_a_record_that_is_no_object_is_a_critical_row(bed: MasterBed, record: object) -> None:
    bed.extract("r1", ListedPartner([[patient("P-1"), record]]))
    row = bed.staged()[1]
    assert (row["critical_problem"], row["raw"]) == ("record:not_an_object", record)


def test_nul_characters_are_replaced_and_critical(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([[patient("P-1", family="山\0田")]]))
    row = bed.staged()[0]
    assert row["critical_problem"] == "record:nul_character"
    assert row["raw"]["name"]["family"] == row["family_name"] == "山\N{REPLACEMENT CHARACTER}田"


def test_a_written_backslash_u0000_is_no_nul_character(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([[patient("P-1", family="\\u0000")]]))
    assert (bed.staged()[0]["critical_problem"], bed.staged()[0]["family_name"]) == (None, "\\u0000")


def test_a_text_of_ten_megabytes_is_left_out_with_its_size(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([[patient("P-1", family="x" * 10_000_000), patient("P-2")]]))
    large, small = bed.staged()
    assert large["critical_problem"] == "family_name:too_long"
    assert (large["raw"]["left_out"], large["raw"]["bytes"] > 10_000_000, len(large["raw"]["sha256"])) == (
        "too_large",
        True,
        64,
    )
    assert small["critical_problem"] is None


def test_a_missing_key_is_a_critical_row(bed: MasterBed) -> None:
    bed.extract("r1", ListedPartner([[patient(None)]]))
    assert (bed.staged()[0]["source_key"], bed.staged()[0]["critical_problem"]) == (None, "key:missing")


def test_without_a_watermark_an_incremental_listing_is_a_full_one(bed: MasterBed) -> None:
    assert bed.extract("r1", ListedPartner([[]]), mode="incremental").mode == "full"


def test_a_partner_that_cannot_list_changes_is_read_in_full(bed: MasterBed) -> None:
    partner = ListedPartner([[]], can=Capabilities())
    counts = bed.extract("r1", partner, mode="incremental", since_at=datetime(2026, 1, 1, tzinfo=UTC))
    assert (counts.mode, partner.since) == ("full", [None])


def test_a_reload_starts_at_the_given_time_also_after_a_deferral(bed: MasterBed) -> None:
    since = datetime(2026, 1, 1, tzinfo=UTC)
    partner = ListedPartner([[patient("P-1")], [patient("P-2")]], breaks={2: wait()})
    with pytest.raises(LimitReachedError):
        bed.extract("r1", partner, mode="incremental", since_at=since)
    bed.extract("r1", partner, mode="incremental", since_at=since)
    assert partner.since == [since, since]


def test_a_partner_that_does_not_list_who_is_gone_is_read_in_full_once_a_day(bed: MasterBed) -> None:
    partner = ListedPartner([[patient("P-1")]], can=Capabilities(incremental=True))
    bed.looking.execute(
        "insert into canonical.watermark (partner, organization, entity, source_at, run_key)"
        " values (%(partner)s, %(organization)s, %(entity)s, '2026-01-01', 'r0')",
        bed.key("r0").as_parameters(),
    )
    modes = [bed.extract(run, partner, mode="incremental").mode for run in ("r1", "r2")]
    bed.looking.execute("update staging.slice set finished_at = finished_at - interval '25 hours' where run_key = 'r1'")
    assert [*modes, bed.extract("r3", partner, mode="incremental").mode] == ["full", "incremental", "full"]
