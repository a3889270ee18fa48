"""A schema that is behind: whoever may not migrate it is told who may, and the command."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.security.secrets.redaction import redact_text
from rota.store.migrations import migrations


async def _rota(*arguments):
    return await asyncio.to_thread(CliRunner().invoke, app, arguments)


@pytest.fixture
def of_the_owner(postgres_server, empty_database, monkeypatch, tmp_path):
    """Work as rota's role on a database without a schema; returns what its owner is to run."""
    monkeypatch.setenv("ROTA_DATABASE_URL", postgres_server.backend_of(empty_database))
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))
    with psycopg.connect(postgres_server.owner_of(empty_database)) as conn:
        role = conn.info.user
    return f"rota migrate --database-url postgresql://{role}:...@HOST/{empty_database}"


async def test_doctor_before_the_first_migration_names_the_owner_and_no_needless_right(
    of_the_owner,
):
    checks = json.loads((await _rota("doctor", "--json")).stdout)
    said = {check["name"]: check["said"] for check in checks}

    assert said["Schema"] == f"{len(migrations())} behind. Run: {of_the_owner}"
    assert "Rights" not in said


async def test_doctor_as_the_owner_needs_no_other_url(
    of_the_owner, postgres_server, empty_database, monkeypatch
):
    monkeypatch.setenv("ROTA_DATABASE_URL", postgres_server.owner_of(empty_database))
    checks = json.loads((await _rota("doctor", "--json")).stdout)
    [said] = [check["said"] for check in checks if check["name"] == "Schema"]
    assert said.endswith("behind. Run: rota migrate")


@pytest.mark.parametrize("command", [["migrate"], ["schedules", "list"], ["status"]])
async def test_command_of_another_than_the_owner_says_as_whom_to_migrate(of_the_owner, command):
    outcome = await _rota(*command)

    assert of_the_owner in redact_text(outcome.exception.message)
