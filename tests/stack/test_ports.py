"""Ports are chosen free, remembered, and never given twice."""

from __future__ import annotations

import socket

from stack.ports import choose_ports, free_port, renew_taken


def test_the_usual_port_is_taken_when_it_is_free(tmp_path):
    usual = free_port()
    assert choose_ports(tmp_path / "ports.json", {"airflow": usual}) == {"airflow": usual}


def test_an_occupied_port_is_replaced_by_a_free_one_that_is_remembered(tmp_path):
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", 0))
        occupant.listen()
        usual = occupant.getsockname()[1]
        chosen = choose_ports(tmp_path / "ports.json", {"airflow": usual})["airflow"]
    assert chosen != usual
    assert choose_ports(tmp_path / "ports.json", {"airflow": usual})["airflow"] == chosen


def test_two_servers_never_get_one_port(tmp_path):
    usual = free_port()
    ports = choose_ports(tmp_path / "ports.json", {"airflow": usual, "postgres": usual})
    assert ports["airflow"] != ports["postgres"]


def test_a_remembered_port_that_somebody_took_meanwhile_is_replaced_and_the_others_stay(tmp_path):
    file = tmp_path / "ports.json"
    before = choose_ports(file, {"airflow": free_port(), "postgres": free_port()})
    with socket.socket() as occupant:
        occupant.bind(("127.0.0.1", before["airflow"]))
        occupant.listen()
        renewed = renew_taken(file)
    after = choose_ports(file, before)
    assert after["airflow"] != before["airflow"]
    assert after == before | renewed
