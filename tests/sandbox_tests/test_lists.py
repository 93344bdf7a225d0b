"""The practice partner's lists: pages, cursors, changes since a time, and records that are wrong on purpose."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from sandbox.running import RunningPartner


def all_pages_by_number(client: httpx.Client, path: str, *, limit: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    page, last = 1, 1
    while page <= last:
        body = client.get(path, params={"page": page, "limit": limit}).raise_for_status().json()
        records.extend(body["data"])
        page, last = page + 1, body["pagination"]["last_page"]
    return records


def all_pages_by_link(client: httpx.Client, path: str, *, per_page: int) -> list[dict[str, Any]]:
    records: list[dict[str, Any]] = []
    address: str | None = f"{path}?per_page={per_page}"
    while address:
        answer = client.get(address).raise_for_status()
        records.extend(answer.json()["result"]["items"])
        address = answer.links.get("next", {}).get("url")
    return records


@pytest.mark.parametrize("limit", [1, 7, 61, 500])
def test_page_numbers_give_every_record_once_in_the_order_of_the_key(sakura: httpx.Client, limit: int) -> None:
    records = all_pages_by_number(sakura, "/v1/patients", limit=limit)
    assert sorted({record["id"] for record in records}) == [f"P-{n:06}" for n in range(1, 61)]
    assert [record["id"] for record in records] == sorted(record["id"] for record in records)
    assert len(records) == sakura.get("/v1/patients").json()["pagination"]["total"] == 61


@pytest.mark.parametrize("per_page", [1, 7, 61, 200])
def test_link_headers_give_every_record_once(hinata: httpx.Client, per_page: int) -> None:
    records = all_pages_by_link(hinata, "/api/users", per_page=per_page)
    assert [record["user_no"] for record in records] == sorted(record["user_no"] for record in records)
    assert {record["user_no"] for record in records} == {f"{n:010}" for n in range(1, 61)}
    assert len(records) == hinata.get("/api/users").json()["total"] == 61


def test_a_page_beyond_the_last_is_empty(sakura: httpx.Client) -> None:
    body = sakura.get("/v1/patients", params={"page": 9, "limit": 100}).json()
    assert (body["data"], body["pagination"]["last_page"]) == ([], 1)


@pytest.mark.parametrize("query", ["page=0", "limit=501", "limit=x", "updated_since=yesterday"])
def test_a_wrong_parameter_is_a_bad_request(sakura: httpx.Client, query: str) -> None:
    assert sakura.get(f"/v1/patients?{query}").status_code == 400


def test_a_cursor_that_was_not_given_out_is_a_bad_request(hinata: httpx.Client) -> None:
    assert hinata.get("/api/users?cursor=%21%21").status_code == 400


def test_updated_since_lists_what_changed_and_what_was_deleted(honoka: RunningPartner, sakura: httpx.Client) -> None:
    before = datetime.now(UTC).isoformat()
    changed = honoka.change_patients("sakura-care", 3)
    deleted = honoka.delete_patients("sakura-care", keys=["P-000060"])
    records = sakura.get("/v1/patients", params={"updated_since": before}).json()["data"]
    assert [record["id"] for record in records if not record.get("deleted")] == changed
    assert [record["id"] for record in records if record.get("deleted")] == deleted
    assert all(set(record) == {"id", "deleted", "updated_at"} for record in records if record.get("deleted"))


def test_a_deleted_patient_is_gone_from_the_full_list_and_by_its_key(
    honoka: RunningPartner, sakura: httpx.Client
) -> None:
    assert sakura.get("/v1/patients/P-000001").status_code == 200
    honoka.delete_patients("sakura-care", keys=["P-000001"])
    assert sakura.get("/v1/patients/P-000001").status_code == 404
    listed = all_pages_by_number(sakura, "/v1/patients", limit=100)
    assert "P-000001" not in {record["id"] for record in listed}


def test_a_changed_patient_has_another_street_and_phone(honoka: RunningPartner, sakura: httpx.Client) -> None:
    (key,) = honoka.change_patients("sakura-care", 1) or [""]
    after = sakura.get(f"/v1/patients/{key}").json()["data"]
    honoka.reset()
    before = sakura.get(f"/v1/patients/{key}").json()["data"]
    assert after["address"]["street"] != before["address"]["street"]
    assert after["phone"] != before["phone"]
    assert after["name"] == before["name"]


def test_the_same_organization_and_seed_give_the_same_people_at_both_partners(
    honoka: RunningPartner, tsubaki: RunningPartner
) -> None:
    with honoka.client("momiji-care") as first, tsubaki.client("momiji-care") as second:
        ours = {record["care"]["insured_number"] for record in first.get("/v1/patients?limit=500").json()["data"]}
        theirs = {record["insured_no"] for record in second.get("/api/users?per_page=200").json()["result"]["items"]}
        offices = [record["number"] for record in first.get("/v1/offices").json()["data"]]
        facilities = [record["jigyosho_no"] for record in second.get("/api/facilities").json()["result"]["items"]]
    assert ours == theirs
    assert offices == facilities


def test_another_seed_gives_other_people() -> None:
    def listed(seed: int) -> Any:
        with RunningPartner("honoka", patients=20, seed=seed) as partner, partner.client("kaede-care") as client:
            return client.get("/v1/patients").json()["data"]

    first, again, other = listed(1), listed(1), listed(2)
    assert first == again
    assert first != other


def test_office_numbers_have_right_check_digits(sakura: httpx.Client) -> None:
    numbers = [record["number"] for record in sakura.get("/v1/offices").json()["data"]]
    assert 2 <= len(numbers) <= 3
    for number in numbers:
        # M10-W21 over all ten digits: the check digit has weight 1, so the sum is a whole ten.
        products = [int(digit) * (1 + position % 2) for position, digit in enumerate(reversed(number))]
        assert sum(product // 10 + product % 10 for product in products) % 10 == 0


def test_every_dirty_kind_is_in_the_list_as_often_as_the_partner_says(
    honoka: RunningPartner, sakura: httpx.Client
) -> None:
    records = sakura.get("/v1/patients?limit=500").json()["data"]
    keys = Counter(record["id"] for record in records)
    today = datetime.now(UTC).date().isoformat()
    found = {
        "duplicate_key": [key for key, count in keys.items() if count == 2],
        "future_birth": [r["id"] for r in records if r["birth"] > today],
        "half_width_kana": [r["id"] for r in records if any("ｦ" <= sign <= "ﾟ" for sign in r["kana"]["family"])],
        "unmapped_care_level": [r["id"] for r in records if r["care"]["level"] == "要介護9"],
        "unknown_office": [r["id"] for r in records if r["office_id"] == "O-099"],
    }
    said = honoka.dirty("sakura-care")
    assert {kind: keys for kind, keys in said.items() if kind != "wrong_check_digit"} == found
    assert [len(keys) for keys in said.values()] == [1, 1, 1, 1, 1, 1]


def test_two_percent_are_dirty_by_default_and_the_kinds_go_on_from_one_organization_to_the_next() -> None:
    with RunningPartner("honoka") as partner:
        counts = [{kind: len(keys) for kind, keys in partner.dirty(name).items()} for name in partner.organizations]
    assert [sum(count.values()) for count in counts] == [3, 3, 3]
    assert {kind for kind, many in (Counter(counts[0]) + Counter(counts[1])).items() if many} == set(counts[0])


def test_the_late_office_makes_the_unknown_office_known(honoka: RunningPartner, sakura: httpx.Client) -> None:
    before = [record["id"] for record in sakura.get("/v1/offices").json()["data"]]
    key = honoka.add_office("sakura-care")
    assert key == "O-099"
    assert [record["id"] for record in sakura.get("/v1/offices").json()["data"]] == [*before, key]


def test_a_birthday_is_written_in_its_era(hinata: httpx.Client) -> None:
    birthdays = [record["birthday"] for record in hinata.get("/api/users?per_page=200").json()["result"]["items"]]
    assert all(len(birthday) == 7 and birthday[0] in "35" for birthday in birthdays)
    assert [birthday for birthday in birthdays if birthday.startswith("575")], "the birth dates of 2093"


def test_other_sizes_make_the_people_anew(honoka: RunningPartner, sakura: httpx.Client) -> None:
    honoka.resize(patients=5, dirty_share=0)
    assert sakura.get("/v1/patients").json()["pagination"]["total"] == 5


def test_names_and_their_kana_are_japanese(sakura: httpx.Client) -> None:
    sakura_staff = sakura.get("/v1/practitioners?limit=500").json()["data"]
    for record in sakura_staff:
        for part in ("family", "given"):
            assert re.fullmatch(r"[ァ-ヶー]+", record["kana"][part])
            assert re.fullmatch(r"[々一-龠ぁ-んァ-ヶ]+", record["name"][part])
    assert len(sakura_staff) == 15
