"""What people see: each page for each person, by eye, keyboard and screen reader, and inside Airflow's own pages."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Page, expect

from airflow_for_tests import use_own_home
from browser.accessibility import faults
from browser.conftest import OpenPage, keep_picture
from browser.world import SYNC, World

pytestmark = [pytest.mark.long, pytest.mark.live]

PLACES = ("overview", "partner", "expectation", "findings", "run", "quarantine", "record")
PHONE = {"viewport": {"width": 360, "height": 740}}


def drawn(page: Page) -> None:
    """Wait until the plots in sight are there."""
    if page.locator("figure.plot").count():
        expect(page.locator("figure.plot canvas").first).to_be_visible()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("person", ["admin", "op", "viewer"])
def test_each_person_reads_each_page(open_page: OpenPage, world: World, person: str, place: str) -> None:
    page = open_page(person, world.places[place])
    drawn(page)
    keep_picture(page, f"{place}-{person}-first-sight", whole=False)
    expect(page.locator("h1")).to_have_count(1)
    expect(page.locator("html")).to_have_attribute("lang", "ja")
    assert person in page.locator(".who").inner_text()
    keep_picture(page, f"{place}-{person}")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("place", [*PLACES, "audit"])
def test_a_screen_reader_and_weak_eyes_find_nothing_amiss(
    open_page: OpenPage, world: World, place: str, scheme: str
) -> None:
    page = open_page("admin", world.places.get(place, "/quality/audit"), color_scheme=scheme)
    drawn(page)
    for summary in page.locator("summary").all()[:3]:
        summary.click()
    assert faults(page) == []
    keep_picture(page, f"{place}-{scheme}")


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize("place", [*PLACES, "audit"])
def test_a_phone_shows_each_page_without_sideways_scrolling(
    open_page: OpenPage, world: World, place: str, language: str
) -> None:
    address = world.places.get(place, "/quality/audit")
    page = open_page("admin", f"{address}{'&' if '?' in address else '?'}lang={language}", **PHONE)
    drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    keep_picture(page, f"{place}-phone-{language}")


def test_everything_is_reached_by_keyboard(open_page: OpenPage, world: World) -> None:
    page = open_page("op", world.places["overview"])
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_class("skip")
    expect(page.locator(":focus")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_be_focused()
    seen: list[str] = []
    for _ in range(60):
        page.keyboard.press("Tab")
        focused = page.evaluate(
            "() => {const e = document.activeElement; const s = getComputedStyle(e);"
            " return [e.tagName, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2]}"
        )
        if focused[0] == "BODY":
            break
        assert focused[1], f"no visible focus on {focused[0]}"
        seen.append(focused[0])
    assert {"A", "SUMMARY", "INPUT", "SELECT", "BUTTON", "DIV"} <= set(seen)


def test_a_table_is_beside_each_plot_also_without_scripts(open_page: OpenPage, world: World) -> None:
    page = open_page("viewer", world.places["partner"], java_script_enabled=False)
    figure = page.locator("figure.plot").first
    figure.locator("summary").first.click()
    assert figure.locator("tbody tr").count() > 20
    expect(figure.locator("td[data-v]").first).to_be_visible()


def test_the_plot_has_a_name_and_follows_the_table(open_page: OpenPage, world: World) -> None:
    page = open_page("viewer", world.places["partner"])
    canvas = page.get_by_role("img").first
    expect(canvas).to_have_attribute("aria-label", page.locator("figure.plot").first.get_attribute("data-label") or "-")
    rows = page.locator("figure.plot").first.locator("tbody tr").count()
    points = page.evaluate(
        "document.querySelector('figure.plot').chart.data.datasets[0].data.filter((value) => value !== null).length"
    )
    assert 0 < points <= rows


def test_a_language_stays_chosen(open_page: OpenPage, world: World) -> None:
    page = open_page("viewer", world.places["overview"])
    page.get_by_role("link", name="Switch to English").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Data quality of all partners")
    page.get_by_role("link", name="Findings", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Findings")


def test_a_person_with_the_right_sees_values_and_it_is_written_down(open_page: OpenPage, world: World) -> None:
    before = world.value("select count(*) from audit.event where action = 'unmask_record' and who = 'op'")
    page = open_page("op", world.places["record"])
    key = str(world.value(f"select source_key from quarantine.row where id = {world.record}"))
    assert key not in page.locator("main").inner_text()
    page.get_by_role("button", name="値を表示する").click()
    expect(page.locator("main")).to_contain_text(key)
    assert key not in page.url + page.title()
    assert world.value("select count(*) from audit.event where action = 'unmask_record' and who = 'op'") == before + 1
    audit = open_page("admin", "/quality/audit")
    expect(audit.locator("tbody tr").first).to_contain_text("op")


def test_a_viewer_is_offered_no_value(open_page: OpenPage, world: World) -> None:
    for place in ("record", "quarantine", "expectation"):
        page = open_page("viewer", world.places[place])
        expect(page.locator("main form[method=post]")).to_have_count(0)


def test_who_may_reads_the_file_from_within_airflow(open_page: OpenPage, world: World) -> None:
    # Airflow's own page asks for what it likes; ours is looked at in the other tests.
    page = open_page("op", "/plugin/quality", watched=False)
    frame = page.frame_locator("iframe")
    frame.get_by_role("link", name="隔離", exact=True).click()
    frame.get_by_label("連携先", exact=True).select_option("honoka")
    frame.get_by_role("button", name="表示").click()
    with page.expect_download() as download:
        frame.get_by_role("button", name="ダウンロード").first.click()
    assert download.value.suggested_filename.startswith("quarantine-honoka-")
    assert download.value.path().read_bytes().startswith(b"\xef\xbb\xbf")


@pytest.mark.parametrize("person", ["admin", "op", "viewer"])
def test_airflow_shows_the_pages_in_its_frame(open_page: OpenPage, world: World, person: str) -> None:
    page = open_page(person, "/plugin/quality", watched=False)
    frame = page.frame_locator("iframe")
    expect(frame.get_by_role("heading", level=1)).to_have_text("連携先のデータ品質")
    expect(frame.locator("figure.plot canvas").first).to_be_visible()
    keep_picture(page, f"in-airflow-{person}", whole=False)
    for name, heading in (("指摘", "指摘"), ("隔離", "隔離中の記録"), ("全体", "連携先のデータ品質")):
        frame.get_by_role("link", name=name, exact=True).first.click()
        expect(frame.get_by_role("heading", level=1)).to_have_text(heading)
    frame.get_by_role("link", name="honoka", exact=True).click()
    expect(frame.get_by_role("heading", level=1)).to_contain_text("honoka")
    frame.locator("table th a").first.click()
    expect(frame.locator("dl.facts")).to_be_visible()


def test_a_run_and_a_dag_have_a_tab_with_their_page(open_page: OpenPage, world: World) -> None:
    run = open_page("viewer", f"/dags/{SYNC}/runs/{quote(world.run_id)}/plugin/quality-of-run", watched=False)
    expect(run.frame_locator("iframe").locator("p.key")).to_contain_text(world.run_id)
    expect(run.frame_locator("iframe").locator("table").first).to_be_visible()
    dag = open_page("viewer", f"/dags/{SYNC}/plugin/quality-of-dag", watched=False)
    expect(dag.frame_locator("iframe").get_by_role("heading", level=1)).to_contain_text("honoka")


@pytest.mark.parametrize("which", ["run_id", "broken_run_id"])
def test_the_validation_of_a_red_run_leads_to_its_page(open_page: OpenPage, world: World, which: str) -> None:
    run_id = getattr(world, which)
    assert world.api.run(SYNC, run_id)["state"] == "failed"
    ((name, address),) = world.links_of(run_id, "validate").items()
    assert name == "データ品質 / Data quality"
    page = open_page("viewer", address)
    expect(page.locator("p.key")).to_contain_text(run_id)


def test_a_stranger_is_refused_on_every_route_of_the_live_airflow(open_page: OpenPage, world: World) -> None:
    use_own_home()
    from pages_routes import every_route

    for method, path in every_route():
        answer = httpx.request(method, f"{world.address}/quality{path}", trust_env=False)
        assert answer.status_code in {401, 403}, (method, path, answer.status_code)
    page = open_page(None, world.places["overview"], watched=False)
    expect(page.get_by_role("heading", level=1)).to_have_text("ログインが必要です。")
    page.get_by_role("link", name="ログインする").click()
    page.wait_for_url("**/auth/login**")


def test_a_person_comes_back_to_the_page_after_the_login(open_page: OpenPage, world: World) -> None:
    from stack.settings import password_of

    page = open_page(None, world.places["record"], watched=False)
    page.get_by_role("link", name="ログインする").click()
    page.locator("input[name=username]").fill("viewer")
    page.locator("input[name=password]").fill(password_of(world.installation.secret_store, "viewer"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(f"隔離中の記録 {world.record}")
