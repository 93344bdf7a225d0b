"""What header fields say about quotas: the draft's structured fields and the older ways, never an error."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from partner_sync.http.moments import LONGEST_SECONDS, Clock
from partner_sync.http.quotas import exhausted_until, quotas_of
from partner_sync.kinds.interface import Quota

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
CLOCK = Clock(now=NOW)
UNIX = int(NOW.timestamp())


def soon(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def said(fields: dict[str, str] | list[tuple[str, str]], retry_at: datetime | None = None) -> list[Quota]:
    lines = fields.items() if isinstance(fields, dict) else fields
    raw = [(name.encode(), value.encode()) for name, value in lines]
    return list(quotas_of(httpx.Headers(raw), CLOCK, retry_at=retry_at))


class TestTheDraftsFields:
    """draft-ietf-httpapi-ratelimit-headers-11."""

    def test_a_policy_and_what_is_left_of_it_are_joined_by_name(self) -> None:
        policy = '"burst";q=100;w=60, "daily";q=1000;w=86400'
        assert said({"RateLimit-Policy": policy, "RateLimit": '"burst";r=42;t=27'}) == [
            Quota(name="burst", requests=100, window_seconds=60, remaining=42, reset_at=soon(27)),
            Quota(name="daily", requests=1000, window_seconds=86_400),
        ]

    def test_several_lines_of_a_field_are_one_list(self) -> None:
        lines = [("RateLimit", '"burst";r=0;t=5'), ("RateLimit", '"daily";r=7;t=60')]
        assert [quota.remaining for quota in said(lines)] == [0, 7]

    def test_partitions_of_one_policy_are_kept_apart(self) -> None:
        policy = '"user";q=10;w=60;pk=:QQ==:, "user";q=20;w=60;pk=:Qg==:'
        found = said({"RateLimit-Policy": policy, "RateLimit": '"user";r=3;t=5;pk=:Qg==:'})
        assert [(quota.requests, quota.remaining) for quota in found] == [(20, 3), (10, None)]

    @pytest.mark.parametrize("unit", ["content-bytes", "concurrent-requests", "acme-points"])
    def test_what_counts_no_requests_is_left_aside(self, unit: str) -> None:
        policy = f'"band";q=65535;qu="{unit}";w=10, "calls";q=5;qu="requests";w=1'
        found = said({"RateLimit-Policy": policy, "RateLimit": '"band";r=0;t=9, "calls";r=1;t=1'})
        assert [quota.name for quota in found] == ["calls"]

    def test_parameters_that_nobody_knows_are_comments(self) -> None:
        found = said({"RateLimit": '"burst";r=42;t=27;acme-burst=?0;comment="x"'})
        assert found == [Quota(name="burst", remaining=42, reset_at=soon(27))]

    @pytest.mark.parametrize(
        "field",
        ['"burst";r=42;t=27,', '"burst;r=42', "burst r=42", '"burst";r=42;t=27;', '"burst";R=42', "\x00", "山", ""],
    )
    def test_a_field_that_is_no_structured_field_is_ignored(self, field: str) -> None:
        assert said([("RateLimit", field)]) == []

    @pytest.mark.parametrize(
        "item",
        ['"x"', '"x";r', '"x";r=-1', '"x";r=1.5', '"x";r="1"', '"x";r=1;t=1.5', '"x";r=1;t=-1', '"x";r=1;pk="a"',
         "7;r=1", '("x" "y");r=1', "?1;r=1", '%"x";r=1'],
    )  # fmt: skip
    def test_an_item_that_breaks_the_drafts_rules_is_ignored_alone(self, item: str) -> None:
        assert said({"RateLimit": f'{item}, "good";r=5;t=6'}) == [Quota(name="good", remaining=5, reset_at=soon(6))]

    @pytest.mark.parametrize(
        "item", ['"x"', '"x";q', '"x";q=-1', '"x";q=1;w=0', '"x";q=1;w=-5', '"x";w=60', '"x";q=1;pk=7']
    )
    def test_a_policy_that_breaks_the_drafts_rules_is_ignored_alone(self, item: str) -> None:
        found = said({"RateLimit-Policy": f'{item}, "good";q=5;w=6'})
        assert found == [Quota(name="good", requests=5, window_seconds=6)]

    def test_tokens_as_names_are_read_as_drafts_8_to_10_wrote_them(self) -> None:
        assert said({"RateLimit-Policy": "default;q=100;w=10", "RateLimit": "default;r=50;t=30"}) == [
            Quota(name="default", requests=100, window_seconds=10, remaining=50, reset_at=soon(30))
        ]

    def test_retry_after_wins_over_the_reset_of_what_is_used_up_only(self) -> None:
        found = said({"RateLimit": '"burst";r=0;t=600, "daily";r=7;t=50'}, retry_at=soon(5))
        assert [quota.reset_at for quota in found] == [soon(5), soon(50)]

    def test_a_name_that_is_no_plain_code_is_replaced(self) -> None:
        found = said({"RateLimit": '"for Yamada Taro";r=1, "for Sato Hanako";r=2'})
        assert len({quota.name for quota in found}) == 2
        assert not [quota for quota in found if "Yamada" in str(quota) or "Sato" in str(quota)]


class TestTheOlderFields:
    """Drafts up to 07, and what was usual before."""

    def test_draft_7_in_one_dictionary(self) -> None:
        fields = {"RateLimit": "limit=100, remaining=50, reset=5", "RateLimit-Policy": "100;w=60, 1000;w=3600"}
        assert said(fields) == [
            Quota(requests=100, window_seconds=60, remaining=50, reset_at=soon(5)),
            Quota(requests=1000, window_seconds=3600),
        ]

    def test_drafts_up_to_6_in_three_fields_with_the_policies_in_the_limit(self) -> None:
        fields = {"RateLimit-Limit": "100, 100;w=60, 50;w=1", "RateLimit-Remaining": "3", "RateLimit-Reset": "7"}
        assert said(fields) == [
            Quota(requests=100, window_seconds=60, remaining=3, reset_at=soon(7)),
            Quota(requests=50, window_seconds=1),
        ]

    def test_drafts_3_to_6_with_a_field_for_the_policies(self) -> None:
        fields = {
            "RateLimit-Limit": "10", "RateLimit-Policy": '10;w=1;comment="x"', "RateLimit-Remaining": "9",
            "RateLimit-Reset": "1",
        }  # fmt: skip
        assert said(fields) == [Quota(requests=10, window_seconds=1, remaining=9, reset_at=soon(1))]

    @pytest.mark.parametrize("family", ["X-RateLimit", "x-ratelimit", "X-Rate-Limit"])
    def test_the_fields_with_an_x(self, family: str) -> None:
        fields = {f"{family}-Limit": "60", f"{family}-Remaining": "0", f"{family}-Reset": str(UNIX + 30)}
        assert said(fields) == [Quota(requests=60, remaining=0, reset_at=soon(30))]

    def test_gateways_with_a_field_for_each_window(self) -> None:
        fields = {
            "X-RateLimit-Limit-Minute": "20",
            "X-RateLimit-Remaining-Minute": "4",
            "X-RateLimit-Limit-Hour": "500",
        }
        assert said(fields) == [
            Quota(name="minute", requests=20, window_seconds=60, remaining=4),
            Quota(name="hour", requests=500, window_seconds=3600),
        ]

    @pytest.mark.parametrize("name", ["X-RateLimit-Remaining", "X-RateLimit-Remaining-Minute"])
    def test_fewer_than_no_calls_left_are_none(self, name: str) -> None:
        """As some gateways count over the limit; as a limit it is no count."""
        assert [quota.remaining for quota in said({name: "-1", "X-RateLimit-Limit": "-1"})] == [0]

    def test_the_draft_is_believed_before_the_fields_with_an_x(self) -> None:
        fields = {"RateLimit": '"a";r=1;t=2', "X-RateLimit-Remaining": "99", "X-RateLimit-Limit": "100"}
        assert [quota.remaining for quota in said(fields)] == [1]

    @pytest.mark.parametrize("count", ["unlimited", "", "1e3", "0x10", "٣", "9" * 40])
    def test_a_count_that_is_none_says_nothing(self, count: str) -> None:
        assert said([("X-RateLimit-Remaining", count), ("X-RateLimit-Reset", "5")]) == []


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        ("0", 0),
        ("7", 7),
        ("0.5", 0.5),
        ("7, 7", 7),
        ("3600", 3600),
        ("100000000", LONGEST_SECONDS),
        (str(UNIX + 40), 40),
        (f"{UNIX + 40}.250", 40.25),
        (str((UNIX + 40) * 1000), 40),
        (str((UNIX + 40) * 1_000_000), 40),
        (str(UNIX - 40), 0),
        (str((UNIX - 40) * 1000), 0),
        (str(UNIX + 10 * 365 * 86_400), LONGEST_SECONDS),
        (format_datetime(NOW + timedelta(seconds=9), usegmt=True), 9),
        ("Mon Nov 23 09:00:09 2026", 9),
        ("2026-11-23T09:00:09Z", 9),
        ("2026-11-23T18:00:09+09:00", 9),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
    ],
)
def test_a_reset_is_told_apart_by_its_size_and_bounded(reset: str, seconds: float) -> None:
    found = said({"X-RateLimit-Remaining": "1", "X-RateLimit-Reset": reset})
    assert found[0].reset_at == soon(seconds)


@pytest.mark.parametrize("reset", ["", "-5", "soon", "2026-11-23T09:00:09", "5 minutes", "1s"])
def test_a_reset_that_cannot_be_read_is_none(reset: str) -> None:
    assert said([("X-RateLimit-Remaining", "1"), ("X-RateLimit-Reset", reset)]) == [Quota(remaining=1)]


def test_a_unix_time_is_read_by_the_clock_of_the_partner() -> None:
    ahead = Clock(now=NOW, ahead=timedelta(minutes=5))
    fields = httpx.Headers({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(UNIX + 310)})
    assert quotas_of(fields, ahead)[0].reset_at == soon(10)


def test_an_answer_that_says_nothing_of_limits_gives_nothing() -> None:
    assert said({"Content-Type": "application/json", "Date": "Mon, 23 Nov 2026 09:00:00 GMT"}) == []


def test_used_up_quotas_name_the_latest_time_and_violated_ones_count_as_used_up() -> None:
    quotas = said({"RateLimit": '"a";r=0;t=5, "b";r=0;t=9, "c";r=4;t=60'})
    assert exhausted_until(quotas) == soon(9)
    assert exhausted_until(quotas, ["c"]) == soon(60)
    assert exhausted_until(quotas[2:]) is None


NAMES = ["RateLimit", "RateLimit-Policy", "RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset"]
NAMES += [f"X-{name}" for name in NAMES[2:]] + ["X-RateLimit-Limit-Minute", "X-RateLimit-Remaining-Minute"]
SHAPED = st.from_regex(r'[";,=a-z0-9:?@%().\- ]{0,40}', fullmatch=True)
PIECES = ['"a"', "b", ";q=1", ";r=0", ";t=5", ";w=60", ", ", "limit=1", "remaining=0", ";pk=:QQ==:", ';qu="requests"']
PIECES += ["(", ")", "100", "@5", "-", ".", "9" * 15, "reset=99999999999999"]
LIKELY = st.lists(st.sampled_from(PIECES), max_size=9).map("".join)


@given(st.dictionaries(st.sampled_from(NAMES), st.one_of(st.text(max_size=40), SHAPED, LIKELY), max_size=6))
def test_no_header_text_raises_and_everything_said_is_bounded(fields: dict[str, str]) -> None:
    for quota in quotas_of({name.lower(): value for name, value in fields.items()}, CLOCK):
        assert quota.reset_at is None or NOW <= quota.reset_at <= soon(LONGEST_SECONDS)
        assert all(count is None or 0 <= count <= 10**9 for count in (quota.requests, quota.remaining))
        assert quota.window_seconds is None or 0 < quota.window_seconds <= 366 * 86_400


def test_a_field_of_absurd_length_is_not_read() -> None:
    assert said({"RateLimit": ", ".join(['"a";r=1;t=2'] * 5000)}) == []
    assert len(said({"RateLimit": ", ".join(f'"a{n}";r=1' for n in range(200))})) == 16
