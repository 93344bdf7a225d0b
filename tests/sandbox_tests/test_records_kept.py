"""What the practice partner counts and keeps, over a reset, a restart and a kill."""

from __future__ import annotations

import stat
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from sandbox.control_client import LOOPBACK, ControlClient
from sandbox.faults import FaultKind
from sandbox.running import TESTS_FOLDER, MemoryServer, PartnerProcess, RunningPartner
from sandbox_tests.honoka_visit import put

FAULTS_THAT_CUT: tuple[FaultKind, ...] = ("drop_before", "drop_after", "cut_body")


def test_every_call_is_counted_with_its_template_and_without_personal_keys(
    honoka: RunningPartner, sakura: httpx.Client
) -> None:
    sakura.get("/v1/patients/P-000001")
    put(sakura, "visit-1", "key-1")
    httpx.get(f"{honoka.base_url}/v1/patients", **LOOPBACK)
    calls = honoka.received()
    seen = [(c["number"], c["method"], c["template"], c["organization"], c["status"]) for c in calls]
    assert seen == [
        (1, "GET", "/v1/patients/{key}", "sakura-care", 200),
        (2, "PUT", "/v1/visits/{key}", "sakura-care", 201),
        (3, "GET", "/v1/patients", None, 401),
    ]
    assert [call["idempotency_key"] for call in calls] == [None, "key-1", None]
    assert calls[0]["at_monotonic_seconds"] <= calls[1]["at_monotonic_seconds"] <= time.monotonic()
    assert "P-000001" not in str(calls)


def test_counted_calls_can_be_asked_for_by_their_fields(honoka: RunningPartner, sakura: httpx.Client) -> None:
    put(sakura, "visit-1")
    sakura.get("/v1/offices")
    sakura.get("/v1/patients")
    assert [call["template"] for call in honoka.received("sakura-care", method="GET")] == [
        "/v1/offices",
        "/v1/patients",
    ]
    assert [call["number"] for call in honoka.received(after=2)] == [3]
    assert honoka.summary()["sakura-care"]["calls"] == {"201": 1, "200": 2}


def test_reset_goes_back_to_the_start(honoka: RunningPartner, sakura: httpx.Client) -> None:
    put(sakura, "visit-1")
    honoka.delete_patients("sakura-care", 2)
    honoka.fault("status")
    honoka.reset()
    assert (honoka.visits(), honoka.received(), honoka.faults()) == ([], [], [])
    assert honoka.summary()["sakura-care"]["patients_deleted"] == 0


def test_a_restart_keeps_visits_answers_people_and_keys(tmp_path: Path) -> None:
    with RunningPartner("honoka", home=tmp_path, patients=20) as partner:
        with partner.client("sakura-care") as client:
            put(client, "visit-1")
            put(client, "visit-2")
            client.delete("/v1/visits/visit-2")
            partner.change_patients("sakura-care", 1)
            partner.delete_patients("sakura-care", keys=["P-000020"])
            people = client.get("/v1/patients").json()
        key = partner.change_key("sakura-care")
        before = partner.visits()
        partner.restart()
        assert partner.visits() == before
        assert partner.key("sakura-care") == key
        with partner.client("sakura-care") as client:
            assert client.get("/v1/patients").json() == people
            assert put(client, "visit-1").headers["Idempotent-Replayed"] == "true"


def test_a_restart_keeps_what_was_created_twice_and_never_gives_a_number_again(tmp_path: Path) -> None:
    visit = {"external_id": "a", "facility_code": "01", "user_no": "0000000001", "status": "1"}
    visit |= {"start_at": "2026-11-25T09:00", "end_at": "2026-11-25T10:00"}
    with RunningPartner("tsubaki", home=tmp_path) as partner:
        with partner.client("hinata-care") as client:
            numbers = [client.post("/api/visits", json=visit).json()["result"]["visit_no"] for _ in range(2)]
            client.delete(f"/api/visits/{numbers[1]}")
        partner.restart()
        assert partner.duplicates() == [{"organization": "hinata-care", "external_id": "a", "count": 2}]
        with partner.client("hinata-care") as client:
            numbers.append(client.post("/api/visits", json=visit).json()["result"]["visit_no"])
    assert len(set(numbers)) == 3


def test_a_killed_process_keeps_the_visits_it_acknowledged(tmp_path: Path) -> None:
    with PartnerProcess("honoka", home=tmp_path) as partner:
        headers = {"Authorization": partner.key("sakura-care").header()}
        with httpx.Client(base_url=partner.base_url, headers=headers, **LOOPBACK) as client:
            statuses = [put(client, f"visit-{n}").status_code for n in range(20)]
    journal = tmp_path / "honoka.jsonl"
    assert statuses == [201] * 20
    assert stat.S_IMODE(journal.stat().st_mode) == 0o600
    with journal.open("ab") as file:
        file.write(b'{"event": "visit", "vis')
    with RunningPartner("honoka", home=tmp_path) as partner:
        assert {visit["key"] for visit in partner.visits()} == {f"visit-{n}" for n in range(20)}


def test_without_a_home_a_restart_forgets() -> None:
    with RunningPartner("honoka", patients=5) as partner:
        with partner.client("sakura-care") as client:
            put(client, "visit-1")
        partner.restart()
        assert partner.visits() == []


def test_the_process_makes_its_control_token_once_and_for_its_owner_only(tmp_path: Path) -> None:
    def started() -> str:
        with subprocess.Popen(
            [sys.executable, "-m", "sandbox", "--profile", "tsubaki", "--port", "0", "--home", str(tmp_path)],
            env={"PYTHONPATH": str(TESTS_FOLDER)},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            said = process.stdout.readline()
            process.terminate()
            process.wait(timeout=10)
        assert said.startswith("listening on http://127.0.0.1:")
        return (tmp_path / "control-token").read_text()

    first = started()
    assert stat.S_IMODE((tmp_path / "control-token").stat().st_mode) == 0o600
    assert len(first) >= 32
    assert started() == first


def test_the_process_says_nothing_but_its_address(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sandbox", "--profile", "honoka", "--home", str(tmp_path), "--control-token", "t"]
    with subprocess.Popen(
        command,
        env={"PYTHONPATH": str(TESTS_FOLDER)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        control = ControlClient(said.split()[-1], "t")
        for kind in FAULTS_THAT_CUT:
            control.fault(kind, times=1)
        headers = {"Authorization": control.key("sakura-care").header()}
        with httpx.Client(base_url=control.base_url, headers=headers, **LOOPBACK) as client:
            for _ in FAULTS_THAT_CUT:
                with pytest.raises(httpx.TransportError):
                    client.get("/v1/patients/P-000001")
            assert put(client, "visit-1").status_code == 201
            assert client.get("/v1/patients?page=x").status_code == 400
        control.close()
        process.terminate()
        rest = process.communicate(timeout=10)[0]
    assert rest == ""


def test_the_memory_server_serves_every_record_in_pages_and_a_second_generation() -> None:
    def patients(base_url: str) -> list[dict[str, object]]:
        records: list[dict[str, object]] = []
        with httpx.Client(base_url=base_url, **LOOPBACK) as client:
            page, last = 1, 1
            while page <= last:
                body = client.get("/v1/patients", params={"page": page, "limit": 100}).raise_for_status().json()
                records.extend(body["data"])
                page, last = page + 1, body["pagination"]["last_page"]
            assert len(records) == body["pagination"]["total"]
        return records

    with MemoryServer(records=1000, page_size=100) as server:
        first = patients(server.base_url)
        server.generation(2)
        second = patients(server.base_url)
    assert len({record["id"] for record in first}) == 1000
    assert len(first) == 1004
    differing = {a["id"] for a, b in zip(first, second, strict=True) if a != b}
    assert len(differing) == 100


@pytest.mark.parametrize("query", ["limit=99"])
def test_the_memory_server_refuses_another_page_size(query: str) -> None:
    with MemoryServer(records=10, page_size=5) as server:
        assert httpx.get(f"{server.base_url}/v1/patients?{query}", **LOOPBACK).status_code == 400
