"""Rows of built-in tools after an upgrade: refreshed by `rota migrate` and by an embedded start."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from typer.testing import CliRunner

from rota.agents.tools.builtin import builtin_facts
from rota.cli.main import app
from rota.store.embedded.server import EmbeddedPostgres

DECLARED = builtin_facts()["mail_search"]

Rota = Callable[..., Any]


@pytest.fixture
def rota(monkeypatch: pytest.MonkeyPatch) -> Rota:
    """Run a command on the database that the test has named, and return what it prints as JSON."""
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    def run(*arguments: str) -> Any:
        result = CliRunner().invoke(app, [*arguments, "--json"])
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout)

    return run


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A short directory that every account may enter, as pytest's own may not be."""
    path = Path(tempfile.mkdtemp(prefix="rota-test-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def as_an_older_rota_declared_it(owner_url: str) -> None:
    """Leave the row of `mail_search` as a rota would that declared another timeout and risk."""
    older = json.dumps({"timeout_seconds": 7, "risk": "high"})
    with psycopg.connect(owner_url, autocommit=True) as conn:
        updated = conn.execute(
            "UPDATE tools SET timeout_seconds = 7, risk = 'high', built_in = built_in || %s::jsonb"
            " WHERE name = 'mail_search'",
            [older],
        )
        assert updated.rowcount == 1


def row(owner_url: str) -> tuple[Any, ...] | None:
    with psycopg.connect(owner_url, autocommit=True) as conn:
        return conn.execute(
            "SELECT timeout_seconds, risk, default_tier, version FROM tools"
            " WHERE name = 'mail_search'"
        ).fetchone()


def test_migrate_refreshes_built_in_tools_and_keeps_what_the_operator_declared(
    rota: Rota, owner_url: str, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    rota("tools", "declare", "mail_search", "--tier", "requires_approval")
    as_an_older_rota_declared_it(owner_url)

    monkeypatch.setenv("ROTA_DATABASE_URL", owner_url)
    report = rota("migrate")

    refreshed = (DECLARED.timeout_seconds, DECLARED.risk, "requires_approval", 3)
    assert (report["applied"], row(owner_url)) == ([], refreshed)

    rota("migrate")
    assert row(owner_url) == refreshed


@pytest.mark.slow
def test_an_embedded_start_refreshes_built_in_tools_and_keeps_what_the_operator_declared(
    rota: Rota, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ROTA_DATA_DIR", str(data_dir))
    server = EmbeddedPostgres.open(data_dir, durable=False)
    try:
        rota("tools", "declare", "mail_search", "--tier", "requires_approval")
        as_an_older_rota_declared_it(server.owner_url)

        rota("agents", "list")

        refreshed = (DECLARED.timeout_seconds, DECLARED.risk, "requires_approval", 3)
        assert row(server.owner_url) == refreshed
    finally:
        server.destroy()
