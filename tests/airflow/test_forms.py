"""What a person fills into a DAG's form, and what the core is then asked to do."""

from __future__ import annotations

from datetime import datetime

import pytest

from airflow_for_tests import ROOT
from partner_sync.catalogue import entry
from partner_sync.errors import FormError, InvalidWeekError
from partner_sync.partners.loader import load_partner
from partner_sync.weeks import TOKYO
from partner_sync_airflow.forms import master_params, push_params, read_master_form, read_push_form
from partner_sync_airflow.forms_of_repair import read_answer_form
from partner_sync_airflow.operators.hold import read_order


@pytest.fixture
def partner():
    return load_partner(ROOT / "include" / "partners" / "honoka.yaml")


def filled(params, **changes):
    return {name: param.resolve() for name, param in params.items()} | changes


def test_an_untouched_master_form_means_everything_that_is_linked_and_changes_only(partner):
    form = read_master_form(filled(master_params(partner)), partner)
    assert (form.organizations, form.entities) == ((), ("office", "practitioner", "patient"))
    assert (form.mode, form.since_at) == ("incremental", None)


def test_entities_come_in_dependency_order_however_they_were_chosen(partner):
    form = read_master_form(filled(master_params(partner), entities=["patient", "office"]), partner)
    assert form.entities == ("office", "patient")


def test_a_reload_begins_at_midnight_in_tokyo(partner):
    form = read_master_form(filled(master_params(partner), reload_from="2026-11-01"), partner)
    assert form.since_at == datetime(2026, 11, 1, tzinfo=TOKYO)


def test_a_full_sync_from_a_date_contradicts_itself(partner):
    with pytest.raises(FormError, match="reload_from"):
        read_master_form(filled(master_params(partner), reload_from="2026-11-01", mode="full"), partner)


def test_a_reload_date_that_is_none_is_refused(partner):
    with pytest.raises(InvalidWeekError):
        read_master_form(filled(master_params(partner), reload_from="2026-11-31"), partner)


def test_codes_are_taken_once_and_without_the_spaces_around_them():
    form = read_push_form(filled(push_params(), organizations=[" sakura ", "", "sakura", "momiji"]))
    assert form.organizations == ("sakura", "momiji")


def test_an_untouched_push_form_names_no_week():
    form = read_push_form(filled(push_params()))
    assert (form.week, form.mode, form.dry_run) == (None, "changes", False)


@pytest.mark.parametrize(
    ("name", "value"), [("mode", "all"), ("organizations", "sakura"), ("dry_run", "yes"), ("week", "x")]
)
def test_a_value_that_does_not_fit_is_refused_before_the_run_starts(name, value):
    from airflow.sdk.exceptions import ParamValidationError

    with pytest.raises(ParamValidationError):
        push_params()[name].resolve(value)


def test_the_catalogue_and_the_readme_name_the_mode_as_the_form_does():
    _, _, japanese = push_params()["mode"].schema["values_display"]["failed"].partition(" / ")
    for code in ("rejected", "partner_rejected"):
        assert f"「{japanese}」" in entry(code).next_action.ja
    assert f"「{japanese}」" in (ROOT / "README.ja.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("mode", ["all", "Full", "", None, ["full"]])
def test_a_mode_that_is_not_known_is_refused_and_never_guessed(partner, mode):
    with pytest.raises(FormError, match="full, incremental"):
        read_master_form(filled(master_params(partner)) | {"mode": mode}, partner)
    with pytest.raises(FormError, match="changes, resend, failed"):
        read_push_form(filled(push_params()) | {"mode": mode})


def test_an_answer_or_an_order_that_is_none_is_refused_and_never_guessed():
    with pytest.raises(FormError, match="there, not_there"):
        read_answer_form({"partner": "honoka", "organization": "sakura", "visits": ["v1"], "answer": "yes"})
    with pytest.raises(FormError, match="hold, resume"):
        read_order({"params": {"partner": "honoka", "organization": None, "action": "", "reason": "x"}})


def test_entities_that_the_partner_has_not_are_refused_in_both_languages(partner):
    with pytest.raises(FormError, match="選び直してください。 / honoka has none"):
        read_master_form(filled(master_params(partner)) | {"entities": ["visit"]}, partner)


def test_the_figures_of_a_held_run_are_approved_by_the_form(partner):
    form = read_master_form(
        {"organizations": [], "entities": ["patient"], "mode": "full", "reload_from": None, "approved_changed": 900},
        partner,
    )
    assert (form.approved_changed, form.approved_removed) == (900, 0)
