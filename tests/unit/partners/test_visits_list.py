"""The section ``push.list`` of a partner file."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from pydantic import ValidationError

from partner_made import made
from partner_sync.kinds.rest_json import capabilities
from partner_sync.partners.visits_list import VisitsList

LISTED: dict[str, Any] = {"path": "/v1/visits", "parameters": ["week"], "records_at": "data", "key_at": "key"}
MONDAY = date(2026, 12, 28)


def listed(**changes: Any) -> VisitsList:
    push = made(push={"list": LISTED | changes}).push
    assert push
    assert push.visits_list
    return push.visits_list


def test_a_partner_with_a_list_of_visits_can_list_them() -> None:
    assert capabilities(made(push={"list": LISTED})).list_visits
    assert not capabilities(made()).list_visits


def test_a_limit_may_name_the_list_as_its_endpoint() -> None:
    limits = [{"scope": "endpoint", "endpoint": "GET /v1/visits", "requests": 6, "per_seconds": 60}]
    assert made(push={"list": LISTED}, limits=limits).limits[0].endpoint == "GET /v1/visits"


def test_a_week_is_asked_for_by_its_names_over_a_years_end() -> None:
    section = listed(
        parameters={"monday": "week", "sunday": "week_end", "until": "next_week", "corp": "organization"},
        fixed={"deleted": False, "kind": "visit", "depth": 2},
    )
    assert section.query(MONDAY, "sakura") == {
        "monday": "2026-12-28", "sunday": "2027-01-03", "until": "2027-01-04", "corp": "sakura",
        "deleted": "false", "kind": "visit", "depth": 2,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"path": "/v1/visits/{key}"}, "takes no"),
        ({"parameters": ["organization"]}, "must name the week"),
        ({"parameters": ["month"]}, "month"),
        ({"fixed": {"week": "1"}}, "both have week"),
        ({"key_at": None}, "key_at"),
    ],
)
def test_a_list_that_cannot_serve_is_refused(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        listed(**changes)
