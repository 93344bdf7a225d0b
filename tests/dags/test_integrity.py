"""What must hold for every DAG of the project."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter

import pendulum
import pytest

from airflow_for_tests import ROOT
from partner_sync.partners.loader import load_partners

DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
LOOPS = [file for file in DAG_FILES if "dags_of" in file.read_text(encoding="utf-8")]
CALLING = {"extract", "push", "compare", "compare_again"}
COMMITTED = load_partners(ROOT / "include" / "partners").partners


def _watchers(dag):
    return getattr(dag.timetable.asset_condition, "watchers", [])


def _cron_of(dag):
    """The schedule by the clock, also of a DAG that starts on work as well."""
    return getattr(dag.timetable, "timetable", dag.timetable)


@pytest.mark.parametrize("file", DAG_FILES, ids=lambda file: file.name)
def test_a_dag_file_has_at_most_40_lines(file):
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize("file", LOOPS, ids=lambda file: file.name)
def test_a_loop_over_partners_asks_which_dag_is_wanted_before_it_builds_any(file):
    assert "get_parsing_context()" in file.read_text(encoding="utf-8")


def test_airflow_reads_the_dag_folder_without_errors_or_warnings(committed):
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags"), collect_dags=True)
    assert bag.import_errors == {}
    assert bag.captured_warnings == {}
    kinds = ("master_sync", "approve_merge", "schedule_push", "approve_push", "live_push", "reconcile")
    assert set(bag.dags) >= {f"{slug}__{kind}" for slug in COMMITTED for kind in kinds}


def test_every_dag_survives_serialization(committed, read_dags):
    from airflow.serialization.serialized_objects import DagSerialization

    for dag in read_dags().values():
        back = DagSerialization.from_dict(DagSerialization.to_dict(dag))
        assert set(back.task_dict) == set(dag.task_dict)


def test_every_dag_is_tagged_with_its_partner_and_its_kind_of_work(committed, read_dags):
    for dag_id, dag in read_dags().items():
        slug, _, kind = dag_id.partition("__")
        assert {slug, kind} < dag.tags
        assert dag.tags & {"master", "schedule"}


def test_every_dag_runs_at_tokyo_time_without_catching_up(committed, read_dags):
    for dag in read_dags().values():
        assert dag.catchup is False
        assert _cron_of(dag).serialize().get("timezone", "Asia/Tokyo") == "Asia/Tokyo"


def test_no_dag_takes_a_run_by_hand_that_would_stand_still_until_a_date_in_the_future(committed):
    from airflow.dag_processing.dagbag import DagBag
    from airflow.serialization.serialized_objects import DagSerialization

    future = pendulum.now("UTC").add(days=1)
    dags = DagBag(dag_folder=str(ROOT / "dags"), collect_dags=True).dags
    assert len(dags) > len(COMMITTED)
    for dag in dags.values():
        with pytest.raises(ValueError, match="in the future"):
            DagSerialization.from_dict(DagSerialization.to_dict(dag)).timetable.infer_manual_data_interval(
                run_after=future
            )


def test_tasks_that_call_a_partner_are_bound_by_its_pool_and_no_other_task_is(committed, read_dags):
    for dag_id, dag in read_dags().items():
        slug = dag_id.partition("__")[0]
        pools = {task_id: task.pool for task_id, task in dag.task_dict.items()}
        assert {task_id for task_id, pool in pools.items() if pool == slug} == set(pools) & CALLING


def test_every_task_has_the_owner_the_alert_and_the_retry_policy_of_its_partner(committed, read_dags):
    from partner_sync_airflow.notifications import PartnerSyncNotifier
    from partner_sync_airflow.retry_policy import PartnerSyncRetryPolicy

    for dag_id, dag in read_dags().items():
        partner = COMMITTED[dag_id.partition("__")[0]]
        for task in dag.tasks:
            [callback] = task.on_failure_callback
            assert task.owner == partner.owner.team
            assert isinstance(callback, PartnerSyncNotifier)
            assert (callback.partner, callback.alert) == (partner.slug, partner.owner.alert)
            assert isinstance(task.retry_policy, PartnerSyncRetryPolicy)


def test_the_steps_of_a_master_sync_follow_each_other_and_end_in_a_conclusion(committed, read_dags):
    for dag_id, dag in read_dags("master_sync").items():
        assert [task.task_id for task in dag.topological_sort()] == [
            "resolve",
            "extract",
            "validate",
            "merge",
            "ask",
            "conclude",
        ], dag_id
        assert [task.task_id for task in dag.leaves] == ["conclude"]


def test_a_conclusion_comes_whatever_happened_before_and_is_never_tried_again(committed, read_dags):
    dags = read_dags("master_sync", "schedule_push", "reconcile").values()
    concluded = [dag.task_dict["conclude"] for dag in dags]
    assert {(task.trigger_rule.value, task.retries) for task in concluded} == {("all_done", 0)}


def test_a_reconcile_compares_repairs_pushes_and_compares_again(committed, read_dags):
    for dag_id, dag in read_dags("reconcile").items():
        steps = ["resolve", "compare", "repair", "push", "compare_again", "conclude"]
        assert [task.task_id for task in dag.topological_sort()] == steps, dag_id
        assert [task.task_id for task in dag.leaves] == ["conclude"]
        assert dag.task_dict["compare"].partial_kwargs.get("after_repair") is None
        assert dag.task_dict["compare_again"].partial_kwargs["after_repair"] is True


def test_a_partner_that_cannot_show_what_it_holds_has_no_reconcile(partners, read_dags):
    text = (ROOT / "include" / "partners" / "honoka.yaml").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not line.startswith("  read_back:")]
    listing = kept.index("  list:")
    end = kept.index("  errors: {at: errors, field: field, code: code}")
    (partners / "mute.yaml").write_text("\n".join([*kept[:listing], *kept[end:]]), encoding="utf-8")
    assert set(read_dags("reconcile", "schedule_push")) == {"mute__schedule_push"}


def test_a_lost_answer_is_answered_without_any_default():
    from airflow.sdk.exceptions import ParamValidationError

    from partner_sync_airflow.forms_of_repair import answer_params

    for name, param in answer_params().items():
        with pytest.raises(ParamValidationError):
            param.resolve()
        assert param.schema["title"], name


def test_a_live_push_is_one_task_each_minute_that_never_overlaps_and_is_never_tried_again(committed, read_dags):
    for dag in read_dags("live_push").values():
        [task] = dag.tasks
        assert (_cron_of(dag).summary, dag.max_active_runs, task.retries) == ("* * * * *", 1, 0)


def test_a_live_push_whose_partner_file_says_watch_also_starts_as_soon_as_there_is_work(partners, read_dags):
    file = ROOT / "include" / "partners" / "honoka.yaml"
    for slug, watch in (("eager", "true"), ("calm", "false")):
        text = file.read_text(encoding="utf-8").replace("watch: true", f"watch: {watch}")
        (partners / f"{slug}.yaml").write_text(text, encoding="utf-8")
    dags = read_dags("live_push")
    assert _watchers(dags["calm__live_push"]) == []
    [watcher] = _watchers(dags["eager__live_push"])
    assert watcher.trigger.partner == "eager"


def test_only_the_shards_and_the_questions_are_mapped_never_the_organizations(committed, read_dags):
    mapped = Counter(
        (dag.dag_id.partition("__")[2], task.task_id)
        for dag in read_dags().values()
        for task in dag.tasks
        if task.is_mapped
    )
    assert {task for _, task in mapped} == CALLING | {"ask"}
    assert {kind for kind, task in mapped if task == "ask"} == {"master_sync"}


def test_a_task_that_is_about_to_run_builds_its_own_dag_only(committed, read_dags, monkeypatch):
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "tsubaki__master_sync")
    assert list(read_dags()) == ["tsubaki__master_sync"]


def test_the_form_of_a_push_offers_a_date_for_the_week_and_a_dry_run(committed, read_dags):
    params = read_dags("schedule_push")["honoka__schedule_push"].params
    week = params.get_param("week").schema
    assert (week["format"], bool(week["title"] and week["section"])) == ("date", True)
    assert params.get_param("dry_run").schema["type"] == "boolean"


def test_a_run_that_fills_in_no_form_finds_defaults_that_are_valid(committed, read_dags):
    for dag in read_dags().values():
        assert set(dag.params.validate()) == set(dag.params)


def test_every_task_reads_what_was_filled_into_the_form_of_its_dag(committed, read_dags):
    from airflow.sdk.definitions.param import process_params

    for dag in read_dags("master_sync", "schedule_push", "reconcile").values():
        untouched = dag.params.dump()
        assert untouched.keys() > {"organizations"}
        for task in dag.tasks:
            filled = {"organizations": [task.task_id]}
            assert process_params(dag, task, filled, suppress_exception=False) == untouched | filled


@pytest.mark.parametrize("day", ["yesterday", "2026-13-01", "week 48"])
def test_a_week_that_is_no_date_is_refused_when_the_run_is_started(committed, read_dags, day):
    from airflow.sdk.exceptions import ParamValidationError

    params = read_dags("schedule_push")["honoka__schedule_push"].params
    with pytest.raises(ParamValidationError):
        params["week"] = day


def test_reading_the_dag_folder_imports_nothing_heavy(committed):
    program = (
        "import runpy, sys\n"
        "from airflow.sdk import DAG, BaseOperator, Param\n"
        "before = set(sys.modules)\n"
        "for kind in ('master_sync', 'approve_merge', 'schedule_push', 'approve_push', 'live_push', 'validate_due'):\n"
        "    runpy.run_path(f'dags/{kind}.py')\n"
        "heavy = {'great_expectations', 'pandas', 'numpy', 'psycopg', 'sqlalchemy', 'requests', 'orjson'}\n"
        "print(sorted(heavy & (set(sys.modules) - before)))"
    )
    environment = os.environ | {"PYTHONPATH": f"{ROOT / 'include'}:{ROOT / 'plugins'}"}
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


@pytest.fixture
def hold_dag(read_dags):
    return read_dags("hold_partner")["hold_partner"]


def test_holding_a_partner_is_started_by_hand_alone_and_never_tried_again(hold_dag):
    [task] = hold_dag.tasks
    assert (hold_dag.timetable.can_be_scheduled, hold_dag.catchup, task.retries) == (False, False, 0)
    assert task.pool == "default_pool", "a hold must not wait behind the partner's own tasks"


def test_the_shared_validation_comes_each_minute_only_where_a_partner_file_shares(partners, read_dags, monkeypatch):
    text = (ROOT / "include" / "partners" / "honoka.yaml").read_text(encoding="utf-8")
    (partners / "alone.yaml").write_text(text, encoding="utf-8")
    assert read_dags("validate_due")["validate_due"].timetable.can_be_scheduled is False
    (partners / "shares.yaml").write_text(
        text.replace("master:\n", "master:\n  validation: shared\n", 1), encoding="utf-8"
    )
    dag = read_dags("validate_due")["validate_due"]
    [task] = dag.tasks
    assert (_cron_of(dag).summary, dag.max_active_runs, dag.is_paused_upon_creation, task.retries) == (
        "* * * * *", 1, False, 0,
    )  # fmt: skip
    # Whoever is about to run a task of it reads no partner file.
    monkeypatch.setenv("_AIRFLOW_PARSING_CONTEXT_DAG_ID", "validate_due")
    assert read_dags("validate_due")["validate_due"].timetable.can_be_scheduled is False


@pytest.mark.parametrize("dag_id", ["answer_lost", "check_partner", "hold_partner"])
def test_a_dag_that_only_a_person_starts_is_switched_on_from_the_start(read_dags, dag_id):
    assert read_dags(dag_id)[dag_id].is_paused_upon_creation is False


@pytest.mark.parametrize(("name", "value"), [("partner", ""), ("reason", ""), ("action", "stop"), ("organization", 3)])
def test_a_hold_that_is_filled_in_wrongly_is_refused_when_the_run_is_started(hold_dag, name, value):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        hold_dag.params[name] = value


def test_airflow_does_not_run_our_package_as_plugins():
    from airflow.sdk._shared.module_loading import find_path_from_directory

    found = list(find_path_from_directory(str(ROOT / "plugins"), ".airflowignore", "glob"))
    assert not [path for path in found if "partner_sync_airflow" in str(path)]
