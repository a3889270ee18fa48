"""`rota settings`: one's own zone and preferences, and what they come to; `rota people add`."""

from __future__ import annotations

import json

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError


@pytest.fixture
def owner_sql(owner_url):
    with psycopg.connect(owner_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
def rota(database_url, owner_sql, alice, bob, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    owner_sql.execute(
        "INSERT INTO tools (name, default_tier) VALUES ('yours', 'user_configurable'),"
        " ('theirs', 'requires_approval'), ('free', 'auto')"
    )

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def decisions(rota, *who):
    shown = rota("settings", "show", "--json", *who)
    return {
        tool["tool"]: (tool["preference"], tool["decision"])
        for tool in shown["tools"]
        if tool["tool"] in {"yours", "theirs", "free"}
    }


def test_preference_lets_run_what_the_operator_leaves_to_people_and_nothing_else(rota):
    nothing = {"yours": (None, "held"), "theirs": (None, "held"), "free": (None, "allowed")}
    assert decisions(rota) == nothing

    said = [rota("settings", "tool", name, "auto") for name in ("yours", "theirs", "free")]

    assert said[0] == "A call of yours runs: you allowed this tool.\n"
    assert "A call of theirs waits for approval: the tool requires approval." in said[1]
    assert [text.count("Your preference has no effect") for text in said] == [0, 1, 1]
    assert decisions(rota) == {
        "yours": ("auto", "allowed"),
        "theirs": ("auto", "held"),
        "free": ("auto", "allowed"),
    }
    assert decisions(rota, "--as", "bob@example.com") == nothing


def test_each_call_of_any_tool_can_be_asked_for_and_that_is_taken_back(rota):
    said = rota("settings", "tool", "free", "requires_approval")
    assert (
        said == "A call of free waits for approval: you asked to approve each call of this tool.\n"
    )
    assert "you asked to approve each call" in rota("settings", "show")

    assert rota("settings", "tool", "free", "none", "--json")["decision"] == "allowed"
    assert decisions(rota)["free"] == (None, "allowed")


def test_unknown_tool_is_refused_with_the_nearest_name(rota):
    with pytest.raises(NotFoundError, match="Did you mean theirs"):
        rota("settings", "tool", "theirz", "auto")


def test_zone_is_set_and_shown(rota):
    assert rota("settings", "zone").strip() == "UTC"
    assert rota("settings", "zone", "Europe/Berlin", "--json") == {"time_zone": "Europe/Berlin"}
    assert rota("settings", "show", "--json")["time_zone"] == "Europe/Berlin"
    with pytest.raises(InvalidInputError):
        rota("settings", "zone", "Berlin")


def test_pause_is_among_the_settings(rota):
    assert rota("settings", "show", "--json")["pause"] is None
    rota("pause", "--note", "away")
    assert rota("settings", "show", "--json")["pause"]["note"] == "away"
    assert "All your schedules are paused until you resume: away" in rota("settings", "show")


def test_people_are_added_once_and_can_be_acted_as(rota):
    added = rota("people", "add", "Carl@Example.com", "dora@example.com", "--refused", "--json")
    assert [(one["email"], one["is_new"]) for one in added] == [
        ("carl@example.com", True),
        ("dora@example.com", True),
    ]
    again = rota("people", "add", "carl@example.com")

    assert again == (
        "Already there: carl@example.com: may not run agents; allow it with "
        "`rota people allow carl@example.com`.\n"
    )
    rota("people", "allow", "carl@example.com")
    again = rota("people", "add", "carl@example.com")
    assert again == "Already there: carl@example.com: may run agents.\n"
    listed = rota("people", "list", "--json")
    assert {p["email"]: p["may_run"] for p in listed if p["email"]} == {
        "carl@example.com": True,
        "dora@example.com": False,
    }
    assert rota("settings", "zone", "--as", "carl@example.com").strip() == "UTC"


@pytest.mark.parametrize("address", ["carl", "a b@c", "@", "a@", "x@y@z", "a\n@b"])
def test_what_is_no_address_adds_nobody(rota, address):
    with pytest.raises(InvalidInputError, match="is no e-mail address"):
        rota("people", "add", "carl@example.com", address)
    with pytest.raises(NotFoundError):
        rota("settings", "zone", "--as", "carl@example.com")


def test_on_supabase_people_sign_up_themselves(rota, owner_sql):
    owner_sql.execute("ALTER TABLE auth.users ADD COLUMN encrypted_password text")

    with pytest.raises(ConflictError, match="People sign up themselves on this server"):
        rota("people", "add", "carl@example.com")
