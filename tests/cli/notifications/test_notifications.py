"""`rota notifications show`: all of one, with the way on from it."""

from __future__ import annotations

import json

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import NotFoundError


@pytest.fixture
def owner_sql(owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def insert(owner_sql, user, title, body="", metadata=None, created="now()"):
    (found,) = owner_sql.execute(
        "INSERT INTO notifications (user_id, category, title, body, metadata, created_at)"
        f" VALUES (%s, 'approval_needed', %s, %s, %s, {created}) RETURNING id",
        [user, title, body, json.dumps(metadata or {})],
    ).fetchone()
    return str(found)


def test_notification_is_shown_whole_and_is_read_then(rota, owner_sql, alice):
    action = "11111111-2222-3333-4444-555555555555"
    body = "It waits.\n" + "A long line " * 30 + "\x1b[2J"
    shown = insert(owner_sql, alice, "1 action waits", body, {"action_ids": [action]})

    said = rota("notifications", "show", shown[:8])

    first, *lines = said.splitlines()
    assert first == "1 action waits"
    assert ("  " + "A long line " * 30).rstrip() in said
    assert "\x1b" not in said
    assert lines[-1] == "Request 11111111: `rota approvals show 11111111`"
    assert rota("notifications", "list", "--unread", "--json") == []


def test_latest_is_shown_if_none_is_named(rota, owner_sql, alice):
    insert(owner_sql, alice, "older", created="now() - interval '1 hour'")
    insert(owner_sql, alice, "newer")

    assert rota("notifications", "show", "--json")["title"] == "newer"


def test_notification_of_another_person_is_not_there(rota, owner_sql, alice, bob):
    his = insert(owner_sql, bob, "his")

    with pytest.raises(NotFoundError):
        rota("notifications", "show", his)
    with pytest.raises(NotFoundError):
        rota("notifications", "show")
