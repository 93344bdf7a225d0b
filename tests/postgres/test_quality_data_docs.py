"""Great Expectations' own pages: built from the same results, without a patient in them."""

from __future__ import annotations

import stat
import threading
from datetime import date
from pathlib import Path

import pytest

from partner_sync.quality import data_docs
from partner_sync.quality.suites import load_suite
from postgres.staged import Staged
from postgres_server import Database

NAME, KEY, PHONE = "極秘山田", "key-of-a-patient-7", "03-9999-7777"


@pytest.fixture
def staged(database: Database) -> Staged:
    made = Staged(database)
    made.known_office()
    return made


def spoilt(staged: Staged, run_key: str = "run-1") -> None:
    record = {"source_key": KEY, "family_name": NAME, "given_name": NAME, "family_kana": NAME, "phone": PHONE * 2}
    record |= {"insured_number": PHONE, "insurer_number": PHONE, "postal_code": PHONE, "care_level": NAME}
    staged.slice([record | {"birth_date": date(2093, 1, 1)}, {"source_key": "p2"}], run_key=run_key)


def test_the_pages_hold_counts_and_nothing_of_a_patient(staged: Staged, tmp_path: Path) -> None:
    spoilt(staged)
    (found,) = staged.validate(docs_folder=tmp_path)
    assert len(found.failed) >= 7
    texts = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "honoka").iterdir()}
    assert set(texts) == {"patient.html", "index.html"}
    for secret in (NAME, KEY, PHONE, "2093-01-01", "p2"):
        assert not any(secret in text for text in texts.values())
    for rule in load_suite("patient").rules:
        assert rule.ja in texts["patient.html"]
    assert 'href="patient.html"' in texts["index.html"]


def test_the_newest_page_of_each_entity_stays_and_nothing_piles_up(staged: Staged, tmp_path: Path) -> None:
    spoilt(staged)
    staged.slice([{}], entity="office")
    staged.validate(entities=["office", "patient"], docs_folder=tmp_path)
    before = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "honoka").iterdir()}
    spoilt(staged, "run-2")
    staged.validate("run-2", docs_folder=tmp_path)
    after = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "honoka").iterdir()}
    assert set(after) == {"patient.html", "office.html", "index.html"}
    assert after["office.html"] == before["office.html"]
    assert ("run-2" in after["patient.html"], "run-1" in after["patient.html"]) == (True, False)


def test_only_their_owner_reads_the_pages(staged: Staged, tmp_path: Path) -> None:
    spoilt(staged)
    staged.validate(docs_folder=tmp_path / "data-docs")
    assert stat.S_IMODE((tmp_path / "data-docs" / "honoka").stat().st_mode) == 0o700


def test_a_folder_that_cannot_be_written_to_keeps_nothing_from_the_merge(staged: Staged, tmp_path: Path) -> None:
    (tmp_path / "honoka").write_text("in the way", encoding="utf-8")
    spoilt(staged)
    (found,) = staged.validate(docs_folder=tmp_path)
    assert (found.quarantined, staged.accepted()) == (1, ["p2"])


def test_validations_that_write_at_the_same_time_leave_whole_pages(tmp_path: Path) -> None:
    partners = ["honoka", "honoka", "tsubaki", "tsubaki"]

    def write(partner: str) -> None:
        for _ in range(5):
            data_docs.write(tmp_path, partner=partner, run_key="run", suite=load_suite("office"), results=())

    threads = [threading.Thread(target=write, args=[partner]) for partner in partners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for partner in set(partners):
        texts = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / partner).iterdir()}
        assert set(texts) == {"office.html", "index.html"}
        assert all(text.rstrip().endswith("</html>") for text in texts.values())
