"""`rota prices`: the operator sees and sets what models cost."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError, NotFoundError

SONNET = "anthropic:claude-sonnet-4-5"


@pytest.fixture
def rota(database_url, monkeypatch):
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)  # and no ROTA_USER: nobody's command

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def test_a_price_is_set_shown_and_removed(rota):
    before = await rota("prices", "show", SONNET, "--json")
    assert (before["source"], before["price"]["input"]) == ("library", "3")

    said = await rota(
        *("prices", "set", SONNET, "--input", "2.5", "--output", "12.125"),
        *("--cached-input", "0.25", "--cache-write", "3"),
    )
    assert f"Set {SONNET}: 2.50 in, 12.125 out." in said
    shown = await rota("prices", "show", SONNET, "--json")
    assert shown["source"] == "operator"
    assert shown["price"] == {
        "input": "2.5",
        "output": "12.125",
        "cached_input": "0.25",
        "cache_write": "3",
    }

    assert SONNET in await rota("prices", "remove", SONNET)
    assert await rota("prices", "show", SONNET, "--json") == before


async def test_all_that_matters_is_shown_also_what_has_no_price(rota, owner, alice):
    await owner.execute(
        "INSERT INTO agent_configurations (user_id, agent_name, model)"
        " VALUES (%s, 'a', 'openai:house-model'), (%s, 'b', 'scripted:plan')",
        [alice, alice],
    )
    assert "No agent uses such a model yet." in await rota(
        "prices", "set", "groq:*", "--input", "0.00000125", "--output", "1000"
    )

    listed = {entry["model"]: entry for entry in await rota("prices", "show", "--json")}
    assert listed["openai:house-model"]["price"] is None
    assert listed["scripted:plan"]["source"] == "free"
    assert listed["groq:*"]["price"]["input"] == "0.00000125"
    table = {line.split()[0]: line for line in (await rota("prices", "show")).splitlines()}
    assert "no price is known" in table["openai:house-model"]
    assert "0.00000125" in table["groq:*"]
    assert "1000.00" in table["groq:*"]
    assert "costs nothing" in table["scripted:plan"]

    said = await rota("prices", "set", "OpenAI:*", "--input", "1", "--output", "2")
    assert said == "Set openai:*: 1.00 in, 2.00 out.\n"


async def test_what_cannot_be_is_refused(rota):
    with pytest.raises(InvalidInputError, match="provider:model"):
        await rota("prices", "set", "gpt-5", "--input", "1", "--output", "2")
    with pytest.raises(InvalidInputError, match="no price"):
        await rota("prices", "set", "a:b", "--input", "cheap", "--output", "2")
    with pytest.raises(NotFoundError, match="prices set"):
        await rota("prices", "show", "openai:nonsense")
    with pytest.raises(NotFoundError, match="prices show"):
        await rota("prices", "remove", "openai:nonsense")
