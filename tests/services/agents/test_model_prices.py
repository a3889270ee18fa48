"""The operator's prices, on a real database."""

from __future__ import annotations

from decimal import Decimal

import psycopg
import pytest

from rota.domain.agents.prices import Price
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.services.agents.prices import ModelPriceService

PRICE = Price(Decimal("0.15"), Decimal("0.6"), Decimal("0.0375"))


@pytest.fixture
def service(database):
    return ModelPriceService(database)


async def test_a_price_is_kept_exactly_and_under_one_name(service):
    assert await service.set(" OpenAI:gpt-5-mini", PRICE) == "openai:gpt-5-mini"

    assert await service.overrides() == {"openai:gpt-5-mini": PRICE}
    tiny = Price(Decimal("0.000000125"), Decimal(0))
    await service.set("openai:*", tiny)
    assert (await service.overrides())["openai:*"] == tiny


async def test_a_second_price_replaces_the_first(service, owner):
    async def updated_at():
        cursor = await owner.execute("SELECT updated_at FROM model_prices")
        return await cursor.fetchall()

    await service.set("*", PRICE)
    before = await updated_at()
    await service.set("*", Price(Decimal(1), Decimal(2)))

    assert await service.overrides() == {"*": Price(Decimal(1), Decimal(2))}
    assert await updated_at() > before


async def test_a_removed_price_is_gone(service):
    await service.set("openai:x", PRICE)

    assert await service.remove("OPENAI:x") == "openai:x"
    assert await service.overrides() == {}
    with pytest.raises(NotFoundError):
        await service.remove("openai:x")
    with pytest.raises(InvalidInputError):
        await service.remove("x")


async def test_models_in_use_are_those_of_everybodys_active_agents(service, owner, alice, bob):
    for user, model, active in [
        (alice, "openai:a", True),
        (bob, "openai:a", True),
        (bob, "openai:b", True),
        (bob, "openai:c", False),
    ]:
        await owner.execute(
            "INSERT INTO agent_configurations (user_id, agent_name, model, is_active)"
            " VALUES (%s, %s, %s, %s)",
            [user, model.replace(":", "-"), model, active],
        )

    assert {"openai:a", "openai:b"} <= set(await service.models_in_use())
    assert "openai:c" not in await service.models_in_use()


@pytest.mark.parametrize("amount", ["NaN", "-0.01", "Infinity", "1000001"])
@pytest.mark.parametrize(
    "column", ["input_usd", "output_usd", "cached_input_usd", "cache_write_usd"]
)
async def test_the_table_takes_nothing_that_is_no_price(service, owner, column, amount):
    await service.set("a:b", PRICE)

    with pytest.raises(psycopg.errors.CheckViolation):
        await owner.execute(f"UPDATE model_prices SET {column} = '{amount}'")


@pytest.mark.parametrize("model", ["", "x", "A:b", "a:", "a: b", "a:b ", "**"])
async def test_the_table_takes_no_name_that_would_never_be_found(owner, model):
    with pytest.raises(psycopg.errors.CheckViolation):
        await owner.execute("INSERT INTO model_prices VALUES (%s, 1, 1)", [model])
