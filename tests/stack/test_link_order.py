"""The variables of `make link`: read, refused by name, and the key never shown."""

from __future__ import annotations

import pytest

from partner_sync.errors import ConfigError
from partner_sync.links import Link
from stack.installation import Installation
from stack.link import LinkOrder, base_url_of, described, order_of, parse, partner_named, read_key

GIVEN = {"PARTNER": "honoka", "ORGANIZATION": "sakura-care"}
THERE = Link(
    partner="honoka",
    organization="sakura-care",
    connection_id="partner_honoka__sakura-care",
    directions=("schedule",),
    master_of=(),
    release_mode="weekly",
    enabled=False,
)


def order(known: Link | None = None, **more: str) -> LinkOrder:
    return order_of(parse([], GIVEN | more), known)


def test_make_variables_become_a_link() -> None:
    made = order(MASTER="office, patient", DIRECTIONS="master", RELEASE="weekly", URL="https://partner.example/")
    assert made.link.master_of == ("office", "patient")
    assert made.link.directions == ("master",)
    assert made.link.release_mode == "weekly"
    assert made.link.connection_id == "partner_honoka__sakura-care"
    assert made.url == "https://partner.example"


def test_a_new_link_has_both_directions_no_master_and_releases_by_hand() -> None:
    made = order().link
    assert (made.directions, made.master_of, made.release_mode, made.enabled) == (
        ("master", "schedule"), (), "manual", True,
    )  # fmt: skip


def test_what_is_not_given_stays_as_it_is() -> None:
    assert order(THERE) == LinkOrder(link=THERE)


def test_what_is_given_changes_and_nothing_else() -> None:
    made = order(THERE, DIRECTIONS="master", MASTER="office").link
    assert (made.directions, made.master_of, made.release_mode, made.enabled) == (
        ("master",), ("office",), "weekly", False,
    )  # fmt: skip


def test_a_partner_can_stop_being_a_master() -> None:
    known = Link(partner="honoka", organization="sakura-care", connection_id="c", directions=(), master_of=("office",))
    assert order(known, MASTER="none").link.master_of == ()


@pytest.mark.parametrize(("word", "enabled"), [("1", False), ("0", True)])
def test_a_link_is_disabled_and_enabled_again(word: str, enabled: bool) -> None:
    made = order(THERE, DISABLED=word)
    assert made.link.enabled is enabled
    assert ("disabled" in "\n".join(described(made))) is not enabled


@pytest.mark.parametrize(
    ("option", "value"),
    [("MASTER", "office,cat"), ("DIRECTIONS", "sideways"), ("RELEASE", "sometimes"), ("DISABLED", "yes")],
)
def test_a_word_that_is_not_known_is_refused_by_name(option: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"^{option}: {value.rsplit(',', maxsplit=1)[-1]} is none of "):
        order(**{option: value})


@pytest.mark.parametrize("code", ["Azami_Care", "さくら", "-care", "a b", "a" * 64])
def test_a_code_that_is_none_is_refused_with_the_form_of_one(code: str) -> None:
    with pytest.raises(ConfigError, match="small letters a-z, digits, _ and -"):
        order_of(parse([], GIVEN | {"ORGANIZATION": code}), None)


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:1", "partner.example", "localhost:80", "ftp://partner.example", "https://", "https://a:b", "http://a b",
     "https://[", "https://me:pass@partner.example", "https://partner.example?x=1", "https://partner.example/#x"],
)  # fmt: skip
def test_an_address_that_cannot_be_called_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ConfigError, match=r"^URL: ") as refused:
        base_url_of(url)
    assert "pass" not in str(refused.value).replace("password", "")


def test_of_an_address_with_a_path_it_is_said_that_the_path_goes_before_all_others() -> None:
    made = order(URL="https://partner.example/api/")
    assert made.url == "https://partner.example/api"
    assert "/api of the URL is put before every path" in "\n".join(described(made))


def test_a_partner_without_a_file_is_refused_with_those_that_have_one() -> None:
    with pytest.raises(ConfigError, match=r"no partner file for 'honoko'; there are: .*honoka"):
        partner_named("honoko", Installation.partners)


def test_the_key_is_read_from_a_file(tmp_path) -> None:
    (tmp_path / "key").write_text("of the file\n")
    assert read_key({"KEY_FILE": str(tmp_path / "key"), "KEY": "of the environment"}) == "of the file"


@pytest.mark.parametrize(("content", "why"), [(None, "cannot be read"), (b"", "is empty"), (b"\xff", "is not text")])
def test_a_key_file_without_a_key_is_refused_by_name(tmp_path, content: bytes | None, why: str) -> None:
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ConfigError, match=f"^KEY_FILE: .*key {why}"):
        read_key({"KEY_FILE": str(tmp_path / "key")})


def test_the_key_never_shows_in_the_order() -> None:
    assert "the key" not in repr(LinkOrder(link=THERE, key="the key"))


@pytest.mark.parametrize("missing", GIVEN)
def test_what_must_be_given_is_asked_for(missing: str, capsys) -> None:
    with pytest.raises(SystemExit):
        parse([], {name: value for name, value in GIVEN.items() if name != missing})
    assert f"--{missing.lower()}" in capsys.readouterr().err
