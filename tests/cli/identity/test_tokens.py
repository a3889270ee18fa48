"""`rota tokens`: made, shown once, listed and revoked."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError


@pytest.fixture
def rota(database_url, alice, bob, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result

    return run


def test_token_is_shown_once_alone_on_standard_output(rota):
    made = rota("tokens", "create", "ci", "--scope", "trigger", "--scope", "read")

    (secret,) = made.stdout.splitlines()
    assert secret.startswith("rota_")
    assert "ci (read, trigger)" in made.stderr
    assert secret not in made.stderr
    listed = rota("tokens", "list").stdout
    assert "read, trigger" in listed
    assert "never" in listed
    assert secret not in listed


def test_token_expires_after_ninety_days_unless_said_otherwise(rota):
    for name, *expires in (("a",), ("b", "--expires", "never"), ("c", "--expires", "12h")):
        rota("tokens", "create", name, "--scope", "read", *expires)

    a, b, c = rota("tokens", "list", "--json")

    assert b["expires_at"] is None
    assert a["expires_at"] > c["expires_at"] > c["created_at"]
    assert a["scopes"] == ["read"]


def test_revoked_token_is_gone(rota):
    made = rota("tokens", "create", "ci", "--scope", "decide", "--json")
    with pytest.raises(NotFoundError):
        rota("tokens", "revoke", made["id"], "--as", "bob@example.com")
    assert rota("tokens", "revoke", made["id"][:8], "--json")["name"] == "ci"
    assert rota("tokens", "list", "--json") == []
    with pytest.raises(NotFoundError, match="No token 'ci'"):
        rota("tokens", "revoke", "ci")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("x", "--scope", "read", "--expires", "soon"), "soon"),
        (("x", "--scope", "read", "--expires", "0"), "3,660 days"),
        (("x", "--scope", "read", "--expires", "4000d"), "3,660 days"),
        ((" ", "--scope", "read"), "no name of a token"),
        (("a\nb", "--scope", "read"), "no name of a token"),
    ],
)
def test_token_that_cannot_be_meant_is_refused(rota, arguments, said):
    with pytest.raises(InvalidInputError, match=said):
        rota("tokens", "create", *arguments)


def test_names_are_taken_once_for_each_person(rota):
    rota("tokens", "create", "ci", "--scope", "read")
    with pytest.raises(ConflictError, match="named 'ci' already"):
        rota("tokens", "create", "ci", "--scope", "read")
    rota("tokens", "create", "ci", "--scope", "read", "--as", "bob@example.com")
