"""What `rota backup` and `rota restore` say to a person at a terminal."""

from __future__ import annotations

import os

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
