"""A database of another encoding than UTF8 is refused, with what to do instead."""

from __future__ import annotations

import asyncio
import json
import secrets

import psycopg
import pytest
from psycopg import sql
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import MigrationError
from rota.store.migrations import migrate


@pytest.fixture(params=["SQL_ASCII", "LATIN1"])
def database(request, postgres_server):
    name = f"test_{secrets.token_hex(6)}"
    with psycopg.connect(postgres_server.owner_of("postgres"), autocommit=True) as conn:
        conn.execute(
            sql.SQL(
                "CREATE DATABASE {} ENCODING {} LOCALE_PROVIDER libc LC_COLLATE 'C' LC_CTYPE 'C'"
                " TEMPLATE template0"
            ).format(sql.Identifier(name), sql.Literal(request.param))
        )
    yield name, request.param
    postgres_server.drop(name)


def problem_of(name, encoding):
    return (
        f"The database {name} is encoded in {encoding}, and rota needs UTF8. Make another one as "
        "a superuser, and name it in the URL: "
        "CREATE DATABASE rota_2 OWNER rota ENCODING 'UTF8' TEMPLATE template0;"
    )


async def test_it_is_not_migrated(postgres_server, database):
    name, encoding = database
    url = postgres_server.owner_of(name)

    with pytest.raises(MigrationError) as refused:
        await migrate(url)

    assert refused.value.message == problem_of(name, encoding)
    with psycopg.connect(url) as conn:
        made = conn.execute("SELECT count(*) FROM pg_namespace WHERE nspname = 'rota'").fetchone()
    assert made == (0,)


async def test_commands_and_doctor_say_so(postgres_server, database, monkeypatch):
    name, encoding = database
    monkeypatch.setenv("ROTA_DATABASE_URL", postgres_server.owner_of(name))

    result = await asyncio.to_thread(CliRunner().invoke, app, ["schedules", "list"])
    looked = await asyncio.to_thread(CliRunner().invoke, app, ["doctor", "--json"])

    assert isinstance(result.exception, MigrationError)
    assert result.exception.message == problem_of(name, encoding)
    checks = {check["name"]: check for check in json.loads(looked.stdout)}
    assert checks["Encoding"]["verdict"] == "fail"
    assert checks["Encoding"]["said"] == problem_of(name, encoding)
    assert "Schema" not in checks
