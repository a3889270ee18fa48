"""Units for systemd, how a process says that it is ready, and new keys."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.cli.operations import readiness
from rota.security.secrets.encryption import load_keys

ROOT = Path(__file__).parents[3]
URL = "postgresql://rota:secret-word@host/rota"


@pytest.fixture
def rota(tmp_path, monkeypatch):
    folder = tmp_path / "a b%c"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ROTA_CONFIG")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("ROTA_DATABASE_URL", "")  # what a file says of it ends with the test
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))

    def run(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        result = CliRunner().invoke(app, list(arguments))
        assert result.exit_code == 0, result.output
        return result

    return run


def lines(unit, key):
    return [line.partition("=")[2] for line in unit.splitlines() if line.startswith(f"{key}=")]


@pytest.mark.parametrize("part", ["up", "scheduler", "worker", "serve"])
@pytest.mark.parametrize("system", [[], ["--system"]])
def test_unit_runs_what_runs_here(rota, tmp_path, part, system):
    unit = rota("systemd", part, "--data-dir", "da ta$x", *system).stdout

    folder = f"{tmp_path}/a b%%c"
    assert lines(unit, "ExecStart") == [
        f'{sys.executable} -m rota {part} --data-dir "{folder}/da ta$$x"'
    ]
    assert lines(unit, "WorkingDirectory") == [folder]
    assert lines(unit, "Type") == ["notify"]
    assert lines(unit, "WantedBy") == ["multi-user.target" if system else "default.target"]
    assert len(lines(unit, "User")) == len(system)
    if shutil.which("systemd-analyze"):
        file = tmp_path / f"rota-test-{part}.service"
        file.write_text(unit)
        checked = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (checked.returncode, checked.stderr) == (0, "")


def test_unit_has_the_name_by_which_the_page_keeps_and_starts_it(rota):
    page = (ROOT / "docs/howto/workers.md").read_text("utf-8")
    kept = re.findall(r"^rota systemd (\w+) > (\S+)$", page, re.MULTILINE)
    assert {part for part, _ in kept} == {"up", "scheduler", "worker", "serve"}
    for part, file in kept:
        name, then = rota("systemd", part).stdout.splitlines()[:2]
        assert name == f"# {file}"
        for started in then.partition("enable --now ")[2].split():
            assert re.search(rf"^systemctl --user enable --now .*{started}", page, re.MULTILINE)


def test_unit_has_no_secret_and_says_what_it_lacks(rota, tmp_path):
    result = rota(
        *("systemd", "worker", "--database-url", URL),
        OPENAI_API_KEY="sk-123",
        ROTA_DATA_DIR=str(tmp_path / "data"),
        PYTHONPATH="/my tools",
    )

    assert "secret-word" not in result.output
    assert "sk-123" not in result.output
    assert lines(result.stdout, "Environment") == [
        '"PYTHONPATH=/my tools"',
        f"ROTA_DATA_DIR={tmp_path}/data",
    ]
    assert "OPENAI_API_KEY, ROTA_DATABASE_URL" in result.stderr
    assert str(tmp_path / "config" / "rota" / ".env") in result.stderr


def test_what_stands_in_files_is_not_missed_and_not_written(rota, tmp_path):
    folder = tmp_path / "config" / "rota"
    folder.mkdir(parents=True)
    (folder / ".env").write_text(f"ROTA_DATABASE_URL={URL}\nOPENAI_API_KEY=sk-123\n")
    (folder / ".env").chmod(0o600)

    result = rota("systemd", "worker", OPENAI_API_KEY="sk-123")

    assert result.stderr == ""
    assert lines(result.stdout, "ExecStart") == [f"{sys.executable} -m rota worker"]
    assert lines(result.stdout, "Environment") == []


@pytest.mark.parametrize("is_abstract", [False, True])
def test_ready_is_said_once_to_whoever_asks(tmp_path, monkeypatch, is_abstract):
    if is_abstract and sys.platform != "linux":
        pytest.skip("sockets without a file are Linux's")
    written = f"@{tmp_path}" if is_abstract else str(tmp_path / "ready")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        asking.bind(written.replace("@", "\0"))
        asking.settimeout(10)
        monkeypatch.setenv("NOTIFY_SOCKET", written)
        assert readiness.is_asked_for()

        readiness.say_ready()
        readiness.say_ready()

        assert asking.recv(100) == b"READY=1"
        assert not readiness.is_asked_for()
        asking.setblocking(False)
        with pytest.raises(BlockingIOError):
            asking.recv(100)


def test_new_key_is_one_that_rota_takes_and_another_each_time(rota, tmp_path):
    first = rota("keys", "new").stdout
    second = json.loads(rota("keys", "new", "--json").stdout)["secret_key"]

    assert [len(k) for k in load_keys(first, tmp_path / "none")] == [32]
    assert [len(k) for k in load_keys(second, tmp_path / "none")] == [32]
    assert first.strip() != second
    assert not (tmp_path / "none").exists()
