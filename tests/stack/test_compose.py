"""docker-compose.yaml, parsed: the same commands and settings as without containers."""

from __future__ import annotations

import re

import pytest
import yaml

from stack.containers import API
from stack.home import CLONE
from stack.programs import AIRFLOW_PROGRAMS, airflow_programs
from stack.up import describe

TEXT = (CLONE / "docker-compose.yaml").read_text(encoding="utf-8")
SERVICES = yaml.safe_load(TEXT)["services"]
DOCKERFILE = (CLONE / "include" / "stack" / "Dockerfile").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", AIRFLOW_PROGRAMS)
def test_each_airflow_process_runs_the_same_command_as_without_containers(name):
    program = next(each for each in airflow_programs() if each.name == name)
    assert SERVICES[name]["command"][1:] == list(program.command[1:])


@pytest.mark.parametrize("name", AIRFLOW_PROGRAMS)
def test_each_airflow_process_reads_its_settings_from_the_shared_home(name):
    assert SERVICES[name]["volumes"] == SERVICES["prepare"]["volumes"]
    assert "environment" not in SERVICES[name]


@pytest.mark.parametrize("name", ["postgres", *AIRFLOW_PROGRAMS])
def test_each_server_comes_back_and_is_watched(name):
    assert SERVICES[name]["restart"] == "unless-stopped"
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", AIRFLOW_PROGRAMS)
def test_airflow_starts_when_the_database_is_up_and_prepared(name):
    assert SERVICES[name]["depends_on"] == {
        "postgres": {"condition": "service_healthy"},
        "prepare": {"condition": "service_completed_successfully"},
    }


def test_the_database_is_new_enough_and_not_open_to_the_network():
    assert int(re.fullmatch(r"postgres:(\d+)", SERVICES["postgres"]["image"])[1]) >= 17
    assert "ports" not in SERVICES["postgres"]


def test_airflow_is_published_on_loopback_where_its_settings_say():
    assert SERVICES["api-server"]["ports"] == [f"127.0.0.1:{API.port}:{API.port}"]
    assert API.people_url == f"http://localhost:{API.port}"


def test_no_password_stands_in_the_file():
    assert re.findall(r"(?i)(?:password|secret|key)\w*: +(?!\$\{)\S+", re.sub(r"#.*", "", TEXT)) == []
    assert re.findall(r"://\w+:(?!\$\{)[^@\s]+@", TEXT) == []


def test_the_admins_url_reaches_only_the_bootstrap():
    named = [name for name, service in SERVICES.items() if "PARTNER_SYNC_ADMIN_URL" in str(service)]
    assert named == ["prepare"]


def test_the_image_has_the_projects_python_and_lock():
    assert DOCKERFILE.count("FROM python:3.11") == 1
    assert "--require-hashes requirements.txt" in DOCKERFILE


def test_people_are_told_the_address_that_their_browser_can_reach(home):
    from stack.installation import Installation

    assert API.people_url in describe(Installation(home, containers=API))
