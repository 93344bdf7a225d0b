"""A held merge and the question about it: what one run hands to another, asked once for a cause."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import DagRunTriggerException

from airflow_for_tests import ROOT
from partner_sync.errors import FormError
from partner_sync.master.guard import Guard, Held
from partner_sync_airflow.approvals import ApprovalByHandError, DagPausedError
from partner_sync_airflow.forms import MasterForm
from partner_sync_airflow.merge_approvals import (
    MergeYes,
    approved_sync_run_id,
    merge_question_of,
    merge_question_run_id,
    merge_yes_of,
)
from partner_sync_airflow.operators.approve_merge import AskMergeOperator, SyncApprovedOperator
from partner_sync_airflow.operators.master import _guard

YES = {"changed": 0, "removed": 30, "visits": 1, "by": "admin"}
HELD = Held(
    why=("removed", "visits"), mode="full", live=120, changed=3, removed=30, with_visits=1, changed_ids=(5, 6),
    removed_ids=(7,),
)  # fmt: skip


@pytest.fixture(autouse=True)
def committed(monkeypatch):
    monkeypatch.setenv("PARTNER_SYNC_PARTNERS", str(ROOT / "include" / "partners"))


def context(run_id="manual__1", *, conf=None, run_type="operator_triggered", clears=0, paused=False):
    return {
        "run_id": run_id,
        "params": {"reload_from": "2026-11-01"},
        "dag": SimpleNamespace(dag_id="honoka__master_sync"),
        "dag_run": SimpleNamespace(conf=conf, run_type=run_type, clear_number=clears),
        "ti": SimpleNamespace(get_dag=lambda _: SimpleNamespace(is_paused=paused)),
    }


def ask(held=HELD, **values):
    handed = {"organization": "sakura-care", "entity": "patient", "cause": "honoka__master_sync/r1"}
    operator = AskMergeOperator(task_id="ask", partner="honoka", held=handed | {"held": held.as_json()})
    with pytest.raises(DagRunTriggerException) as started:
        operator.execute(context(**values))
    return started.value


def test_a_held_merge_starts_the_run_that_asks_and_one_that_is_there_is_not_started_again():
    started = ask()
    assert (started.trigger_dag_id, started.skip_when_already_exists) == ("honoka__approve_merge", True)
    assert started.dag_run_id == ask(run_id="scheduled__2").dag_run_id


def test_the_question_has_the_figures_the_reasons_and_our_own_ids_in_both_languages():
    question = ask().conf["question"]
    assert "sakura-care" in question["subject"]
    for told in ("120", "30 (25.0%)", "5, 6", "7", "with visits to come", "訪問予定のある利用者"):
        assert told in question["body"], told


def test_a_yes_syncs_that_organization_and_entity_alone_in_the_way_that_was_held():
    full = ask().conf["question"]["form"]
    assert full == {"organizations": ["sakura-care"], "entities": ["patient"], "mode": "full", "reload_from": None}
    incremental = Held(why=("changed",), mode="incremental", live=100, changed=90, removed=0)
    assert ask(incremental).conf["question"]["form"]["reload_from"] == "2026-11-01"


def test_after_a_yes_a_sync_starts_once_with_the_figures_that_were_shown():
    waiting = context(ask().dag_run_id, conf=ask().conf)
    waiting["ti"].xcom_pull = lambda **_: {"by": "op"}
    with pytest.raises(DagRunTriggerException) as started:
        SyncApprovedOperator(task_id="sync", partner="honoka").execute(waiting)
    assert started.value.trigger_dag_id == "honoka__master_sync"
    assert started.value.dag_run_id == approved_sync_run_id(waiting)
    assert started.value.conf["approval"] == {"changed": 3, "removed": 30, "visits": 1, "by": "op"}
    assert started.value.conf["entities"] == ["patient"]


def test_a_question_that_is_cleared_is_asked_anew_and_its_yes_is_another_sync():
    assert approved_sync_run_id(context("ask__x")) != approved_sync_run_id(context("ask__x", clears=1))


def test_a_task_that_is_marked_instead_of_answered_syncs_nothing_and_says_so():
    waiting = context(conf=ask().conf)
    waiting["ti"].xcom_pull = lambda **_: None
    with pytest.raises(FormError, match="Nobody has said yes"):
        SyncApprovedOperator(task_id="sync", partner="honoka").execute(waiting)


def test_questions_about_other_organizations_entities_or_causes_are_other_runs():
    same = {"organization": "aoba", "entity": "patient", "cause": "r1"}
    others = ({"organization": "kaede"}, {"entity": "office"}, {"cause": "r2"})
    names = {merge_question_run_id(**same | other) for other in ({}, *others)}
    assert len(names) == 4


def test_a_yes_or_a_question_counts_in_a_run_that_a_task_has_started_and_nowhere_else():
    assert merge_yes_of(context(conf={"approval": YES})) == MergeYes(**YES)
    assert merge_yes_of(context(conf=None)) is None
    for run_type in ("manual", "scheduled", "asset_triggered"):
        with pytest.raises(ApprovalByHandError, match="honoka__master_sync"):
            merge_yes_of(context(conf={"approval": YES}, run_type=run_type))
        with pytest.raises(ApprovalByHandError):
            merge_question_of(context(conf={"question": {}}, run_type=run_type))


def test_a_question_is_not_asked_in_silence_by_a_dag_that_is_switched_off():
    operator = AskMergeOperator(
        task_id="ask", partner="honoka",
        held={"organization": "aoba", "entity": "patient", "cause": "r1", "held": HELD.as_json()},
    )  # fmt: skip
    with pytest.raises(DagPausedError, match="honoka__approve_merge"):
        operator.execute(context(paused=True))


def test_a_yes_carries_a_tenth_and_a_typed_figure_is_taken_as_it_is():
    form = MasterForm(organizations=(), entities=("patient",), mode="full", since_at=None, approved_removed=30)
    assert _guard(form, None) == Guard(approved_removed=30)
    assert _guard(form, MergeYes(**YES)) == Guard(approved_removed=33, approved_visits=1)
