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
from partner_sync.quality.suites import SUITES, Dimension, Owner, Severity, load_suite, parse_suite
from partner_sync.statements import statement


@pytest.mark.parametrize("entity", ENTITY_ORDER)
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
