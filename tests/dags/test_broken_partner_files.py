"""A broken partner file keeps its DAGs in place, says what is wrong, and leaves the other partners alone."""

from __future__ import annotations

import shutil

import pytest

from airflow_for_tests import ROOT
from partner_sync.errors import PartnerFileError

HONOKA = ROOT / "include" / "partners" / "honoka.yaml"


@pytest.fixture
def broken(partners):
    """One good partner, and one whose file has two mistakes."""
    shutil.copy(HONOKA, partners / "good.yaml")
    text = (
        HONOKA.read_text(encoding="utf-8")
        .replace("kind: rest_json", "kind: rest_xml")
        .replace("concurrency:", "concurency:")
    )
    (partners / "bad.yaml").write_text(text, encoding="utf-8")
    return partners


def test_the_dag_ids_of_a_broken_file_stay_and_those_of_the_others_too(broken, read_dags):
    kinds = ("master_sync", "approve_merge", "schedule_push", "approve_push", "live_push", "reconcile")
    assert set(read_dags()) == {f"{slug}__{kind}" for slug in ("good", "bad") for kind in kinds}


def test_its_one_task_fails_with_every_problem_and_its_line(broken, read_dags):
    [task] = read_dags()["bad__master_sync"].tasks
    with pytest.raises(PartnerFileError) as caught:
        task.execute({})
    told = str(caught.value)
    assert "bad.yaml:4:" in told
    assert "kind" in told
    assert "concurency" in told


def test_its_dag_tells_the_same_in_its_docs(broken, read_dags):
    dag = read_dags()["bad__schedule_push"]
    assert "bad.yaml:4:" in dag.doc_md
    assert "broken" in dag.tags


def test_its_failure_is_not_tried_again(broken, read_dags):
    [task] = read_dags()["bad__live_push"].tasks
    decision = task.retry_policy.evaluate(PartnerFileError(partner="bad", problems="x"), 1, 5)
    assert decision.action.value == "fail"


def test_two_files_with_one_slug_break_that_partner_only(partners, read_dags):
    shutil.copy(HONOKA, partners / "good.yaml")
    shutil.copy(HONOKA, partners / "twice.yaml")
    shutil.copy(HONOKA, partners / "twice.yml")
    dags = read_dags("master_sync")
    [task] = dags["twice__master_sync"].tasks
    with pytest.raises(PartnerFileError, match=r"twice\.yml"):
        task.execute({})
    assert "extract" in dags["good__master_sync"].task_dict


def test_a_file_whose_name_is_no_slug_takes_no_other_dag_along(partners, read_dags):
    shutil.copy(HONOKA, partners / "good.yaml")
    shutil.copy(HONOKA, partners / "ほのか 2.yaml")
    dags = read_dags("master_sync")
    assert "good__master_sync" in dags
    assert len(dags) == 2


def test_a_partner_without_schedules_has_no_push(partners, read_dags):
    text = HONOKA.read_text(encoding="utf-8")
    (partners / "reader.yaml").write_text(text[: text.index("push:")], encoding="utf-8")
    assert set(read_dags()) == {"reader__master_sync", "reader__approve_merge"}


def test_an_empty_folder_has_no_dags(partners, read_dags):
    assert read_dags() == {}
