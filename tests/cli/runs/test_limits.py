"""Limits from the command line: for one person, for everyone, for all together."""

from __future__ import annotations

import asyncio
import json

import pytest
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import InvalidInputError, NotFoundError
from tests.services.harness import Workshop


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    return Workshop(database, owner, alice)


@pytest.fixture
def rota(database_url, monkeypatch):
    """The operator's terminal: nobody is named to act as."""
    monkeypatch.setenv("ROTA_DATABASE_URL", database_url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)

    async def run(*arguments):
        result = await asyncio.to_thread(CliRunner().invoke, app, arguments)
        if result.exception is not None:
            raise result.exception
        return json.loads(result.stdout) if "--json" in arguments else result.stdout

    return run


async def holding(workshop, user):
    cursor = await workshop.owner.execute("SELECT * FROM rota.limits_of(%s)", [user])
    return await cursor.fetchone()


async def test_nothing_is_limited_until_somebody_says_so(workshop, rota):
    said = await rota("limits", "show")

    assert [line.split()[:2] for line in said.splitlines()[1:3]] == [
        ["all", "together"],
        ["everyone", "no"],
    ]
    assert await holding(workshop, workshop.user) == (None, None, None)


async def test_tokens_and_money_are_written_as_those_of_a_schedule(workshop, rota):
    await rota("limits", "set", "--everyone", "--day-tokens", "1.5M", "--day-cost", "$2")

    assert [str(v) for v in await holding(workshop, workshop.user)] == ["None", "1500000", "2"]


async def test_everyones_limits_hold_for_whoever_has_none_of_their_own(workshop, rota, bob):
    await rota("limits", "set", "--everyone", "--concurrency", "10", "--day-cost", "2.50")
    await rota("limits", "set", "--user", "bob@example.com", "--concurrency", "50")

    assert [str(v) for v in await holding(workshop, workshop.user)] == ["10", "None", "2.50"]
    assert [str(v) for v in await holding(workshop, bob)] == ["50", "None", "2.50"]
    shown = await rota("limits", "show", "--json")
    assert shown["everyone"]["max_concurrency"] == 10
    assert [p["email"] for p in shown["persons"]] == ["bob@example.com"]
    bobs = (await rota("limits", "show")).splitlines()[3]
    assert bobs.split() == ["bob@example.com", "50", "0", "as", "everyone", "as", "everyone"]


async def test_person_can_be_without_a_limit_that_everyone_has_and_be_as_everyone_again(
    workshop, rota, bob
):
    await rota("limits", "set", "--everyone", "--concurrency", "10", "--day-tokens", "1_000_000")

    await rota("limits", "set", "--user", str(bob), "--concurrency", "none", "--day-tokens", "5")
    assert await holding(workshop, bob) == (None, 5, None)
    assert "no limit" in (await rota("limits", "show")).splitlines()[3]

    await rota("limits", "set", "--user", str(bob), "--concurrency", "3")
    assert await holding(workshop, bob) == (3, 5, None)

    for option in ("--concurrency", "--day-tokens"):
        await rota("limits", "set", "--user", str(bob), option, "default")
    assert await holding(workshop, bob) == (10, 1_000_000, None)
    assert (await rota("limits", "show", "--json"))["persons"] == []


async def test_limit_of_all_together_is_set_and_taken_away(workshop, rota):
    await workshop.owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger, status)"
        " VALUES (%s, 'a', 'manual', 'queued')",
        [workshop.user],
    )

    await rota("limits", "set", "--all", "--concurrency", "40")
    shown = await rota("limits", "show", "--json")
    assert shown["in_all"] == {"max_concurrency": 40, "under_way": 1}

    await rota("limits", "set", "--all", "--concurrency", "none")
    assert (await rota("limits", "show", "--json"))["in_all"]["max_concurrency"] is None


async def quotas(workshop, user):
    cursor = await workshop.owner.execute("SELECT * FROM rota.quotas_of(%s)", [user])
    return await cursor.fetchone()


async def test_operator_sets_quotas_of_everyone_and_of_single_persons(workshop, rota, bob):
    assert "200" in (await rota("limits", "show")).splitlines()[7]

    await rota("limits", "set", "--everyone", "--schedules", "50", "--waiting-runs", "none")
    await rota(
        *("limits", "set", "--user", "bob@example.com", "--schedules", "none"),
        *("--shortest-interval", "1", "--rules", "5", "--rule-bytes", "6", "--notifications", "7"),
    )

    assert await quotas(workshop, workshop.user) == (50, 10, None, 500, 1_000_000, 10_000)
    assert await quotas(workshop, bob) == (None, 1, None, 5, 6, 7)
    shown = await rota("limits", "show", "--json")
    assert shown["quotas"]["max_schedules"] == 50
    assert shown["quotas"]["max_waiting_runs"] is None
    assert shown["persons"][0]["quotas"]["max_rules"] == 5
    lines = [line.split() for line in (await rota("limits", "show")).splitlines()]
    assert lines[8] == ["everyone", "50", "10", "no", "limit", "500", "1000000", "10000"]
    assert lines[9] == ["bob@example.com", "no", "limit", "1", "as", "everyone", "5", "6", "7"]

    await rota("limits", "set", "--everyone", "--schedules", "default", "--waiting-runs", "default")
    await rota("limits", "set", "--user", "bob@example.com", "--schedules", "default")
    assert await quotas(workshop, workshop.user) == (200, 10, 1_000, 500, 1_000_000, 10_000)
    assert (await quotas(workshop, bob))[0] == 200


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--all", "--schedules", "3"], "belong to one person each"),
        (["--everyone", "--schedules", "0"], "whole number"),
        (["--concurrency", "3"], "whose limits to set"),
        (["--all", "--everyone", "--concurrency", "3"], "whose limits to set"),
        (["--everyone"], "what to set"),
        (["--all", "--day-tokens", "3"], "belong to one person each"),
        (["--everyone", "--concurrency", "0"], "whole number"),
        (["--everyone", "--concurrency", "three"], "whole number"),
        (["--everyone", "--day-tokens", "1.5"], "whole number"),
        (["--everyone", "--day-cost", "-1"], "US dollars"),
        (["--everyone", "--day-cost", "nan"], "US dollars"),
        (["--everyone", "--day-cost", "default"], "one person only"),
        (["--all", "--concurrency", "default"], "one person only"),
    ],
)
async def test_what_cannot_be_meant_is_refused(workshop, rota, arguments, said):
    with pytest.raises(InvalidInputError, match=said):
        await rota("limits", "set", *arguments)

    assert await workshop.rows("user_limits") == []


async def test_nobody_by_that_name_has_limits(workshop, rota):
    with pytest.raises(NotFoundError, match=r"nobody@example\.com"):
        await rota("limits", "set", "--user", "nobody@example.com", "--concurrency", "3")


async def test_agents_limit_comes_from_its_file(workshop, rota, tmp_path):
    file = tmp_path / "a.yaml"
    for number, change in ((2, "created"), (2, "unchanged"), (3, "updated (max_concurrency)")):
        file.write_text(
            f"name: a\nmodel: scripted:x\nscript: {{answer: hi}}\nmax_concurrency: {number}\n"
        )
        said = await rota("agents", "apply", str(file), "--as", "alice@example.com")
        assert said == f"agent a: {change}\n"
    assert "at most 3 runs" in await rota("agents", "show", "a", "--as", "alice@example.com")
    file.write_text("name: a\nmodel: scripted:x\nscript: {answer: hi}\nmax_concurrency: 0\n")
    with pytest.raises(InvalidInputError, match=r"a\.yaml:4"):
        await rota("agents", "apply", str(file), "--as", "alice@example.com")
