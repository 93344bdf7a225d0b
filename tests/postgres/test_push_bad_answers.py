"""Answers that nobody would send on purpose, through a whole push: nothing lost, nothing twice, and clear words."""

from __future__ import annotations

import gzip
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from partner_sync.catalogue import entry, sentence
from partner_sync.delivery.push import PushCounts, PushWork, push_organization
from partner_sync.errors import (
    BadAnswerError,
    LimitReachedError,
    PartnerSyncError,
    PartnerUnavailableError,
    SettlingError,
)
from partner_sync.http import client as client_module
from partner_sync.kinds.interface import Access
from partner_sync.kinds.registry import open_kind
from partner_sync.partners.loader import load_partners
from partner_sync.runs import conclude
from partner_sync.steps.outcomes import Outcomes, RunName
from postgres.hand_pusher import release
from postgres.keeping_partner import BY_KEY, Fault, KeepingPartner, Pushes
from postgres.product import Product, make_product
from postgres_server import Database
from scripted_partner import ScriptedPartner
from scripted_server import Came, Reply, ScriptedServer

FILES = Path(__file__).resolve().parents[2] / "include" / "partners"
QUICK = {"connect_seconds": 0.2, "read_seconds": 0.3, "settle_after_seconds": 0.5}
VISITS = ["v1", "v2", "v3"]


@pytest.fixture
def partner() -> ScriptedPartner:
    return ScriptedPartner()


@pytest.fixture
def server(partner: ScriptedPartner) -> Iterator[ScriptedServer]:
    with ScriptedServer(partner) as running:
        yield running


class Pusher:
    """One organization's pushes to a scripted server, with the file of honoka or tsubaki and times to wait for."""

    def __init__(self, database: Database, server: ScriptedServer, file: str = "honoka", **push: Any) -> None:
        found = load_partners(FILES).partners[file]
        assert found.push is not None
        changes = {"timeouts": found.timeouts.model_copy(update=QUICK), "push": found.push.model_copy(update=push)}
        # The database of these tests knows one partner, by the name of honoka.
        self.partner = found.model_copy(update=changes | {"slug": "honoka", "concurrency": 3})
        self.server = server
        self.product: Product = make_product(database)
        for visit in VISITS:
            self.product.visit(visit)
        self.product.week("finalized")
        release(self.product)

    def push(self) -> PushCounts:
        access = Access(base_url=self.server.base_url, login="me", secret="key")
        names = {"organization": self.product.organization, "run_key": "run-1"}
        work = PushWork(partner=self.partner, call_class="request", **names)
        conn = self.product.database.connect("push")
        try:
            return push_organization(conn, work, open_kind=lambda gate: open_kind(self.partner, access, gate))
        finally:
            conn.close()

    def push_until_settled(self, seconds: float = 20) -> PushCounts:
        ends_at = time.monotonic() + seconds
        while True:
            try:
                return self.push()
            except (SettlingError, LimitReachedError, PartnerUnavailableError) as waiting:
                assert time.monotonic() < ends_at, "never settled"
                left = waiting.retry_at - datetime.now(UTC) if waiting.retry_at else timedelta(seconds=0.5)
                time.sleep(max(0.05, left.total_seconds()))

    def results(self) -> list[tuple[str, str]]:
        query = "select distinct outcome, code from sync.push_result order by 1, 2"
        return [(row["outcome"], row["code"]) for row in self.product.database.admin().execute(query)]

    def note_of(self, done: PushCounts | PartnerSyncError) -> tuple[bool, str]:
        """Whether a run that ends so is red, and its note in Japanese."""
        run = self.product.database.connect("run")
        outcomes = Outcomes(run, RunName(partner="honoka", run_key="run-1", dag="schedule_push"), step="push")
        if isinstance(done, PushCounts):
            outcomes.pushed(self.product.organization, done)
        else:
            link = type("Link", (), {"organization": self.product.organization})
            outcomes.failed(link, done)  # type: ignore[arg-type]  # only its organization is asked for
        found = conclude(run, partner="honoka", run_key="run-1")
        return found.failed, found.note_ja


def quick(names: Iterable[Any], *, but: Iterable[Any]) -> list[Any]:
    """Parameters of which all ``but`` some belong to the long tests: each costs seconds."""
    kept = set(but)
    return [name if name in kept else pytest.param(name, marks=pytest.mark.long) for name in names]


def told(code: str) -> None:
    """A person understands it: its own sentence and next action, in both languages."""
    assert entry(code).code == code
    for language in ("ja", "en"):
        assert len(sentence(code, language, partner="honoka", organization="sakura")) > 30  # type: ignore[arg-type]


def first(times: int, reply: Reply, method: str = "PUT") -> Callable[..., Reply | None]:
    """The first calls of a method get this reply; it may stand before or after the work."""
    left = [times]

    def script(came: Came, _good: Reply | None = None) -> Reply | None:
        if came.method != method or not left[0]:
            return None
        left[0] -= 1
        return reply

    return script


HTML = Reply(200, "<!doctype html><title>メンテナンス中</title>".encode(), {"Content-Type": "text/html"})
UNUSABLE = {
    "html": HTML,
    "nothing": Reply(200, b""),
    "no_json": Reply(200, b'{"data": {"key": '),
    "cut": Reply(200, {"data": {"key": "v1"}}, cut=True),
    "dropped": Reply(drop=True),
    "trickling": Reply(200, b'{"data": {"key": "v1"}}', trickle_seconds=0.2),
    "trickling_head": Reply(raw=b"HTTP/1.1 200 OK\r\nX-Filler: " + b"x" * 100, trickle_seconds=0.05),
    "another_charset": Reply(200, '{"data": {"key": "山"}}'.encode("cp932")),
    "nested": Reply(200, b"[" * 50_000),
    "not_a_number": Reply(200, b'{"data": {"key": NaN}}'),
    "another_shape": Reply(200, {"error": {"code": "system_busy"}}),
    "a_list": Reply(200, ["v1"]),
    "bomb": Reply(200, gzip.compress(bytes(30_000_000)), {"Content-Encoding": "gzip"}),
    "no_gzip": Reply(200, b"{}", {"Content-Encoding": "gzip"}),
    "see_other": Reply(303, b"", {"Location": "/v1/visits/v1"}),
    "no_content": Reply(204),
    "interim_only": Reply(raw=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "switching": Reply(raw=b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: visits\r\nConnection: upgrade\r\n\r\n"),
    "old_http_cut": Reply(raw=b'HTTP/1.0 200 OK\r\n\r\n{"data": {"key": "v'),
    "no_http": Reply(raw=b"SSH-2.0-OpenSSH_9.2\r\n"),
    "two_lengths": Reply(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\n{}"),
}


@pytest.mark.parametrize("name", quick(UNUSABLE, but=["html", "cut", "bomb", "trickling_head"]))
def test_an_unusable_answer_to_a_visit_that_was_taken_is_looked_up_and_nothing_is_there_twice(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(client_module, "MAX_ANSWER_BYTES", 1_000_000)
    partner.spoil = first(1, UNUSABLE[name])
    pusher = Pusher(database, server)
    assert pusher.push_until_settled().outcomes["accepted"] == 3
    assert sorted(partner.visits) == VISITS
    assert sorted(key for key, _ in partner.written) == VISITS
    assert ("unknown", "outcome_unknown") in pusher.results()
    told("outcome_unknown")


@pytest.mark.parametrize("name", quick(["html", "cut", "trickling_head", "no_content", "another_shape"], but=["html"]))
def test_an_unusable_answer_of_a_partner_that_names_visits_itself_makes_no_second_one(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, name: str
) -> None:
    partner.spoil = first(1, UNUSABLE[name], method="POST")
    pusher = Pusher(database, server, "tsubaki")
    assert pusher.push_until_settled().outcomes["accepted"] == 3
    assert len(partner.written) == len(partner.visits) == 3
    assert ("unknown", "outcome_unknown") in pusher.results()


NAMES_ANOTHER = {
    "another": Reply(200, {"data": {"key": "v9"}}),
    # Of two values under one name the last counts.
    "two_names": Reply(200, b'{"data": {"key": "v1", "key": "v9"}}'),
    "two_visits": Reply(200, b'{"data": {"key": "v1"}, "data": {"key": "v9"}}'),
}


@pytest.mark.parametrize("name", quick(NAMES_ANOTHER, but=["two_names"]))
def test_an_answer_that_names_another_visit_is_no_acceptance_and_the_visit_is_looked_up(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, name: str
) -> None:
    partner.spoil = first(1, NAMES_ANOTHER[name])
    pusher = Pusher(database, server)
    assert pusher.push_until_settled().outcomes["accepted"] == 3
    assert sorted(key for key, _ in partner.written) == VISITS
    assert ("unknown", "answer_names_another_visit") in pusher.results()
    assert len([came for came in server.came if came.method == "GET"]) == 1
    told("answer_names_another_visit")


def in_old_http(came: Came) -> bytes:
    return b'HTTP/1.0 200 OK\r\n\r\n{"data": {"key": "%s"}}' % came.path.rpartition("/")[2].encode()


def after_interim_answers(came: Came) -> bytes:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n"
    return b"HTTP/1.1 100 Continue\r\n\r\n" + 3 * hints + in_old_http(came).replace(b"1.0", b"1.1", 1)


@pytest.mark.parametrize("written", [in_old_http, after_interim_answers])
def test_an_answer_in_an_unusual_form_that_is_whole_is_an_acceptance(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, written: Callable[[Came], bytes]
) -> None:
    """Ended by the end of the connection, or after interim answers."""
    partner.spoil = lambda came, _good: Reply(raw=written(came))
    pusher = Pusher(database, server)
    assert pusher.push().outcomes == {"accepted": 3}
    assert pusher.results() == [("accepted", "accepted")]


@pytest.mark.parametrize("name", quick(["html", "dropped", "another_shape"], but=["another_shape"]))
def test_an_unusable_answer_to_a_visit_that_was_not_taken_is_sent_again_under_its_key(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, name: str
) -> None:
    partner.refuse = first(1, UNUSABLE[name])
    pusher = Pusher(database, server)
    assert pusher.push_until_settled().outcomes["accepted"] == 3
    assert sorted(partner.visits) == VISITS
    puts = [(came.path, came.headers["idempotency-key"]) for came in server.came if came.method == "PUT"]
    assert (len(puts), len(set(puts))) == (4, 3)


@pytest.mark.parametrize("status", quick([301, 302, 307, 308], but=[307]))
def test_a_redirect_is_never_followed_with_the_key_and_the_visits_wait(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, status: int
) -> None:
    with ScriptedServer() as elsewhere:
        away = Reply(status, b"", {"Location": f"{elsewhere.base_url}/v1/visits/v1"})
        partner.refuse = first(3, away)
        pusher = Pusher(database, server)
        with pytest.raises(BadAnswerError) as raised:
            pusher.push()
        assert elsewhere.came == []
    red, note = pusher.note_of(raised.value)
    assert red
    assert "読み取れない応答" in note
    pusher.push_until_settled()
    assert sorted(partner.visits) == VISITS


@pytest.mark.long
def test_a_look_up_that_is_sent_to_another_host_is_not_followed(
    database: Database, server: ScriptedServer, partner: ScriptedPartner
) -> None:
    with ScriptedServer() as elsewhere:
        partner.spoil = first(1, UNUSABLE["html"])
        partner.refuse = first(1, Reply(302, b"", {"Location": f"{elsewhere.base_url}/"}), method="GET")
        assert Pusher(database, server).push_until_settled().outcomes["accepted"] == 3
        assert elsewhere.came == []
    assert sorted(key for key, _ in partner.written) == VISITS


TEN_YEARS = str(10 * 365 * 86_400)


@pytest.mark.parametrize("wait", quick([TEN_YEARS, "1795424400000", "Mon, 23 Nov 2036 09:00:00 GMT"], but=[TEN_YEARS]))
def test_a_wait_of_ten_years_is_an_hour_and_says_so(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, wait: str
) -> None:
    partner.refuse = lambda came: Reply(429, b"", {"Retry-After": wait})
    pusher = Pusher(database, server)
    with pytest.raises((LimitReachedError, SettlingError)) as waiting:
        pusher.push()
    left = waiting.value.retry_at - datetime.now(UTC)
    assert timedelta(minutes=50) < left <= timedelta(hours=1)
    calls = len(server.came)
    with pytest.raises((LimitReachedError, SettlingError)):
        pusher.push()
    assert calls == len(server.came) <= 3
    told(waiting.value.code)


@pytest.mark.long
def test_a_partner_that_always_says_come_back_at_once_is_not_called_without_end(
    database: Database, server: ScriptedServer, partner: ScriptedPartner
) -> None:
    partner.refuse = lambda came: Reply(429, b"", {"Retry-After": "0"})
    pusher = Pusher(database, server)
    ends_at = time.monotonic() + 3
    while time.monotonic() < ends_at:
        with pytest.raises((LimitReachedError, SettlingError)) as waiting:
            pusher.push()
        time.sleep(max(0.0, min(1.0, (waiting.value.retry_at - datetime.now(UTC)).total_seconds())))
    assert len(server.came) <= 12


@pytest.mark.parametrize(("file", "method"), [("honoka", "PUT"), ("tsubaki", "POST")])
def test_a_visit_that_the_partner_shows_only_after_a_while_is_there_once(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, file: str, method: str
) -> None:
    """The settle time is the partner's longest processing: what it shows by then is found."""
    lost_at: list[float] = []

    def lost(came: Came, reply: Reply) -> Reply | None:
        if came.method == method and not lost_at:
            lost_at.append(time.monotonic())
            return Reply(drop=True)
        # Not shown yet: as if nothing had come.
        hidden = came.method == "GET" and time.monotonic() < lost_at[0] + QUICK["settle_after_seconds"] - 0.1
        return Reply(404) if hidden else None

    partner.spoil = lost
    pusher = Pusher(database, server, file)
    assert pusher.push_until_settled().outcomes["accepted"] == 3
    assert len(partner.written) == len(partner.visits) == 3


def test_a_visit_that_is_shown_later_than_promised_is_sent_again_and_stays_one_under_its_key(
    database: Database, server: ScriptedServer, partner: ScriptedPartner
) -> None:
    partner.spoil = first(1, Reply(drop=True))
    partner.refuse = first(1, Reply(404), method="GET")
    pusher = Pusher(database, server)
    assert pusher.push_until_settled().outcomes["accepted"] == 3
    assert sorted(partner.visits) == VISITS
    assert len(partner.written) == 4
    assert len(set(partner.written)) == 3, "the same visit under the same idempotency key"


@pytest.mark.parametrize("name", quick(["html", "no_json", "cut", "dropped", "a_list", "see_other"], but=["cut"]))
def test_a_look_up_that_gives_nothing_usable_is_tried_again(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, name: str
) -> None:
    lost, spoiled = first(1, Reply(drop=True)), first(1, UNUSABLE[name], method="GET")
    partner.spoil = lambda came, reply: lost(came) or spoiled(came)
    assert Pusher(database, server).push_until_settled().outcomes["accepted"] == 3
    assert sorted(key for key, _ in partner.written) == VISITS


@pytest.mark.long
def test_a_look_up_that_comes_too_late_is_tried_again(
    database: Database, server: ScriptedServer, partner: ScriptedPartner
) -> None:
    lost = first(1, Reply(drop=True))
    slow = first(1, Reply(200, {"data": {}}, wait_seconds=0.6), method="GET")
    partner.spoil = lambda came, reply: lost(came) or slow(came)
    assert Pusher(database, server).push_until_settled().outcomes["accepted"] == 3
    assert sorted(key for key, _ in partner.written) == VISITS


NEVER_USABLE = {
    "html": HTML,
    "broken": Reply(500),
    "login": Reply(302, b"", {"Location": "/login"}),
    "list": Reply(200, {"data": []}),
}


@pytest.mark.parametrize("name", quick(NEVER_USABLE, but=["html"]))
def test_a_look_up_that_never_gives_a_usable_answer_goes_to_a_person_and_holds_up_nobody(
    database: Database, server: ScriptedServer, partner: ScriptedPartner, name: str
) -> None:
    lost = first(1, Reply(drop=True))
    partner.spoil = lambda came, good: lost(came) or (NEVER_USABLE[name] if came.method == "GET" else None)
    pusher = Pusher(database, server, max_attempts=2)
    done = pusher.push_until_settled()
    assert (done.parked, done.outcomes["accepted"]) == (1, 2)
    assert len([came for came in server.came if came.method == "GET"]) == 2
    red, note = pusher.note_of(done)
    assert red
    assert entry("outcome_unknown_person").what.ja.partition("{")[0] in note
    told("outcome_unknown_person")


def test_a_maintenance_page_with_status_200_is_no_acceptance(
    pushes: Callable[..., Pushes], keeping: KeepingPartner
) -> None:
    """Also where the partner file does not say what an answer shows."""
    world = pushes(1, BY_KEY, settle=0.05)
    keeping.faults.append(Fault(HTML))
    world.push_until_quiet()
    assert "v0" in keeping.visits


@pytest.mark.parametrize("reply", [Reply(204), Reply(200, b""), Reply(201, b" \n")])
def test_an_answer_without_content_is_an_acceptance_where_no_name_is_needed_from_it(
    pushes: Callable[..., Pushes], keeping: KeepingPartner, reply: Reply
) -> None:
    world = pushes(1, {**BY_KEY, "put": {**BY_KEY["put"], "key_at": "data.id"}})
    keeping.faults.append(Fault(reply, done=True))
    assert world.push().outcomes == {"accepted": 1}
