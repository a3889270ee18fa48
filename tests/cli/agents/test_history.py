"""`rota agents history` and `restore`."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import NotFoundError

SMALL = "name: small\nmodel: openai:x\nschedules:\n- name: morning\n  cron: '@daily'\n"


@pytest.fixture
def rota(database_url, alice, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    def run(*arguments):
        result = CliRunner().invoke(app, [str(argument) for argument in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return run


def test_an_agent_has_its_changes_and_goes_back_to_one(rota, tmp_path):
    file = tmp_path / "small.yaml"
    for text in (SMALL, SMALL, SMALL.replace("openai:x", "openai:y")):
        file.write_text(text)
        rota("agents", "apply", file)

    found = json.loads(rota("agents", "history", "small", "--json").stdout)
    said = rota("agents", "history", "small").stdout
    done = rota("agents", "restore", "small", 1).stdout

    assert [(one["version"], one["change"], one["fields"]) for one in found] == [
        (2, "updated", ["model"]),
        (1, "created", []),
    ]
    assert "you" in said
    assert done == "small is what it was at version 1.\n"
    assert json.loads(rota("agents", "show", "small", "--json").stdout)["model"] == "openai:x"
    assert "morning" in rota("schedules", "list").stdout
    rota("agents", "remove", "small", "--with-schedules")
    rota("agents", "restore", "small", 2)
    assert json.loads(rota("agents", "show", "small", "--json").stdout)["model"] == "openai:y"


def test_what_never_was_is_not_found(rota):
    with pytest.raises(NotFoundError):
        rota("agents", "history", "nobody")
    with pytest.raises(NotFoundError):
        rota("agents", "restore", "nobody", 1)
