"""Which requests of a browser come from a page of ours."""

from __future__ import annotations

import pytest

from partner_sync.report.same_origin import is_ours


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"sec-fetch-site": "same-origin", "origin": "https://us.example"}, True),
        ({"sec-fetch-site": "same-site", "origin": "https://us.example"}, False),
        ({"sec-fetch-site": "none"}, False),
        ({"origin": "http://us.example"}, True),
        ({"origin": "http://us.example:81"}, False),
        ({"origin": "http://us.example.evil.example"}, False),
        ({"origin": "null"}, False),
        ({}, False),
    ],
)
def test_only_what_is_known_to_be_ours_is(headers: dict[str, str], ours: bool) -> None:
    assert is_ours(headers, hosts={"us.example"}) is ours
