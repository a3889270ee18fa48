"""`rota up -d` runs in the background, `rota logs` reads what it does, and `rota down` ends it."""

from __future__ import annotations

import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from rota.cli.operations.children import _directory
from rota.settings import Settings
from rota.store.embedded.files import instance_of
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer

MAIL = "From bob@example.com Mon Nov 30 07:00:00 2026\nFrom: bob@example.com\nSubject: Hi\n\nHi.\n"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240), pytest.mark.long]


@pytest.fixture
def environment(database_url, alice, tmp_path):
    (tmp_path / "mbox").write_text(MAIL, encoding="utf-8")
    return os.environ | {
        "ROTA_MAIL": str(tmp_path / "mbox"),
        "ROTA_DATABASE_URL": database_url,
        "ROTA_USER": "alice@example.com",
        "ROTA_DATA_DIR": str(tmp_path / "data"),
        "ROTA_SECRET_KEY": "00" * 32,
    }


@pytest.fixture
def rota(environment, tmp_path):
    def run(*arguments, code=0, **more):
        finished = subprocess.run(
            [sys.executable, "-m", "rota", *arguments],
            env=environment | more,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert finished.returncode == code, finished.stdout + finished.stderr
        return finished

    yield run
    if (left := instance_of(tmp_path / "data")) is not None:
        os.kill(left, signal.SIGKILL)


def test_it_names_no_schedule_that_is_not_there_and_no_database_that_it_does_not_start(
    rota, tmp_path
):
    (tmp_path / "data").mkdir(mode=0o700)
    (tmp_path / "data" / "welcomed").touch()  # so no demo is made
    started = rota("up", "-d")
    assert "rota results show" not in started.stdout  # there is none
    assert "rota schedules run" not in started.stdout
    assert "Data in your own database; times in " in started.stdout
    assert "Connecting to the database" in started.stderr
    assert "Starting the database" not in started.stderr
    assert "rota is ready" in rota("logs").stdout
    rota("down")


def test_it_goes_on_without_the_terminal_until_it_is_told_to_stop(rota, environment, tmp_path):
    assert "rota is not running" in rota("down").stdout
    assert "Only `rota up -d` writes this log" in rota("logs", code=3).stderr

    started = rota("up", "-d")

    process = instance_of(tmp_path / "data")
    assert f"rota is running in the background (process {process})" in started.stdout
    # A first start offers to connect a mailbox, and asks nothing.
    assert "  rota connections add imap --account you@example.com" in started.stdout
    assert "rota agents new briefing" in started.stdout
    assert os.getsid(process) == process  # the terminal's end does not reach it
    log = tmp_path / "data" / "rota.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    for descriptor in (1, 2):
        assert Path(f"/proc/{process}/fd/{descriptor}").resolve() == log
    assert f"(process {process})" in rota("up", "--detach", code=4).stderr

    # Both children worked by the time that it said so.
    rota("schedules", "run", "demo-briefing", "--timeout", "100")
    said = rota("logs").stdout
    assert re.search(r"^\S+ \S+ \[info\] demo-briefing: started run_id=", said, re.MULTILINE)
    assert re.search(r"^\S+ \S+ \[info\] demo-briefing: success after ", said, re.MULTILINE)
    assert rota("logs", "-n", "1").stdout == said.splitlines(keepends=True)[-1]

    with subprocess.Popen(
        [sys.executable, "-m", "rota", "logs", "-f", "-n", "1"],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    ) as follower:
        assert follower.stdout.readline() == said.splitlines(keepends=True)[-1]  # it follows now
        rota("schedules", "run", "demo-briefing", "--timeout", "100")
        assert "demo-briefing: started" in follower.stdout.readline()
        assert "demo-briefing: success" in follower.stdout.readline()
        log.write_text("")  # as when it has become too long
        assert f"rota is stopped (process {process})" in rota("down").stdout
        assert "Stopping" in follower.stdout.readline()
        follower.send_signal(signal.SIGINT)
    assert follower.returncode == 0
    assert instance_of(tmp_path / "data") is None


def test_the_last_line_says_why_there_is_no_server(rota):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        said = rota("up", "-d", ROTA_LISTEN=address).stdout
        last = said[said.index("Without the server: ") :]
        assert f"Another program listens on {address}." in last
        assert len(last.split("\n\n")) == 1
        assert "Server        not running" in rota("status").stdout
        assert "No server runs." in rota("sign-in", code=6).stderr
        rota("down")


def test_it_outlives_whoever_reads_what_it_says(rota, environment, tmp_path):
    with subprocess.Popen(
        [sys.executable, "-m", "rota", "up", "-d"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as starting:
        starting.stdout.readline()
        starting.stdout.close()  # as `head -1` does

    assert starting.returncode == 0
    assert "rota is stopped" in rota("down").stdout


def test_what_keeps_it_from_starting_is_told_and_has_its_exit_code(rota, tmp_path):
    said = rota("up", "-d", code=6, ROTA_TOOLS="mine=nowhere.at_all:tool").stderr
    assert "the module nowhere.at_all cannot be imported" in said
    assert instance_of(tmp_path / "data") is None

    assert "cannot be combined" in rota("up", "-d", "--exit-after-demo", code=2).stderr


def test_child_is_told_the_directory_by_an_option_that_no_file_comes_before(tmp_path):
    assert _directory(Settings(data_dir=tmp_path)) == ("--data-dir", str(tmp_path))
    assert _directory(Settings(data_dir=tmp_path, database_url="postgresql:///x")) == ()


@pytest.mark.parametrize("part", ["scheduler", "worker", "serve"])
def test_parts_say_when_they_are_ready_to_whoever_waits(environment, tmp_path, part):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind(str(tmp_path / "ready"))
        asking.settimeout(100)
        with subprocess.Popen(
            [
                sys.executable,
                "-m",
                "rota",
                part,
                *(["--listen", "127.0.0.1:0"] if part == "serve" else []),
            ],
            env=environment | {"NOTIFY_SOCKET": str(tmp_path / "ready")},
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            assert asking.recv(100) == b"READY=1"
            process.terminate()
            assert process.stderr is not None
            name = "server" if part == "serve" else part
            assert f"The {name} is ready" in process.stderr.read()
    assert process.returncode == 0


def test_briefing_that_paused_for_want_of_a_key_goes_on_once_its_model_works(rota):
    finished = rota("up", "--model", "openai:gpt-5-mini", "--exit-after-demo", code=8)
    warned, _, _ = finished.stderr.partition("Connecting to the database")
    assert "Warning: briefing will fail, because OPENAI_API_KEY is not set." in warned
    failed = finished.stdout
    assert "Set OPENAI_API_KEY, for example in ~/.config/rota/.env, then start rota" in failed
    assert "paused" in rota("schedules", "list").stdout

    with OpenAIServer(Says("All is quiet.")) as server:
        key = {"OPENAI_API_KEY": "sk-of-the-test", "OPENAI_API_BASE": server.url}
        said = rota("up", "--model", "openai:gpt-5-mini", "--exit-after-demo", **key)
    assert "Resumed briefing, which rota had paused" in said.stderr
    assert "Warning" not in said.stderr
    assert "paused" not in rota("schedules", "list").stdout


def test_schedule_that_its_owner_paused_without_a_word_has_no_note(rota):
    rota("up", "--exit-after-demo")
    rota("schedules", "pause", "demo-briefing")
    assert "demo-briefing: paused: (no note)" in rota("up", "-d").stdout
    rota("down")
