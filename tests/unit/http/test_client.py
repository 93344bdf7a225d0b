"""The client against a real server on loopback."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from partner_made import made
from partner_sync.errors import (
    BadAnswerError,
    ConnectionUnusableError,
    LimitReachedError,
    OutcomeUnknownError,
    PartnerAuthError,
    PartnerSyncError,
    PartnerUnavailableError,
    RateLimitedError,
    RejectedRequestError,
)
from partner_sync.http import client as client_module
from partner_sync.http.client import PartnerClient, Request
from partner_sync.http.outcomes import Intent
from partner_sync.kinds.interface import Access, Quota
from scripted_server import OpenGate, Reply, ScriptedServer

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
READ = Intent(partner="trial", endpoint="GET /v1/patients")
CHANGE = Intent(partner="trial", endpoint="PUT /v1/visits/{key}", changes=True)
LIST = Request(path="/v1/patients")
PUT = Request(path="/v1/visits/v-1", body={"status": "1"})


OPENED: list[PartnerClient] = []


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    while OPENED:
        OPENED.pop().close()


def opened(server: ScriptedServer, gate: OpenGate | None = None, **top: object) -> PartnerClient:
    access = Access(base_url=server.base_url, login="me", secret="the-key")
    OPENED.append(PartnerClient(made(**top), access, gate or OpenGate(lambda: NOW), now=lambda: NOW))
    return OPENED[-1]


def refused(client: PartnerClient, intent: Intent, request: Request) -> PartnerSyncError:
    with pytest.raises(PartnerSyncError) as raised:
        client.call(intent, request)
    return raised.value


@pytest.mark.parametrize(
    ("auth", "name", "value"),
    [
        ({"style": "bearer"}, "authorization", "Bearer the-key"),
        ({"style": "basic"}, "authorization", "Basic bWU6dGhlLWtleQ=="),
        ({"style": "api_key", "header": "X-Key"}, "x-key", "the-key"),
    ],
)
def test_each_way_to_sign_in_sends_its_header(
    server: ScriptedServer, auth: dict[str, str], name: str, value: str
) -> None:
    opened(server, auth=auth).call(READ, LIST)
    assert server.came[0].headers[name] == value


def test_a_grant_is_taken_before_each_call(server: ScriptedServer) -> None:
    gate = OpenGate(lambda: NOW)
    client = opened(server, gate)
    client.call(READ, LIST)
    client.call(CHANGE, PUT)
    assert gate.taken == ["GET /v1/patients", "PUT /v1/visits/{key}"]


def test_without_a_grant_nothing_leaves(server: ScriptedServer) -> None:
    class ShutGate(OpenGate):
        """Grants nothing."""

        def take(self, endpoint: str) -> None:
            raise LimitReachedError(partner="trial", retry_at=NOW)

    assert isinstance(refused(opened(server, ShutGate()), CHANGE, PUT), LimitReachedError)
    assert server.came == []


def test_a_429_is_heeded_with_the_scope_that_it_names(server: ScriptedServer) -> None:
    server.answer = Reply(429, {"error": {"scope": "vendor"}}, {"Retry-After": "7"})
    gate = OpenGate(lambda: NOW)
    error = refused(opened(server, gate), CHANGE, PUT)
    assert isinstance(error, RateLimitedError)
    assert (error.retry_at, error.facts["scope"]) == (NOW + timedelta(seconds=7), "vendor")
    assert gate.heeded == [(429, "vendor", NOW + timedelta(seconds=7))]


def test_a_429_is_heeded_at_once_also_when_its_body_trickles_in(server: ScriptedServer) -> None:
    heeded: list[float] = []

    class Gate(OpenGate):
        def heed(self, *, status: int, scope: str | None, retry_at: datetime | None) -> None:
            heeded.append(time.monotonic())

    server.answer = Reply(429, b"x" * 20, {"Retry-After": "60"}, trickle_seconds=0.2)
    started = time.monotonic()
    assert isinstance(refused(opened(server, Gate()), CHANGE, PUT), RateLimitedError)
    assert heeded[0] - started < 0.9


def test_a_scope_that_we_do_not_know_is_left_aside(server: ScriptedServer) -> None:
    server.answer = Reply(429, {"error": {"scope": "山田太郎"}})
    gate = OpenGate(lambda: NOW)
    refused(opened(server, gate), READ, LIST)
    assert gate.heeded == [(429, None, None)]


def test_a_503_with_retry_after_is_heeded(server: ScriptedServer) -> None:
    server.answer = Reply(503, b"", {"Retry-After": "3"})
    gate = OpenGate(lambda: NOW)
    assert isinstance(refused(opened(server, gate), CHANGE, PUT), PartnerUnavailableError)
    assert gate.heeded == [(503, None, NOW + timedelta(seconds=3))]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed_with_the_key(server: ScriptedServer, status: int) -> None:
    with ScriptedServer() as elsewhere:
        server.answer = Reply(status, b"", {"Location": f"{elsewhere.base_url}/v1/patients"})
        assert isinstance(refused(opened(server), READ, LIST), BadAnswerError)
        assert elsewhere.came == []


def test_a_cut_connection_is_unknown_for_a_change_and_unavailable_for_a_read(server: ScriptedServer) -> None:
    server.answer = Reply(drop=True)
    assert isinstance(refused(opened(server), CHANGE, PUT), OutcomeUnknownError)
    assert isinstance(refused(opened(server), READ, LIST), PartnerUnavailableError)


def test_a_cut_answer_is_unknown_for_a_change(server: ScriptedServer) -> None:
    server.answer = Reply(200, {"data": {}}, cut=True)
    assert isinstance(refused(opened(server), CHANGE, PUT), OutcomeUnknownError)


def test_a_timeout_is_unknown_for_a_change_and_unavailable_for_a_read(server: ScriptedServer) -> None:
    times = {"connect_seconds": 0.2, "read_seconds": 0.2, "settle_after_seconds": 1}
    server.answer = Reply(wait_seconds=0.6)
    assert isinstance(refused(opened(server, timeouts=times), CHANGE, PUT), OutcomeUnknownError)
    assert isinstance(refused(opened(server, timeouts=times), READ, LIST), PartnerUnavailableError)


def test_a_server_that_is_not_there_is_unavailable_also_for_a_change(server: ScriptedServer) -> None:
    server.base_url = "http://127.0.0.1:1"
    assert isinstance(refused(opened(server), CHANGE, PUT), PartnerUnavailableError)


def test_an_answer_beyond_the_bound_is_not_read(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 1000)
    server.answer = Reply(200, b"x" * 1001)
    assert isinstance(refused(opened(server), READ, LIST), BadAnswerError)
    assert isinstance(refused(opened(server), CHANGE, PUT), OutcomeUnknownError)


def test_a_refusal_names_our_fields_and_plain_codes_only(server: ScriptedServer) -> None:
    listed = [{"field": "patient", "code": "unknown"}, {"field": "山田太郎", "code": "山田 is wrong"}, 7]
    server.answer = Reply(422, {"errors": listed})
    error = refused(opened(server), CHANGE, PUT)
    assert isinstance(error, RejectedRequestError)
    assert error.facts["fields"] == ("patient: unknown", "another field: refused", "another field: refused")


EXCEEDED = "https://iana.org/assignments/http-problem-types#quota-exceeded"
REDUCED = "https://iana.org/assignments/http-problem-types#temporary-reduced-capacity"
PROBLEM = {"Content-Type": "application/problem+json; charset=utf-8"}


def test_a_403_for_a_used_up_quota_is_no_wrong_key(server: ScriptedServer) -> None:
    fields = {"RateLimit": '"daily";r=3;t=90, "burst";r=0;t=5'}
    server.answer = Reply(403, {"type": EXCEEDED, "violated-policies": ["daily"]}, PROBLEM | fields)
    gate = OpenGate(lambda: NOW)
    error = refused(opened(server, gate), CHANGE, PUT)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == NOW + timedelta(seconds=90)
    assert gate.heeded == [(403, None, error.retry_at)]


def test_a_503_for_reduced_capacity_was_surely_not_done(server: ScriptedServer) -> None:
    server.answer = Reply(503, {"type": REDUCED}, PROBLEM | {"RateLimit-Policy": '"hourly";q=5;w=3600'})
    gate = OpenGate(lambda: NOW)
    client = opened(server, gate)
    assert isinstance(refused(client, CHANGE, PUT), RateLimitedError)
    assert (gate.heeded, gate.answers) == ([(503, None, None)], [True])
    assert [quota.requests for quota in gate.quotas] == [5]
    assert client.policies == ()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(403, {"type": EXCEEDED}, {"Content-Type": "application/json"}),
        Reply(403, {"type": "https://example.test/problems#quota-exceeded"}, PROBLEM),
        Reply(403, {"type": ["quota-exceeded"]}, PROBLEM),
        Reply(403, [EXCEEDED], PROBLEM),
        Reply(403, b"{", PROBLEM),
    ],
)
def test_what_is_no_problem_of_the_draft_keeps_the_meaning_of_its_status(server: ScriptedServer, reply: Reply) -> None:
    server.answer = reply
    assert isinstance(refused(opened(server), READ, LIST), PartnerAuthError)


def test_a_429_without_retry_after_waits_for_what_its_fields_name(server: ScriptedServer) -> None:
    server.answer = Reply(429, b"", {"RateLimit": '"burst";r=0;t=17'})
    error = refused(opened(server), READ, LIST)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == NOW + timedelta(seconds=17)


def test_retry_after_wins_over_the_fields(server: ScriptedServer) -> None:
    server.answer = Reply(429, b"", {"RateLimit": '"burst";r=0;t=600', "Retry-After": "2"})
    gate = OpenGate(lambda: NOW)
    error = refused(opened(server, gate), READ, LIST)
    assert isinstance(error, RateLimitedError)
    assert error.retry_at == gate.quotas[0].reset_at == NOW + timedelta(seconds=2)


@pytest.mark.parametrize(
    "reply", [Reply(429, b"", cut=True), Reply(429, b"x" * 100_000), Reply(429, b"{", {"Content-Encoding": "gzip"})]
)
def test_a_refusal_whose_body_cannot_be_read_is_still_that_refusal(server: ScriptedServer, reply: Reply) -> None:
    reply.body = reply.body or b"cut off"
    reply.headers["Retry-After"] = "7"
    server.answer = reply
    gate = OpenGate(lambda: NOW)
    assert isinstance(refused(opened(server, gate), CHANGE, PUT), RateLimitedError)
    assert gate.heeded == [(429, None, NOW + timedelta(seconds=7))]


STATES_A_POLICY = {"RateLimit-Policy": '"burst";q=100;w=60', "RateLimit": '"burst";r=42;t=27'}


@pytest.mark.parametrize(
    "reply",
    [
        Reply(200, {"data": []}, STATES_A_POLICY),
        Reply(204, b"", STATES_A_POLICY),
        Reply(302, b"", STATES_A_POLICY | {"Location": "/elsewhere"}),
        Reply(422, {"errors": []}, STATES_A_POLICY),
        Reply(500, b"", STATES_A_POLICY),
        Reply(200, {"data": []}, STATES_A_POLICY, cut=True),
    ],
)
def test_the_gate_is_told_what_every_answer_says_is_left(server: ScriptedServer, reply: Reply) -> None:
    server.answer = reply
    gate = OpenGate(lambda: NOW)
    client = opened(server, gate)
    with contextlib.suppress(PartnerSyncError):
        client.call(READ, LIST)
    expected = Quota(name="burst", requests=100, window_seconds=60, remaining=42, reset_at=NOW + timedelta(seconds=27))
    assert gate.quotas == [expected]
    assert client.policies == (Quota(name="burst", requests=100, window_seconds=60),)


def test_a_policy_that_changes_is_kept_as_it_was_said_last_and_ever_new_ones_are_bounded(
    server: ScriptedServer,
) -> None:
    client = opened(server)
    for number in range(40):
        server.answer = Reply(200, b"{}", {"RateLimit-Policy": f'"one";q={number};w=60, "name-{number}";q=1;w=1'})
        client.call(READ, LIST)
    assert client.policies[0] == Quota(name="one", requests=39, window_seconds=60)
    assert len(client.policies) == 32


@pytest.mark.parametrize(
    ("reply", "answers"),
    [
        (Reply(200, {"data": []}), [True]),
        (Reply(200, b"<html>"), [True]),
        (Reply(200, b"no gzip", {"Content-Encoding": "gzip"}), [True]),
        (Reply(200, b"{}", {"Link": '<http://[>; rel="next"'}), [True]),
        (Reply(200, b"x" * 1001), [True]),
        (Reply(307, b"", {"Location": "http://127.0.0.1:9/"}), [True]),
        (Reply(401), [True]),
        (Reply(404), [True]),
        (Reply(429), [True]),
        (Reply(500), [False]),
        (Reply(503), [False]),
        (Reply(503, b"", {"Retry-After": "5"}), [True]),
        (Reply(drop=True), [False]),
        (Reply(200, {"data": []}, cut=True), [False]),
        (Reply(wait_seconds=0.6), [False]),
        (Reply(200, b"slow", trickle_seconds=0.3), [False]),
    ],
)
@pytest.mark.parametrize("intent", [READ, CHANGE])
def test_the_gate_hears_once_of_each_call_whether_it_reached_the_partner(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, reply: Reply, answers: list[bool], intent: Intent
) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 1000)
    server.answer = reply
    gate = OpenGate(lambda: NOW)
    times = {"connect_seconds": 0.4, "read_seconds": 0.4, "settle_after_seconds": 1}
    client = opened(server, gate, timeouts=times)
    with contextlib.suppress(PartnerSyncError):
        client.call(intent, LIST)
    assert gate.answers == answers


def test_a_server_that_is_not_there_was_not_reached(server: ScriptedServer) -> None:
    gate = OpenGate(lambda: NOW)
    server.base_url = "http://127.0.0.1:1"
    refused(opened(server, gate), READ, LIST)
    assert gate.answers == [False]


def test_what_cannot_be_written_says_nothing_about_the_partner(server: ScriptedServer) -> None:
    gate = OpenGate(lambda: NOW)
    refused(opened(server, gate), READ, Request(path="/v1/patients", headers={"X-Name": "a\nb"}))
    assert (gate.answers, server.came) == ([], [])


def test_a_wrong_key_stops_the_organization(server: ScriptedServer) -> None:
    server.answer = Reply(401, {"error": {"code": "unauthorized"}})
    assert isinstance(refused(opened(server), READ, LIST), PartnerAuthError)


@pytest.mark.parametrize(
    "access",
    [
        Access(base_url="ftp://host", secret="k"),
        Access(base_url="no address", secret="k"),
        Access(base_url="http://api..example.jp", secret="k"),
        Access(base_url=f"http://{'a' * 64}.example.jp", secret="k"),
        Access(base_url="http://example.jp:70000", secret="k"),
        Access(base_url="http://[", secret="k"),
        Access(base_url="https://me:pw@host", secret="k"),
        Access(base_url="https://host?key=1", secret="k"),
        Access(base_url="https://host"),
        Access(base_url="https://host", secret="two\nlines"),
        Access(base_url="https://host", secret="日本"),
    ],
)
def test_an_unusable_connection_is_an_error_of_the_organization(access: Access) -> None:
    with pytest.raises(ConnectionUnusableError) as raised:
        PartnerClient(made(), access, OpenGate(lambda: NOW))
    assert isinstance(raised.value, PartnerAuthError)
    assert "pw" not in str(raised.value)


def test_no_log_or_traceback_holds_a_value_of_the_call(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answer = Reply(500, {"message": "山田太郎"})
    client = opened(server)
    request = Request(path="/v1/visits/v-1", parameters={"insured": "H123456789"}, body={"note": "花子"})
    with caplog.at_level(logging.DEBUG):
        text = "".join(traceback.format_exception(refused(client, CHANGE, request))) + caplog.text
    assert "PUT" in caplog.text
    assert not [value for value in ("山田", "H123456789", "花子", "the-key", "v-1") if value in text]


def test_what_is_no_json_is_a_bad_answer_that_does_not_quote_it(server: ScriptedServer) -> None:
    server.answer = Reply(200, "<html>山田".encode())
    client = opened(server)
    answer = client.call(READ, LIST)
    with pytest.raises(BadAnswerError) as raised:
        client.decoded(READ, answer)
    assert "山田" not in "".join(traceback.format_exception(raised.value))


def test_the_chain_to_a_foreign_exception_is_cut(server: ScriptedServer) -> None:
    server.answer = Reply(drop=True)
    error = refused(opened(server), CHANGE, PUT)
    assert "httpx" not in "".join(traceback.format_exception(error))
