"""scripts/up: a line of progress, the system's certificates first, one sentence for a fallback.

In place of uv and pip stand programs that answer as these do; the rest is the script's own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "_bootstrap.py"

UV = """#!/bin/sh
echo "uv $1 $UV_SYSTEM_CERTS" >> "$CALLS"
case "$1" in
    --version) exit 0 ;;
    sync)
        case "$UV_WORKS_WITH" in
            *"<$UV_SYSTEM_CERTS>"*)
                echo "Resolved 133 packages in 5ms"
                for n in $(seq 200); do echo " + package-$n==1.0"; done
                mkdir -p "$UV_PROJECT_ENVIRONMENT"
                exit 0 ;;
        esac
        for n in $(seq 15); do echo "error: invalid peer certificate: UnknownIssuer $n"; done
        exit 2 ;;
    lock) echo "$LOCK_SAYS" >&2; exit 1 ;;
    export) exit 0 ;;
esac
"""
PYTHON = """#!/bin/sh
echo "pip $*" >> "$CALLS"
case "$*" in
    *--version*) exit 0 ;;
    *) echo "Collecting this"; echo "ERROR: pip says no"; exit $PIP_EXIT ;;
esac
"""


@pytest.fixture
def script(tmp_path, monkeypatch):
    """The script, at work on a checkout of nothing."""
    spec = importlib.util.spec_from_file_location("_bootstrap", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "_bootstrap", module)
    spec.loader.exec_module(module)
    tools = tmp_path / ".rota" / "tools"
    for name, text in (("uv", UV), ("python", PYTHON)):
        file = tools / "bin" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    (tmp_path / "uv.lock").write_text("")
    (tmp_path / "pyproject.toml").write_text("")
    places = {
        "ROOT": tmp_path,
        "VENV": tmp_path / ".venv",
        "NOTES": tmp_path / ".rota",
        "TOOLS": tools,
        "STAMP": tmp_path / ".venv" / "stamp.json",
        "LOG": tmp_path / ".rota" / "setup.log",
        "PIP": (tools / "bin" / "python", "-m", "pip"),
    }
    for name, place in places.items():
        monkeypatch.setattr(module, name, place)
    for name in ("UV_SYSTEM_CERTS", "UV_NATIVE_TLS"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {
        "CALLS": str(tmp_path / "calls"),
        "UV_WORKS_WITH": "<true>",
        "LOCK_SAYS": "it is fine",
        "PIP_EXIT": "0",
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / ".venv").mkdir()
    monkeypatch.setattr(module, "discard_unusable", lambda _stamp: None)
    return module


def calls(tmp_path):
    return (tmp_path / "calls").read_text().splitlines()


def test_two_hundred_packages_are_no_line_each(script, capfd, tmp_path):
    script.set_up("up")

    out, err = capfd.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "Setting up rota in .venv (the first time this takes a few minutes) ..."
    ]
    assert "uv sync true" in calls(tmp_path)
    assert "+ package-200==1.0" in (tmp_path / ".rota" / "setup.log").read_text()


def test_own_certificates_of_uv_are_tried_where_the_systems_do_not_do(
    script, capfd, tmp_path, monkeypatch
):
    monkeypatch.setenv("UV_WORKS_WITH", "<>")

    script.set_up("up")

    said = capfd.readouterr().err.splitlines()[1:]
    assert said == ["uv did not get on with the system's certificates, and took its own instead."]
    assert [call for call in calls(tmp_path) if "sync" in call] == ["uv sync true", "uv sync "]


def test_what_the_person_says_of_certificates_is_kept(script, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_SYSTEM_CERTS", "false")
    monkeypatch.setenv("UV_NATIVE_TLS", "false")
    monkeypatch.setenv("UV_WORKS_WITH", "<false>")

    script.set_up("up")

    assert [call for call in calls(tmp_path) if "sync" in call] == ["uv sync false"]


def test_fallback_to_pip_that_works_is_one_sentence(script, capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_WORKS_WITH", "nothing")

    script.set_up("up")

    [said] = capfd.readouterr().err.splitlines()[1:]
    log = tmp_path / ".rota" / "setup.log"
    assert said == (
        f"uv could not fetch the packages ({log} says why); pip installed the same ones instead."
    )
    assert "UnknownIssuer 15" in log.read_text()
    assert any("--require-hashes" in call for call in calls(tmp_path))
    assert script.read_stamp()["purpose"] == "up"


def test_what_both_said_is_shown_where_nothing_helped(script, capfd, monkeypatch):
    monkeypatch.setenv("UV_WORKS_WITH", "nothing")
    monkeypatch.setenv("PIP_EXIT", "1")

    assert script.main("up", []) == 1

    said = capfd.readouterr().err
    assert "invalid peer certificate: UnknownIssuer 15" in said
    assert "ERROR: pip says no" in said
    assert "Neither uv nor pip could install" in said
    assert script.read_stamp() == {}


def test_outdated_lock_is_not_tried_with_pip(script, capfd, tmp_path, monkeypatch):
    monkeypatch.setenv("UV_WORKS_WITH", "nothing")
    monkeypatch.setenv("LOCK_SAYS", "The lockfile needs to be updated")

    assert script.main("up", []) == 1

    assert "uv.lock does not fit pyproject.toml" in capfd.readouterr().err
    assert not any(call.startswith("pip") for call in calls(tmp_path))


def test_progress_on_a_terminal_stays_in_one_line_and_goes_away(script, monkeypatch):
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("COLUMNS", "60")
        script.set_up("up")
        shown = ""
        while "\r" not in shown or not shown.endswith("\r"):
            shown += os.read(master, 100_000).decode()
    os.close(master)

    progress = shown.partition("\n")[2]
    assert "\n" not in progress
    assert "Installing what rota needs (0 s)" in progress
    assert "package-" not in progress
    assert progress.rpartition("\r")[2] == ""
    assert max(map(len, progress.split("\r"))) < 60
