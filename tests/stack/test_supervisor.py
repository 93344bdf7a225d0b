"""The supervisor with real programs: kept up, taken over, and ended without others."""

from __future__ import annotations

import configparser
import os
import signal
import stat
import subprocess
import sys

import psutil
import pytest

from stack.address import Address
from stack.installation import Installation
from stack.leftovers import marked_processes
from stack.programs import Program, airflow_programs, postgres_program
from stack.secret_store import SecretStore
from stack.settings import ApiPlace, airflow_environment, write_environment
from stack.supervisor import Supervisor
from stack.waiting import wait_until

SLEEPER = Program("sleeper", ("sleep", "600"), starts_itself=True)


@pytest.fixture
def supervisor(home):
    """A supervisor with one program that does nothing, running."""
    made = Supervisor(home)
    made.write_config([SLEEPER])
    made.start()
    wait_until(lambda: made.states() == {"sleeper": "RUNNING"}, seconds=15, what="the sleeper")
    yield made
    Installation(home).stop()


def sleeper_of(supervisor):
    [found] = [process for process in marked_processes(supervisor.mark) if process.name() == "sleep"]
    return found


def is_sleeper(process):
    """False also for one that has just ended."""
    try:
        return process.name() == "sleep"
    except psutil.NoSuchProcess:
        return False


def read_config(supervisor):
    parser = configparser.RawConfigParser()
    parser.read_string(supervisor.config_file.read_text())
    return parser


def test_the_socket_and_the_configuration_are_closed_to_others(supervisor):
    assert stat.S_IMODE(supervisor.socket.stat().st_mode) == 0o600
    assert stat.S_IMODE(supervisor.config_file.stat().st_mode) == 0o600


def test_a_killed_program_comes_back(supervisor):
    first = sleeper_of(supervisor)
    first.kill()

    def another_runs() -> bool:
        return any(is_sleeper(each) and each.pid != first.pid for each in marked_processes(supervisor.mark))

    wait_until(another_runs, seconds=15, what="another sleeper")


def test_a_changed_program_is_taken_over_and_a_removed_one_ends(supervisor):
    supervisor.write_config([Program("other", ("sleep", "601"), starts_itself=True)])
    supervisor.start()
    wait_until(lambda: supervisor.states() == {"other": "RUNNING"}, seconds=15, what="the other program")


def test_stop_ends_everything_it_started_and_nothing_else(supervisor, home):
    bystander = subprocess.Popen(["sleep", "600"])
    try:
        assert Installation(home).stop() is True
        assert marked_processes(supervisor.mark) == []
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


def test_stop_twice_is_no_error(supervisor, home):
    Installation(home).stop()
    assert Installation(home).stop() is False


def test_stop_finds_the_programs_of_a_killed_supervisor(supervisor, home):
    orphan = sleeper_of(supervisor)
    os.kill(int(supervisor.pid_file.read_text()), signal.SIGKILL)
    assert Installation(home).stop() is True
    assert not psutil.pid_exists(orphan.pid)


def test_a_supervisor_starts_again_after_it_was_killed(supervisor):
    os.kill(int(supervisor.pid_file.read_text()), signal.SIGKILL)
    wait_until(lambda: supervisor.phase() == "away", seconds=5, what="the end of the supervisor")
    supervisor.start()
    assert supervisor.phase() == "running"


def test_every_server_is_restarted_for_years_before_it_is_given_up(home):
    supervisor = Supervisor(home)
    supervisor.write_config([*airflow_programs(), postgres_program(["postgres"], None)])
    config = read_config(supervisor)
    for section in config.sections():
        if section.startswith("program:"):
            assert config[section]["autorestart"] == "True"
            # The n-th failed start waits n seconds.
            retries = int(config[section]["startretries"])
            assert retries * (retries + 1) / 2 > 10 * 365 * 86_400


def test_no_secret_stands_in_the_configuration_or_on_a_command_line(home):
    store = SecretStore(home.secrets_file)
    environment = airflow_environment(home, secret_store=store, address=Address(), api=ApiPlace("http://127.0.0.1:1"))
    write_environment(home, environment)
    supervisor = Supervisor(home)
    supervisor.write_config(airflow_programs())
    text = supervisor.config_file.read_text()
    assert not [name for name in ("airflow", "jwt_secret", "fernet_key", "api_secret_key") if store.get(name) in text]


def test_a_percent_sign_in_a_path_is_kept(home):
    program = Program("odd", (sys.executable, "/a folder/100%"))
    assert "'/a folder/100%%'" in program.section(home.logs)
