"""What may be said of a call: its origin and the names of its parameters, never a value."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from partner_sync.http.redaction import MASK, described, open_headers, origin_of


def test_an_origin_has_no_login_path_or_query() -> None:
    assert origin_of("https://me:secret@host.example:8443/api?key=1") == "https://host.example:8443"


def test_what_is_no_url_is_masked() -> None:
    assert origin_of("http://host:port") == MASK


def test_a_call_is_described_without_values() -> None:
    words = described("http://host", "GET /v1/patients", parameters={"page": 3, "cursor": "山田"})
    assert words == "GET http://host/v1/patients?cursor=***&page=***"


@given(st.text(min_size=1, max_size=30))
def test_no_value_of_a_secret_header_is_shown(secret: str) -> None:
    shown = open_headers({"Authorization": secret, "X-API-Key": secret, "Cookie": secret})
    assert set(shown.values()) == {MASK}
