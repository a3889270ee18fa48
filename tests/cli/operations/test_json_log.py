"""With a log of JSON, all that a process writes to standard error is one object a line."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import psycopg
import pytest

from rota.cli.logs import configure_logs
from rota.settings import Settings

pytestmark = pytest.mark.long

CUT = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = 'rota_backend'"
)


def log_of_outage(command, owner_url, database_url, tmp_path, **more):
    """Return what a process logs from its start to its end, with the database cut off between."""
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute(
            "INSERT INTO agent_configurations (agent_name, model) VALUES ('clerk', 'callable:disk')"
        )
        with subprocess.Popen(
            [sys.executable, "-m", "rota", command],
            env=os.environ
            | {
                "ROTA_DATABASE_URL": database_url,
                "ROTA_SECRET_KEY": "00" * 32,
                "ROTA_DATA_DIR": str(tmp_path / "data"),
                "ROTA_CONCURENCY": "3",
                **more,
            },
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        ) as process:
            assert process.stderr is not None
            found = []
            for line in process.stderr:
                found.append(line)
                if "_ready" in line or "is ready" in line:
                    time.sleep(2)  # it listens by then
                    conn.execute(CUT)
                if "_lost_database" in line or "with the database" in line:
                    process.send_signal(signal.SIGTERM)
            return found


@pytest.mark.parametrize("command", ["worker", "scheduler"])
def test_each_line_of_a_process_is_an_object(command, owner_url, database_url, tmp_path):
    lines = log_of_outage(command, owner_url, database_url, tmp_path, ROTA_LOG_FORMAT="json")

    found = [json.loads(line) for line in lines]
    assert all({"event", "level", "timestamp"} <= one.keys() for one in found)
    events = [one["event"] for one in found]
    assert "ROTA_CONCURENCY is no setting, and is ignored; did you mean ROTA_CONCURRENCY?" in events
    assert any(event.endswith("_lost_database") for event in events)
    if command == "worker":
        assert any("ROTA_CALLABLES does not name the callable disk" in event for event in events)
    assert "Traceback" not in "".join(lines)


def test_text_of_an_outage_has_no_traceback_of_a_library(owner_url, database_url, tmp_path):
    lines = "".join(log_of_outage("worker", owner_url, database_url, tmp_path))

    assert "The worker cannot work with the database" in lines
    assert "Traceback" not in lines
    assert "Unhandled exception" not in lines


def test_refusal_to_start_is_an_object(database_url):
    done = subprocess.run(
        [sys.executable, "-m", "rota", "worker"],
        env=os.environ
        | {
            "ROTA_DATABASE_URL": database_url,
            "ROTA_LOG_FORMAT": "json",
            "ROTA_OPERATOR": "nobody@example.com",
            "ROTA_SECRET_KEY": "00" * 32,
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 3
    *_, last = map(json.loads, done.stderr.splitlines())
    assert last["error"]["message"].startswith("No user 'nobody@example.com'. ROTA_OPERATOR names")


@pytest.fixture
def _hooks_as_before(monkeypatch):
    for module, name in ((threading, "excepthook"), (sys, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    logging.captureWarnings(False)
    yield
    logging.captureWarnings(False)


@pytest.mark.usefixtures("_hooks_as_before")
def test_what_libraries_and_threads_and_python_say_is_an_object(capsys):
    configure_logs(Settings(log_format="json"), level="info")

    broken = OSError("the pipe\nbroke")
    logging.getLogger("some.library").error("It failed %s", "twice", exc_info=broken)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this will go", DeprecationWarning, stacklevel=1)

    def fail():
        raise ValueError("a thread's own")

    thread = threading.Thread(target=fail, name="helper")
    thread.start()
    thread.join()

    library, warning, ended = [json.loads(one) for one in capsys.readouterr().err.splitlines()]
    assert (library["logger"], library["event"]) == ("some.library", "It failed twice")
    assert "exception" not in library
    assert "the pipe" in library["error"]
    assert "DeprecationWarning: this will go" in warning["event"]
    assert ended["event"] == "A thread ended by an exception: helper"
    assert "a thread's own" in ended["exception"]
