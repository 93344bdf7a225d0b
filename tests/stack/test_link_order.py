"""The variables of `make link`: read, refused by name, and the key never shown."""

from __future__ import annotations

import pytest

from partner_sync.errors import ConfigError
from stack.installation import Installation
from stack.link import order_of, parse, partner_named, read_key

GIVEN = {"PARTNER": "honoka", "ORGANIZATION": "sakura-care", "URL": "https://partner.example"}


def order(**more):
    return order_of(parse([], GIVEN | more), "the key")


def test_make_variables_become_a_link():
    made = order(MASTER="office, patient", DIRECTIONS="master", RELEASE="weekly")
    assert made.link.master_of == ("office", "patient")
    assert made.link.directions == ("master",)
    assert made.link.release_mode == "weekly"
    assert made.link.connection_id == "partner_honoka__sakura-care"


def test_an_organization_without_a_name_is_called_by_its_code():
    assert order().name == "sakura-care"


@pytest.mark.parametrize(
    ("option", "value"), [("MASTER", "office,cat"), ("DIRECTIONS", "sideways"), ("RELEASE", "sometimes")]
)
def test_a_word_that_is_not_known_is_refused_by_name(option, value):
    with pytest.raises(ConfigError, match=f"^{option}: {value.split(',')[-1]} is none of "):
        order(**{option: value})


def test_a_partner_without_a_file_is_refused_with_those_that_have_one():
    with pytest.raises(ConfigError, match=r"no partner file for 'honoko'; there are: .*honoka"):
        partner_named("honoko", Installation.partners)


def test_the_key_is_read_from_a_file(tmp_path):
    (tmp_path / "key").write_text("of the file\n")
    assert read_key({"KEY_FILE": str(tmp_path / "key"), "KEY": "of the environment"}) == "of the file"


def test_the_key_never_shows_in_the_order():
    assert "the key" not in repr(order())


@pytest.mark.parametrize("missing", GIVEN)
def test_what_must_be_given_is_asked_for(missing, capsys):
    with pytest.raises(SystemExit):
        parse([], {name: value for name, value in GIVEN.items() if name != missing})
    assert f"--{missing.lower()}" in capsys.readouterr().err
