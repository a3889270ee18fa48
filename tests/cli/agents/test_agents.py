"""Agents from the command line: files validated, agents exported and removed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app

GOOD = "name: watcher\nmodel: openai:x\nschedules: [{name: morning, cron: '@daily'}]\n"
BAD = "name: watcher\nmodel: openai:x\ntools: [nothing_such]\n"


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


def test_every_file_is_validated_and_one_that_is_not_valid_gives_exit_code_2(rota, tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(BAD)

    both = rota("agents", "validate", bad, good, tmp_path / "none.yaml")

    assert both.exit_code == 2
    assert f"{good}: valid.\n  agent watcher would be created\n" in both.stdout
    assert "bad.yaml:3: tools[0]: no tool 'nothing_such'" in both.stderr
    assert "none.yaml cannot be read" in both.stderr
    (checked,) = json.loads(rota("agents", "validate", good, "--json").stdout)
    assert (checked["valid"], checked["error"], len(checked["changes"])) == (True, None, 2)
    assert json.loads(rota("agents", "export", "--json").stdout) == []


def test_export_is_a_file_that_applies_without_a_change(rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    rota("agents", "apply", file)
    said = rota("agents", "export", "watcher").stdout
    assert said == (
        "name: watcher\nmodel: openai:x\nschedules:\n- name: morning\n  cron: '@daily'\n"
    )
    file.write_text(said)

    assert "would be" not in rota("agents", "validate", file).stdout


def test_agent_is_removed_with_its_schedules_if_told_so(rota, tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(GOOD)
    rota("agents", "apply", file)

    said = rota("agents", "remove", "watcher", "--with-schedules").stdout

    assert said == "Removed watcher.\nRemoved its schedule morning.\n"
    assert json.loads(rota("schedules", "list", "--json").stdout) == []
