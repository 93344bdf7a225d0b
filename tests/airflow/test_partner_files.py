"""What all partner files say together, and where the pages of the validation go."""

from __future__ import annotations

from pathlib import Path

from partner_sync_airflow.partner_files import cp932_partners, data_docs_folder

HONOKA = Path(__file__).resolve().parents[2] / "include" / "partners" / "honoka.yaml"


def test_partners_that_can_hold_cp932_only_are_found_beside_a_broken_file(tmp_path, monkeypatch):
    text = HONOKA.read_text(encoding="utf-8")
    (tmp_path / "honoka.yaml").write_text(text, encoding="utf-8")
    (tmp_path / "careplan.yaml").write_text(f"{text}\ncharacters: cp932\n", encoding="utf-8")
    (tmp_path / "broken.yaml").write_text("characters: cp932\n", encoding="utf-8")
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(tmp_path))
    assert cp932_partners() == ["careplan"]


def test_data_docs_are_not_wanted_unless_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("PARTNER_SYNC_DATA_DOCS", raising=False)
    assert data_docs_folder() is None
    monkeypatch.setenv("PARTNER_SYNC_DATA_DOCS", str(tmp_path))
    assert data_docs_folder() == tmp_path
