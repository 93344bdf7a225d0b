"""The committed suites say all that a person needs, and name only columns that a batch has."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import get_args

import pytest

from partner_sync.errors import ConfigError
from partner_sync.partners.fields import ENTITY_ORDER, Entity
from partner_sync.partners.parts import code_tables
from partner_sync.quality.suites import SUITES, Dimension, Owner, Severity, load_suite, parse_suite
from partner_sync.statements import statement


@pytest.mark.parametrize("entity", [*ENTITY_ORDER, "slice", "visit"])
def test_every_expectation_names_dimension_severity_owner_and_both_sentences(entity: Entity) -> None:
    for rule in load_suite(entity).rules:
        assert rule.dimension in get_args(Dimension)
        assert rule.severity in get_args(Severity)
        assert rule.owner in get_args(Owner)
        assert re.search("[ぁ-ん]", rule.ja)
        assert rule.en.endswith(".")


@pytest.mark.parametrize("entity", ENTITY_ORDER)
def test_every_column_of_a_suite_is_in_the_batch(entity: Entity) -> None:
    batch = statement(f"quality.make_batch_{entity}")
    assert [rule.code for rule in load_suite(entity).rules if not re.search(rf"\b{rule.column} ", batch)] == []


@pytest.mark.parametrize("entity", ENTITY_ORDER)
def test_a_record_needs_to_be_readable_with_a_key_that_is_its_own(entity: Entity) -> None:
    assert {"record_readable", "key_present", "key_unique"} <= set(load_suite(entity).critical)


def test_what_a_new_code_or_a_wrong_check_digit_says_never_removes_a_patient() -> None:
    severities = {rule.code: rule.severity for rule in load_suite("patient").rules}
    for code in ("care_level_known", "care_level_mapped", "insurer_number_check_digit", "insured_number_shape"):
        assert severities[code] == "warning"


#: domain-facts c6, what concerns one record: by its number there, entity and code, and the severity that it must have.
FIRST_LIST = [
    (1, "*", "key_present", "critical"),
    (1, "*", "key_unique", "critical"),
    (2, "patient", "name_is_a_name", "critical"),
    (3, "patient", "family_name_present", "warning"),
    (3, "patient", "family_kana_present", "warning"),
    (3, "patient", "family_kana_katakana", "warning"),
    (3, "practitioner", "given_kana_katakana", "warning"),
    (4, "patient", "birth_date_possible", "critical"),
    (4, "patient", "birth_date_in_its_era", "warning"),
    (5, "patient", "gender_mapped", "warning"),
    (6, "patient", "insurer_number_check_digit", "warning"),
    (7, "patient", "insured_number_shape", "warning"),
    (8, "office", "office_number_check_digit", "warning"),
    (9, "patient", "postal_code_seven_digits", "warning"),
    (9, "office", "postal_code_readable", "warning"),
    (10, "patient", "validity_in_order", "warning"),
    (10, "practitioner", "validity_in_order", "warning"),
    (10, "patient", "insured_once", "warning"),
    (11, "patient", "care_level_known", "warning"),
    (11, "patient", "care_level_mapped", "warning"),
    (12, "*", "name_fits_cp932", "warning"),
    (12, "patient", "address_fits_cp932", "warning"),
    (17, "patient", "no_test_patient", "critical"),
]


@pytest.mark.parametrize(("number", "entities", "code", "severity"), FIRST_LIST)
def test_what_the_domain_asks_of_a_record_is_expected(number: int, entities: str, code: str, severity: str) -> None:
    for entity in ENTITY_ORDER if entities == "*" else (entities,):
        found = {rule.code: rule.severity for rule in load_suite(entity).rules}
        assert found[code] == severity, number


#: Figures are kept under them for ever: a code may be added, and never goes.
KEPT_CODES = {
    "office": "record_readable key_present key_unique update_not_in_future extra_kept name_present kana_katakana"
    " office_number_present office_number_check_digit postal_code_seven_digits postal_code_readable phone_number_shape"
    " address_present",
    "practitioner": "record_readable key_present key_unique update_not_in_future extra_kept family_name_present"
    " given_name_present name_split family_kana_present given_kana_present family_kana_katakana given_kana_katakana"
    " office_found office_present validity_in_order valid_from_present role_known role_mapped role_present"
    " license_number_digits",
    "patient": "record_readable key_present key_unique update_not_in_future extra_kept birth_date_possible"
    " birth_date_present name_is_a_name family_name_present given_name_present name_split family_kana_present"
    " given_kana_present family_kana_katakana given_kana_katakana office_found office_present validity_in_order"
    " valid_from_present gender_known gender_mapped gender_present postal_code_seven_digits postal_code_readable"
    " phone_number_shape city_present insurer_number_check_digit insured_number_shape insurance_complete"
    " care_level_known care_level_mapped valid_after_birth",
}


@pytest.mark.parametrize("entity", ENTITY_ORDER)
def test_no_code_that_figures_are_kept_under_is_gone(entity: Entity) -> None:
    assert set(KEPT_CODES[entity].split()) <= {rule.code for rule in load_suite(entity).rules}


def test_every_care_level_that_a_code_table_gives_is_expected_and_the_ministrys_codes_have_one() -> None:
    (levels,) = (
        each["kwargs"]["value_set"]
        for each in load_suite("patient").document["expectations"]
        if each["meta"]["code"] == "care_level_known"
    )
    tables = code_tables()
    assert set(tables["care_level"].values()) | set(tables["care_level_name"].values()) == set(levels)
    assert {"06", "12", "13", "21", "22", "23", "24", "25"} <= set(tables["care_level"])


def test_two_expectations_with_one_code_are_refused() -> None:
    document = json.loads(json.dumps(load_suite("office").document))
    document["expectations"].append(document["expectations"][0])
    with pytest.raises(ConfigError, match="same code"):
        parse_suite("office", document)


def test_an_expectation_without_an_owner_is_refused() -> None:
    document = json.loads(json.dumps(load_suite("office").document))
    del document["expectations"][0]["meta"]["owner"]
    with pytest.raises(ConfigError, match="owner"):
        parse_suite("office", document)


def test_the_folder_of_the_suites_holds_no_module_that_would_hide_the_library() -> None:
    assert list(SUITES.parent.rglob("*.py")) == []


def test_the_validation_is_imported_without_the_library() -> None:
    program = "import sys, partner_sync.quality.validate; print('great_expectations' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env={"PYTHONPATH": "include"}
    )
    assert found.stdout.strip() == "False"


@pytest.mark.parametrize("entity", ENTITY_ORDER)
def test_checks_of_a_slice_stand_beside_those_of_its_entity_under_codes_of_their_own(entity: Entity) -> None:
    both = load_suite(entity).joined_with(load_suite("slice"))
    assert len(both.rules) == len(load_suite(entity).rules) + len(load_suite("slice").rules)
    assert {rule.code.partition("_")[0] for rule in load_suite("slice").rules} == {"slice"}


def test_nothing_of_a_visit_is_put_into_quarantine() -> None:
    assert load_suite("visit").critical == []
    assert "visit_practitioner_known" in load_suite("visit").noted
