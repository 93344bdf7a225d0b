"""The quality pages over real HTTP, behind Airflow's own login, on a real PostgreSQL."""

from __future__ import annotations

import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

import pages_server
from pages_routes import every_route
from partner_sync.catalogue import entry
from postgres_server import Database, Server

pages_server.use_people()

SAMPLE = Path(__file__).parents[1] / "quality_sample.sql"
RUN = "/runs/honoka/honoka__master_sync/manual__2026-11-28T11:00:00+00:00"
PAGES = [
    "/", "/partners/honoka", "/partners/honoka?entity=patient&organization=aoba&days=365",
    "/partners/honoka/patient/family_name_present", "/findings", "/findings?state=closed&partner=honoka", RUN,
    "/runs/honoka/nothing/of-it", "/quarantine", "/quarantine?partner=honoka&organization=aoba", "/quarantine/1",
]  # fmt: skip
FORMS = {
    "/quarantine/1/values": {},
    "/quarantine/1/release": {"reason": "checked with the office by phone"},
    "/keys/honoka/patient/family_name_present": {"organization": "aoba"},
    "/quarantine-file": {"partner": "honoka", "organization": "aoba", "encoding": "utf-8"},
}
RELEASED_BY = {"op": 1, "admin": 4}
SECRETS = ("SECRET", "KEY-1", "KEY-2", "𠮷")


@dataclass
class Site:
    """The served pages and the database under them."""

    address: str
    database: Database

    def browser(self, person: str | None, **headers: str) -> httpx.Client:
        """A browser with a person's login, on a page of ours."""
        cookies = dict(pages_server.cookies(person)) if person else {}
        return httpx.Client(
            base_url=f"{self.address}{pages_server.PREFIX}",
            cookies=cookies,
            headers={"Origin": self.address, **headers},
        )

    def events(self) -> list[dict[str, Any]]:
        return self.database.admin().execute("select * from audit.event where who in ('op', 'admin')").fetchall()


@pytest.fixture(scope="module")
def site(postgres: Server) -> Iterator[Site]:
    database = postgres.clone()
    database.admin().execute(SAMPLE.read_text(encoding="utf-8").encode())
    os.environ["AIRFLOW_CONN_SYNC_PAGE"] = pages_server.connection_of(database.url("page"))
    try:
        with pages_server.served(pages_server.whole_app()) as address:
            yield Site(address, database)
    finally:
        del os.environ["AIRFLOW_CONN_SYNC_PAGE"]
        database.close()
        postgres.drop(database.name)


@pytest.fixture
def browser(site: Site) -> Iterator[Callable[..., httpx.Client]]:
    opened: list[httpx.Client] = []

    def open_browser(person: str | None, **headers: str) -> httpx.Client:
        opened.append(site.browser(person, **headers))
        return opened[-1]

    yield open_browser
    for each in opened:
        each.close()


Browser = Callable[..., httpx.Client]


@pytest.mark.parametrize(("method", "path"), every_route())
@pytest.mark.parametrize("token", [None, "no.such.token"])
def test_a_stranger_is_refused_everywhere_and_learns_nothing(
    site: Site, method: str, path: str, token: str | None
) -> None:
    cookies = {"_token": token} if token else {}
    answer = httpx.request(method, f"{site.address}/quality{path}", cookies=cookies)
    assert answer.status_code in {401, 403}
    assert "location" not in answer.headers
    assert "aoba" not in answer.text


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("person", pages_server.PEOPLE)
def test_who_is_logged_in_reads_every_page_without_a_value_in_it(browser: Browser, person: str, path: str) -> None:
    answer = browser(person).get(path)
    assert answer.status_code == 200
    assert not [secret for secret in SECRETS if secret in answer.text]
    assert "<script>alert" not in answer.text
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", FORMS)
def test_a_viewer_may_not_see_values(browser: Browser, site: Site, path: str) -> None:
    before = len(site.events())
    answer = browser("viewer").post(path, data=FORMS[path])
    assert answer.status_code == 403
    assert not [secret for secret in SECRETS if secret in answer.text]
    assert len(site.events()) == before


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("person", ["op", "admin"])
def test_whoever_edits_connections_may_and_each_time_is_written_down(
    browser: Browser, site: Site, person: str, path: str
) -> None:
    before = len(site.events())
    # A record is released once.
    answer = browser(person).post(path.replace("/1/release", f"/{RELEASED_BY[person]}/release"), data=FORMS[path])
    assert answer.status_code in {200, 303}
    added = site.events()[before:]
    assert [event["who"] for event in added] == [person]


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://elsewhere.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "none"},
    ],
)
def test_another_sites_page_can_make_the_browser_do_nothing(
    browser: Browser, site: Site, path: str, headers: dict[str, str]
) -> None:
    before = len(site.events())
    assert browser("admin", **headers).post(path, data=FORMS[path]).status_code == 403
    assert len(site.events()) == before


def test_a_bearer_token_needs_no_page_of_ours(site: Site) -> None:
    headers = {"Authorization": f"Bearer {pages_server.token_of('op')}"}
    answer = httpx.post(f"{site.address}/quality/quarantine/1/values", headers=headers)
    assert answer.status_code == 200
    assert "SECRET" in answer.text


def test_only_an_admin_reads_who_has_looked(browser: Browser) -> None:
    assert [browser(person).get("/audit").status_code for person in ("viewer", "op", "admin")] == [403, 403, 200]
    page = browser("admin").get("/audit").text
    assert "&lt;i&gt;somebody&lt;/i&gt;" in page
    assert "<script>alert" not in page
    assert "/audit" not in browser("op").get("/").text


def test_hostile_names_and_values_are_shown_as_text(browser: Browser) -> None:
    shown = browser("op").post("/quarantine/1/values").text
    assert "&lt;img src=x onerror=alert(1)&gt;" in shown
    assert "&lt;b&gt;field&lt;/b&gt;" in shown
    assert "<img" not in shown
    sentence = browser("viewer").get("/partners/honoka?entity=patient").text
    assert "&lt;script&gt;alert(&#34;ja&#34;)&lt;/script&gt;" in sentence


def test_a_masked_record_shows_names_types_and_lengths(browser: Browser) -> None:
    page = browser("viewer").get("/quarantine/1").text
    for shape in ("text(9)", "text(28)", "float", "int", "bool", "null"):
        assert shape in page
    assert "<form" not in page.partition("<main")[2]


def test_the_policy_lets_nothing_in_from_outside(browser: Browser) -> None:
    for path in ("/", "/static/plots.js", "/no/such/page"):
        policy = browser("viewer").get(path).headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
    for path in PAGES:
        html = browser("viewer").get(path).text
        assert not re.search(r'(?:src|href|action)="(?!/quality|#)', html)
        assert not re.search(r"<[^>]+\s(?:style|on\w+)=", html)


def test_the_language_is_asked_for_chosen_and_remembered(browser: Browser) -> None:
    asked = browser("viewer", **{"Accept-Language": "en-GB,en;q=0.9,ja;q=0.5"})
    assert '<html lang="en">' in asked.get("/").text
    assert '<html lang="ja">' in asked.get("/?lang=ja").text
    assert '<html lang="ja">' in asked.get("/findings").text
    assert '<html lang="ja">' in browser("viewer").get("/?lang=xx").text
    assert "/quality/findings?state=closed&amp;lang=en" in asked.get("/findings?state=closed").text


def test_the_score_is_the_weighted_share_of_the_last_days(browser: Browser) -> None:
    # A day: 200 values each; critical 2 failed, warning 20, info 0: 1 - (2*5 + 20*2) / (200 * (5 + 2 + 1)) = 96.875 %.
    page = browser("viewer").get("/partners/honoka?entity=patient").text
    assert "96.8 %" in page
    assert "99.0 %" in page
    assert "90.0 %" in page


def test_an_alert_may_quote_the_runs_key_as_one_part_or_several(browser: Browser) -> None:
    key = RUN.removeprefix("/runs/honoka/")
    for quoted in (quote(key, safe=""), quote(key), key):
        assert "aoba" in browser("viewer").get(f"/runs/honoka/{quoted}").text


def test_a_run_that_judged_nothing_says_so(browser: Browser) -> None:
    page = browser("viewer", **{"Accept-Language": "en"}).get("/runs/honoka/honoka__live_push/x").text
    assert "This run has judged nothing so far" in page


@pytest.mark.parametrize(
    "path",
    [
        "/partners/nobody",
        "/quarantine/999999",
        "/partners/honoka?entity=visit",
        "/partners/honoka/patient/none",
        "/nothing",
    ],
)
def test_what_is_not_there_is_not_found(browser: Browser, path: str) -> None:
    assert browser("admin").get(path).status_code == 404


def test_what_cannot_be_read_is_not_repeated(browser: Browser) -> None:
    answer = browser("admin").get("/quarantine/<b>SECRET")
    assert answer.status_code == 422
    assert "SECRET" not in answer.text.partition("<main")[2]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        (f"/quarantine/{2**63}", 422),
        ("/quarantine/0", 422),
        ("/quarantine?organization=%00", 422),
        ("/findings?number=0", 422),
        ("/partners/honoka/patient/%00", 404),
        ("/runs/honoka/%00", 404),
    ],
)
def test_what_the_database_could_not_take_never_reaches_it(browser: Browser, path: str, status: int) -> None:
    assert browser("admin").get(path).status_code == status


def test_the_tabs_of_airflow_lead_to_their_pages(browser: Browser) -> None:
    from partner_sync_airflow.dag_runs import bounded_id

    viewer = browser("viewer")
    ran = viewer.get("/of-run?dag=honoka__master_sync&run=manual__2026-11-28T11:00:00%2B00:00")
    assert ran.headers["location"] == f"/quality{RUN}".replace("+", "%2B").replace(":", "%3A")
    assert viewer.get(ran.headers["location"].removeprefix("/quality")).status_code == 200
    assert viewer.get("/of-dag?dag=honoka__master_sync").headers["location"] == "/quality/partners/honoka"
    assert viewer.get("/of-dag?dag=answer_lost").headers["location"] == "/quality/"
    long = "r" * 300
    key = bounded_id(f"honoka__master_sync/{long}")
    assert viewer.get(f"/of-run?dag=honoka__master_sync&run={long}").headers["location"].endswith(key)


@pytest.mark.parametrize(("encoding", "mark"), [("utf-8", b"\xef\xbb\xbf"), ("cp932", b"")])
def test_the_offices_file_opens_in_a_spreadsheet(browser: Browser, encoding: str, mark: bytes) -> None:
    form = FORMS["/quarantine-file"] | {"encoding": encoding}
    answer = browser("op").post("/quarantine-file", data=form)
    assert answer.content.startswith(mark)
    assert re.search(r'attachment; filename="quarantine-honoka-aoba-\d{8}\.csv"', answer.headers["content-disposition"])
    text = answer.content.removeprefix(mark).decode(encoding)
    assert text.count("\r\n") == text.count("\n") == 5
    head, *rows = csv.reader(io.StringIO(text, newline=""))
    assert len({len(row) for row in [head, *rows]}) == 1
    assert rows[1][4] == ("'=SECRET山田 𠮷郎" if encoding == "utf-8" else "'=SECRET山田 〓郎")
    assert [row[-1] for row in rows] == (["0"] * 4 if encoding == "utf-8" else ["2"] * 4)


def test_a_release_asks_for_a_reason_and_refuses_what_cannot_be_merged(browser: Browser) -> None:
    op = browser("op")
    for record, reason, why in ((2, " no ", "release_without_reason"), (3, "long enough", "release_without_key")):
        answer = op.post(f"/quarantine/{record}/release", data={"reason": reason})
        assert answer.headers["location"] == f"/quality/quarantine/{record}?done={why}"
        assert entry(why).what.ja in op.get(answer.headers["location"].removeprefix("/quality")).text
    released = op.post("/quarantine/2/release", data={"reason": "long enough"}).headers["location"]
    assert "取り込みを許可しました" in op.get(released.removeprefix("/quality")).text


def test_without_the_database_a_page_says_so(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        "AIRFLOW_CONN_SYNC_PAGE", '{"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "login": "x"}'
    )
    answer = browser("viewer").get("/")
    assert answer.status_code == 503
    assert "127.0.0.1" not in answer.text.partition("<main")[2]
