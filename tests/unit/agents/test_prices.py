"""What model calls cost: exact figures, with usage as the providers' real clients report it."""

import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from genai_prices.data_snapshot import find_provider_by_id, get_snapshot
from hypothesis import given
from hypothesis import strategies as st

from rota.agents.models.building import build_chat_model
from rota.agents.models.prices import PriceTable
from rota.agents.models.providers import PROVIDERS
from rota.domain.agents.prices import FREE, Price, Tokens, count_tokens, parse_price_key, parse_usd
from rota.domain.errors import InvalidInputError
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer

MINI, SONNET = "openai:gpt-4o-mini", "anthropic:claude-sonnet-4-5"
PRICE = Price(Decimal(3), Decimal(15), Decimal("0.3"), Decimal("3.75"))
USAGE = {"input_tokens": 1_000, "output_tokens": 100, "total_tokens": 1_100}
NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Reporting:
    """A server whose answers report the `usage` it was given."""

    def answer(self, request, reply):
        return {**super().answer(request, reply), "usage": self.usage}


class OpenAI(Reporting, OpenAIServer):
    pass


class Anthropic(Reporting, AnthropicServer):
    pass


CHAT_USAGE = {
    "prompt_tokens": 1_000,
    "completion_tokens": 100,
    "total_tokens": 1_100,
    "prompt_tokens_details": {"cached_tokens": 600},
}
RESPONSES_USAGE = {
    "input_tokens": 1_000,
    "output_tokens": 100,
    "total_tokens": 1_100,
    "input_tokens_details": {"cached_tokens": 600},
    "output_tokens_details": {"reasoning_tokens": 40},
}
ANTHROPIC_USAGE = {
    "input_tokens": 200,
    "output_tokens": 100,
    "cache_read_input_tokens": 600,
    "cache_creation_input_tokens": 200,
}
LIFETIMES = {"ephemeral_5m_input_tokens": 150, "ephemeral_1h_input_tokens": 50}


async def reported(spec, server_class, usage, **settings):
    name = spec.partition(":")[0]
    with server_class(Says("Hi")) as server:
        server.usage = usage
        model = build_chat_model(
            spec, {"endpoint": name, **settings}, api_keys={}, endpoints={name: server.url}
        )
        return (await model.ainvoke("Hello")).usage_metadata


@pytest.mark.parametrize(
    ("settings", "usage"), [({}, CHAT_USAGE), ({"use_responses_api": True}, RESPONSES_USAGE)]
)
async def test_openais_input_includes_what_was_read_from_the_cache(settings, usage):
    found = await reported(MINI, OpenAI, usage, **settings)

    assert count_tokens(found) == Tokens(1_000, 100, cache_read=600)
    # 400 x 3 + 600 x 0.3 + 100 x 15
    assert PriceTable({MINI: PRICE}).cost(MINI, found) == Decimal("0.00288")
    # 400 x 0.15 + 600 x 0.075 + 100 x 0.6
    assert PriceTable({}).cost(MINI, found) == Decimal("0.000165")


@pytest.mark.parametrize("more", [{}, {"cache_creation": LIFETIMES}])
async def test_anthropics_input_excludes_the_cache_and_langchain_adds_it(more):
    found = await reported("anthropic:claude-sonnet-5", Anthropic, ANTHROPIC_USAGE | more)

    assert found["input_tokens"] == 1_000
    read = count_tokens(found)
    assert (read.plain_input, read.cache_read, read.output) == (200, 600, 100)
    assert read.cache_write + read.cache_write_1h == 200
    # 200 x 3 + 600 x 0.3 + 200 x 3.75 + 100 x 15
    assert PriceTable({SONNET: PRICE}).cost(SONNET, found) == Decimal("0.00303")
    # The library knows that an hour's writes cost 6: 50 of them in the second case.
    library = Decimal("0.0031425") if more else Decimal("0.00303")
    assert PriceTable({}).cost(SONNET, found) == library


def test_what_has_no_price_of_its_own_costs_as_much_as_other_input():
    usage = USAGE | {"input_token_details": {"cache_read": 600, "cache_creation": 200}}
    plain = Price(Decimal(3), Decimal(15))
    assert PriceTable({"*": plain}).cost("a:b", usage) == Decimal("0.0045")
    assert PriceTable({"*": plain}).cost("a:b", USAGE) == Decimal("0.0045")
    # the library has no price for writes to the cache of this model
    assert PriceTable({}).cost(MINI, usage) == Decimal("0.000165")


@pytest.mark.parametrize(("tier", "cost"), [("priority", "0.000275"), ("flex", None)])
def test_a_service_tier_is_read_and_priced(tier, cost):
    usage = USAGE | {"input_token_details": {tier: 400, f"{tier}_cache_read": 600}}
    assert count_tokens(usage) == Tokens(1_000, 100, cache_read=600)
    found = PriceTable({}).cost(MINI, usage, at=NOW)
    assert found == Decimal(cost) if cost else found <= Decimal("0.000165")


def test_cached_tokens_that_a_provider_left_out_of_its_count_cost_no_less_than_nothing():
    usage = {"input_tokens": 10, "output_tokens": 0, "input_token_details": {"cache_read": 600}}
    assert count_tokens(usage).plain_input == 0
    assert PriceTable({}).cost(SONNET, usage) == Decimal("0.00018")
    assert PriceTable({SONNET: PRICE}).cost(SONNET, usage) == Decimal("0.00018")


@pytest.mark.parametrize(
    "usage",
    [{}, {"input_tokens": None}, {"input_token_details": None}, {"output_tokens": -5}],
)
def test_counts_that_are_missing_or_odd_are_zero(usage):
    assert PriceTable({}).cost(SONNET, usage) == 0


def test_the_most_exact_price_of_the_operator_holds_and_comes_before_the_library():
    def price(amount):
        return Price(Decimal(amount), Decimal(amount))

    table = PriceTable({MINI: price(1), "openai:*": price(2), "*": price(3)})
    million = {"input_tokens": 1_000_000, "output_tokens": 0}
    assert table.cost(MINI, million) == 1
    assert table.cost(" OpenAI:gpt-4o-mini ", million) == 1
    assert table.cost("openai:gpt-4o", million) == 2
    assert table.cost(SONNET, million) == 3
    assert table.quote(SONNET, at=NOW).key == "*"
    assert PriceTable({"openai:*": price(2)}).cost(SONNET, million) == 6  # over 200,000 tokens


@pytest.mark.parametrize("spec", ["scripted:plan", "ollama:qwen3:8b", "callable:mine"])
def test_what_runs_here_costs_nothing_unless_its_provider_has_a_price(spec):
    provider = spec.partition(":")[0]
    assert PriceTable({}).cost(spec, USAGE) == 0
    assert PriceTable({"*": PRICE}).cost(spec, USAGE) == 0
    assert PriceTable({"*": PRICE}).quote(spec, at=NOW).price == FREE
    assert PriceTable({f"{provider}:*": PRICE}).cost(spec, USAGE) == Decimal("0.0045")
    assert PriceTable({spec: PRICE}).cost(spec, USAGE) == Decimal("0.0045")


@pytest.mark.parametrize(
    "spec",
    [
        "openai:gpt-nonsense",
        "openai:text-embedding-3-small",  # in the library, but no model that answers
        "azure_openai:phi-4-reasoning",
        "huggingface:meta-llama/Llama-3",
        "nobody:gpt-4o",
        "openai:",
        "gpt-4o",
        "",
    ],
)
def test_an_unknown_model_has_no_price(spec):
    table = PriceTable({"anthropic:*": PRICE})
    assert table.cost(spec, USAGE) is None
    assert not table.knows(spec)
    assert table.quote(spec, at=NOW) is None


@pytest.mark.parametrize(
    "spec",
    [
        MINI,
        "azure_openai:gpt-4o",
        "bedrock_converse:us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "google-genai:gemini-2.5-flash",
        "google_anthropic_vertex:claude-opus-4-1@20250805",
        "mistralai:mistral-large-latest",
        "xai:grok-4",
        "openrouter:anthropic/claude-sonnet-4.5",
    ],
)
def test_models_are_known_by_langchains_names_of_providers(spec):
    table = PriceTable({})
    assert table.knows(spec)
    assert table.cost(spec, USAGE) > 0


def test_models_that_are_given_away_cost_nothing():
    assert PriceTable({}).cost("openrouter:openai/gpt-oss-20b:free", USAGE) == 0


def test_prices_of_the_past_hold_for_calls_of_the_past():
    def cost(year):
        return PriceTable({}).cost("openai:o3", USAGE, at=datetime(year, 1, 1, tzinfo=UTC))

    assert (cost(2025), cost(2026)) == (Decimal("0.014"), Decimal("0.0028"))


def test_a_quote_says_whose_price_it_is_and_whether_there_is_more_to_it():
    table = PriceTable({MINI: PRICE})
    assert (table.quote(MINI, at=NOW).source, table.quote(MINI, at=NOW).price) == (
        "operator",
        PRICE,
    )
    sonnet = table.quote(SONNET, at=NOW)
    assert (sonnet.source, sonnet.price, sonnet.varies) == ("library", PRICE, True)
    assert sonnet.key.endswith(": claude-sonnet-4-5")
    mistral = table.quote("mistralai:mistral-large-latest", at=NOW)
    assert mistral.varies is False
    assert table.quote("deepseek:deepseek-chat", at=NOW).varies is True  # by the hour


def test_the_librarys_names_of_providers_are_its_own():
    for name in {entry.prices for entry in PROVIDERS.values()} - {None}:
        assert find_provider_by_id(get_snapshot().providers, name).id == name


def test_the_library_is_what_came_with_the_package():
    """Anything fetched would need a connection, which the tests refuse."""
    PriceTable({}).cost(MINI, USAGE)
    assert get_snapshot().from_auto_update is False


@pytest.mark.slow
def test_the_command_line_starts_without_the_price_table():
    look = "import sys, rota.cli.main, rota.bootstrap.app; print('genai_prices' in sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", look], capture_output=True, text=True, check=True, timeout=60
    )
    assert run.stdout.strip() == "False"


counts = st.integers(0, 10**9)
tokens = st.builds(
    lambda plain, output, read, write, hour: Tokens(
        plain + read + write + hour, output, read, write, hour
    ),
    *[counts] * 5,
)
amounts = st.decimals(0, 1_000, places=6)
prices = st.builds(Price, amounts, amounts, st.none() | amounts, st.none() | amounts)


@given(prices, tokens, tokens)
def test_calls_cost_together_what_they_cost_one_by_one(price, one, other):
    both = Tokens(*(getattr(one, n) + getattr(other, n) for n in Tokens.__slots__))
    assert price.cost(both) == price.cost(one) + price.cost(other)
    assert price.cost(one) >= 0


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (" OpenAI:gpt-5-mini ", "openai:gpt-5-mini"),
        ("google-genai:*", "google_genai:*"),
        ("ollama:qwen3:8b", "ollama:qwen3:8b"),
        (" * ", "*"),
    ],
)
def test_what_a_price_is_for_is_written_in_one_form(text, key):
    assert parse_price_key(text) == key


@pytest.mark.parametrize("text", ["", "gpt-5", "openai:", ":x", "a b:c", "**", "a:" + "x" * 300])
def test_what_no_price_can_be_for_is_refused(text):
    with pytest.raises(InvalidInputError, match="provider:model"):
        parse_price_key(text)


@pytest.mark.parametrize("text", ["", "x", "-1", "NaN", "Infinity", "1e9", "1,5", "3 USD"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(InvalidInputError, match="US dollars per million"):
        parse_usd(text, "input")


def test_prices_are_read_exactly():
    assert parse_usd(" 0.075 ", "input") == Decimal("0.075")
    assert parse_usd("0", "input") == 0
