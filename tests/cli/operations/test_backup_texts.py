"""What `rota backup` and `rota restore` say to a person at a terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from tests.cli.terminal import on_terminal


@pytest.mark.timeout(240)
def test_backup_and_restore_say_how_much_and_for_whom(owner_url, alice, tmp_path):
    environment = os.environ | {
        "ROTA_DATABASE_URL": owner_url,
        "ROTA_DATA_DIR": str(tmp_path / "data"),
        "ROTA_SECRET_KEY": "00" * 32,
    }
    file = str(tmp_path / "rota.zip")

    backed_up = on_terminal(["backup", file], environment, width=60)
    assert backed_up.exit_code == 0, backed_up.text
    assert " kB): " in " ".join(backed_up.lines)
    restored = on_terminal(["restore", file, "--replace"], environment, width=60)
    assert restored.exit_code == 0, restored.text
    assert "name them with `--as ADDRESS` or ROTA_USER" in " ".join(
        line.strip() for line in restored.lines
    )
    for line in (*backed_up.lines, *restored.lines):
        assert not line.startswith("  |")


def rota(*arguments, **environment):
    return subprocess.run(
        [sys.executable, "-m", "rota", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_owners_password_may_lie_in_a_file_of_its_own(owner_url, tmp_path):
    parts = urlsplit(owner_url)
    without = parts._replace(netloc=parts.netloc.replace(f":{parts.password}", "")).geturl()
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"*:*:{parts.path[1:]}:{parts.username}:{parts.password}\n")
    passwords.chmod(0o600)
    backup = ("backup", str(tmp_path / "a.zip"), "--database-url", without)

    assert rota(*backup, PGPASSFILE=os.devnull, HOME=str(tmp_path)).returncode == 5
    done = rota(*backup, PGPASSFILE=str(passwords))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("restore", "nowhere.zip"),
        ("backup", "/nope/x.zip"),
        ("people", "export", "alice@example.com", "/nope/x.zip"),
    ],
)
def test_file_that_cannot_be_read_or_written_is_invalid_input(arguments, owner_url, alice):
    done = rota(*arguments, ROTA_DATABASE_URL=owner_url, ROTA_SECRET_KEY="00" * 32)

    assert done.returncode == 2, done.stderr
    assert "No such file or directory" in done.stderr
