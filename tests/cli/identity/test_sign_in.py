"""`rota sign-in` and `rota people link`: who somebody is at a browser and at an issuer."""

from __future__ import annotations

import asyncio
import json
import uuid
from datetime import datetime

import psycopg
import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    NotSignedInError,
    SetupRequiredError,
)
from rota.services.identity.links import LinkService
from rota.store.database import Database
from rota.store.operations import processes
from tests.services.harness import clock

ISSUER = "https://login.example.com"


@pytest.fixture
def rota(database_url, alice, bob, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_USER", "alice@example.com")
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    def run(*arguments):
        result = CliRunner().invoke(app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


def redeem(database_url, code):
    async def work():
        async with Database(database_url).opened() as database:
            return await LinkService(database, clock=clock).redeem(code)

    return asyncio.run(work())


@pytest.fixture
def served(database_url):
    """Have a server say that it runs, and where it is opened."""

    def say(url):
        async def report():
            async with Database(database_url).opened() as database, database.connection() as conn:
                await processes.report(
                    conn, uuid.uuid4(), kind="server", host="den", pid=7, version="1", url=url
                )

        asyncio.run(report())

    return say


def test_link_signs_the_named_person_in_once(rota, database_url, alice, bob, served):
    served("https://rota.example.com")
    url, _, code = rota("sign-in").strip().partition("#")
    assert url == "https://rota.example.com/sign-in"
    assert redeem(database_url, code) == alice
    with pytest.raises(NotSignedInError):
        redeem(database_url, code)

    his = rota("sign-in", "--as", "bob@example.com", "--json")
    assert redeem(database_url, his["url"].partition("#")[2]) == bob
    lasts = datetime.fromisoformat(his["expires_at"]) - clock()
    assert 800 < lasts.total_seconds() <= 900


def test_link_is_for_the_address_that_the_server_listens_on(rota, served):
    served("http://127.0.0.1:9000")
    assert rota("sign-in").startswith("http://127.0.0.1:9000/sign-in#")


def test_without_a_server_there_is_no_link_and_it_says_how_to_start_one(rota, owner_url):
    with pytest.raises(SetupRequiredError, match=r"^No server runs\. Start it first: `rota up -d`"):
        rota("sign-in")
    with psycopg.connect(owner_url) as conn:
        assert conn.execute("SELECT count(*) FROM rota.sign_in_links").fetchone() == (0,)


def test_operator_links_a_person_and_takes_it_back(rota):
    to = ("--issuer", ISSUER, "--subject", "3f6c")
    rota("people", "link", "alice@example.com", *to)
    (one,) = rota("people", "identities", "alice@example.com", "--json")
    assert (one["issuer"], one["subject"], one["origin"]) == (ISSUER, "3f6c", "operator")
    assert "3f6c" in rota("people", "identities", "alice@example.com")
    with pytest.raises(ConflictError, match="another person"):
        rota("people", "link", "bob@example.com", *to)
    with pytest.raises(NotFoundError):
        rota("people", "unlink", "bob@example.com", *to)
    rota("people", "unlink", "alice@example.com", *to)
    assert rota("people", "identities", "alice@example.com", "--json") == []


@pytest.mark.parametrize(
    ("issuer", "subject"),
    [("login.example.com", "1"), ("", "1"), (ISSUER, ""), (ISSUER, " 1"), (ISSUER, "x" * 1001)],
)
def test_identity_that_cannot_be_meant_is_refused(rota, issuer, subject):
    with pytest.raises(InvalidInputError):
        rota("people", "link", "alice@example.com", f"--issuer={issuer}", f"--subject={subject}")


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ROTA_OIDC_ISSUER": "https://x.example"}, "but ROTA_OIDC_CLIENT_ID is missing"),
        ({"ROTA_OIDC_CLIENT_ID": "r"}, "but ROTA_OIDC_ISSUER is missing"),
        (
            {"ROTA_OIDC_CLIENT_SECRET": "hidden-value"},
            "but ROTA_OIDC_ISSUER and ROTA_OIDC_CLIENT_ID are missing",
        ),
        ({"ROTA_OIDC_ISSUER": "http://x.example", "ROTA_OIDC_CLIENT_ID": "r"}, "https://"),
        ({"ROTA_OIDC_ISSUER": "x.example", "ROTA_OIDC_CLIENT_ID": "r"}, "https://"),
        ({"ROTA_SUPABASE_JWT_SECRET": "hidden-value" * 4}, "ROTA_SUPABASE_URL"),
        ({"ROTA_SUPABASE_URL": "https://x.example/auth/v1"}, "https://"),
        ({"ROTA_SUPABASE_URL": "http://x.example"}, "https://"),
        (
            {"ROTA_SUPABASE_URL": "https://x.example", "ROTA_SUPABASE_JWT_SECRET": "hidden-value"},
            "fewer than 32",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_be_meant_are_named(rota, monkeypatch, variables, said):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(InvalidInputError, match=said) as refused:
        rota("people", "list")
    assert "hidden-value" not in refused.value.message
