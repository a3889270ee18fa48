"""`rota doctor` finds a database that takes no writes, and clocks that differ from its own."""

from __future__ import annotations

import asyncio
import json

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app


@pytest.fixture
def doctor(database_url, monkeypatch, tmp_path):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_DATA_DIR", str(tmp_path))

    async def doctor():
        outcome = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])
        checks = json.loads(outcome.stdout)
        return outcome.exit_code, {c["name"]: c["said"] for c in checks if c["verdict"] == "fail"}

    return doctor


async def test_doctor_is_content_with_a_database_that_takes_writes(doctor):
    assert await doctor() == (0, {})


async def test_doctor_says_that_the_database_is_read_only(doctor, owner):
    await owner.execute(
        psycopg.sql.SQL("ALTER DATABASE {} SET default_transaction_read_only = on").format(
            psycopg.sql.Identifier(owner.info.dbname)
        )
    )

    code, failed = await doctor()

    assert code == 1
    assert "read-only" in failed["Writing"]


@pytest.mark.parametrize(("ahead", "said"), [(400, "400 s ahead of"), (-400, "400 s behind")])
async def test_doctor_finds_a_process_whose_clock_differs(doctor, owner, ahead, said):
    await owner.execute(
        "INSERT INTO rota.processes (id, kind, host, pid, version, clock_ahead)"
        " VALUES (gen_random_uuid(), 'worker', 'elsewhere', 1, '1', %s)",
        [ahead],
    )

    code, failed = await doctor()

    assert code == 1
    assert "elsewhere" in failed["Clock"]
    assert said in failed["Clock"]
