"""An operator's order to hold or resume: what it refuses, and what it says."""

from __future__ import annotations

import pytest

from partner_sync.circuit import stops
from partner_sync.database import Connection
from partner_sync.errors import ConfigError, FormError, NotLinkedError, UnknownOrganizationError, UnknownPartnerError
from partner_sync.links import Link
from partner_sync.onboarding import add_link, add_organization
from partner_sync.steps.hold import HoldOrder, hold_or_resume
from partner_sync.weeks import TOKYO
from postgres_server import Database
from stack.hold import order_of
from stack.status import lines_of


@pytest.fixture
def run(database: Database) -> Connection:
    """The login of runs; sakura-care is linked to honoka, momiji-care to nobody."""
    onboarding = database.connect("onboarding")
    for code in ("sakura-care", "momiji-care"):
        add_organization(onboarding, code=code, name=code)
    link = Link(partner="honoka", organization="sakura-care", connection_id="x", directions=("master",), enabled=False)
    add_link(onboarding, link)
    add_link(onboarding, Link(partner="tsubaki", organization="momiji-care", connection_id="x", directions=()))
    return database.connect("run")


def order(partner: str = "honoka", organization: str = "", *, held: bool = True, reason: str = "why") -> HoldOrder:
    return HoldOrder(partner=partner, organization=organization, held=held, reason=reason, by="op")


def test_an_order_is_carried_out_once_and_can_be_seen(run: Connection) -> None:
    assert hold_or_resume(run, order(organization="sakura-care", reason=" key is changed "))
    assert not hold_or_resume(run, order(organization="sakura-care"))
    [stop] = stops(run).found
    assert (stop.partner, stop.organization, stop.state, stop.reason, stop.by) == (
        "honoka", "sakura-care", "held", "key is changed", "op",
    )  # fmt: skip
    since = stop.since_at.astimezone(TOKYO)
    assert lines_of([stop]) == [f"honoka / sakura-care: held since {since:%Y-%m-%d %H:%M} by op: key is changed"]
    assert hold_or_resume(run, order(organization="sakura-care", held=False))
    assert stops(run).found == ()


def test_a_partner_that_is_mistyped_is_refused_and_a_near_one_named(run: Connection) -> None:
    with pytest.raises(UnknownPartnerError, match="honoka"):
        hold_or_resume(run, order("honko"))


def test_an_organization_that_is_mistyped_is_refused_and_a_near_one_named(run: Connection) -> None:
    with pytest.raises(UnknownOrganizationError, match="sakura-care"):
        hold_or_resume(run, order(organization="sakura"))


@pytest.mark.parametrize("typed", [{"partner": "山田 花子"}, {"organization": "Yamada Hanako"}])
def test_what_looks_like_no_code_is_refused_without_being_repeated(run: Connection, typed: dict[str, str]) -> None:
    with pytest.raises(FormError, match="that was typed") as refused:
        hold_or_resume(run, order(**typed))
    assert set(typed.values()).isdisjoint(map(str, refused.value.facts.values()))


def test_an_organization_of_another_partner_is_refused(run: Connection) -> None:
    with pytest.raises(NotLinkedError, match="momiji-care"):
        hold_or_resume(run, order(organization="momiji-care"))


def test_an_order_without_a_reason_is_refused(run: Connection) -> None:
    with pytest.raises(FormError, match="why"):
        hold_or_resume(run, order(reason="  "))


def test_the_command_orders_what_its_variables_say() -> None:
    said = {"PARTNER": "honoka", "REASON": "they are back", "RESUME": "1", "BY": "op", "ORGANIZATION": "sakura-care"}
    assert order_of(said) == order(organization="sakura-care", held=False, reason="they are back")
    with pytest.raises(ConfigError, match="REASON"):
        order_of({"PARTNER": "honoka"})
