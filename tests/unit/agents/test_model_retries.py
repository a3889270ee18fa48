"""Retries and fallbacks, with the providers' real clients against loopback servers.

Nothing waits: what would be slept is written down, and chance is fixed.
"""

import asyncio
import json
import socket
from dataclasses import asdict
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import AzureChatOpenAI

from rota.agents.models.building import ChatModels, build_chat_model, retry_policy, with_model
from rota.agents.models.failures import (
    TRANSIENT,
    ModelCallError,
    ModelFailure,
    classify_model_error,
)
from rota.agents.models.retries import call_models
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.agents.retries import RetryPolicy, wait_before_retry
from rota.domain.errors import InvalidInputError, RotaError, SetupRequiredError
from rota.domain.ids import AgentId
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Drops, Fails, FailsMidStream, Hangs, Says
from tests.loopback.openai import OpenAIServer

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "sk-" + "a1B2" * 8
OPENAI, ANTHROPIC = "openai:gpt-5-mini", "anthropic:claude-sonnet-5"
SERVERS = {OPENAI: OpenAIServer, ANTHROPIC: AnthropicServer}
every_provider = pytest.mark.parametrize("spec", [OPENAI, ANTHROPIC])

LIMITED = Fails(429, "rate_limit_error", "Too many requests")
NO_QUOTA = Fails(429, "insufficient_quota", "You exceeded your quota", "insufficient_quota")
NO_CREDIT = Fails(400, "invalid_request_error", "Your credit balance is too low to access the API.")
SPENT = Fails(400, "invalid_request_error", "You have reached your specified API usage limits.")
TOO_LONG = Fails(400, "invalid_request_error", "prompt is too long", "context_length_exceeded")
BLOCKED = Fails(400, "invalid_request_error", "Output blocked by content filtering policy")
FLAGGED = Fails(400, "invalid_request_error", "Your prompt was flagged", "invalid_prompt")
FILTERED = Fails(400, "invalid_request_error", "Filtered", "content_filter")


class Calls:
    """Calls models as a run would, and notes each failed attempt and each wait."""

    def __init__(self, chance=0.5):
        self.attempts = []
        self.waits = []
        self.chance = chance

    async def failed(self, attempt):
        self.attempts.append(attempt)

    async def sleep(self, seconds):
        self.waits.append(seconds)

    async def __call__(self, models, *, policy=None, call=None):
        async def ask(_name, model):
            return (await model.ainvoke("Hello")).text

        return await call_models(
            models,
            call or ask,
            policy=policy or RetryPolicy(),
            failed=self.failed,
            sleep=self.sleep,
            random=lambda: self.chance,
        )

    @property
    def kinds(self):
        return [attempt.kind for attempt in self.attempts]


def model_at(server, spec, **settings):
    name = spec.partition(":")[0]
    return spec, build_chat_model(
        spec,
        {"endpoint": name, **settings},
        api_keys={name: SECRET},
        endpoints={name: server.url},
    )


@pytest.fixture
def closed_port():
    with socket.socket() as held:  # bound, but nobody listens: nobody else can take it meanwhile
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.slow
@every_provider
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (LIMITED, "rate_limit"),
        (Fails(408, "timeout_error"), "timeout"),
        (Fails(500, "api_error"), "unavailable"),
        (Fails(502, "server_error"), "unavailable"),
        (Fails(503, "server_error"), "unavailable"),
        (Fails(504, "server_error"), "unavailable"),
        (Fails(529, "overloaded_error", "Overloaded"), "unavailable"),
        (Drops(), "unavailable"),
    ],
)
async def test_what_passes_is_tried_again_and_each_attempt_is_ours(spec, reply, kind):
    calls = Calls()
    with SERVERS[spec](reply, reply, Says("At last")) as server:
        assert await calls([model_at(server, spec)]) == "At last"
    assert len(server.requests) == 3
    assert calls.kinds == [kind, kind]
    assert calls.waits == [0.5, 1.0]
    assert [attempt.waited for attempt in calls.attempts] == calls.waits


@every_provider
async def test_a_failure_in_the_middle_of_a_stream_is_tried_again(spec):
    calls = Calls()
    with SERVERS[spec](FailsMidStream("overloaded_error"), Says("Whole")) as server:
        assert await calls([model_at(server, spec, stream=True)]) == "Whole"
    assert (len(server.requests), calls.kinds) == (2, ["unavailable"])


@every_provider
async def test_silence_is_given_up_and_tried_again(spec):
    calls = Calls()
    with SERVERS[spec](Hangs(), Says("Awake")) as server:
        # It holds for the second answer too, which a busy machine takes its time for.
        assert await calls([model_at(server, spec, timeout=2.0)]) == "Awake"
    assert (len(server.requests), calls.kinds) == (2, ["timeout"])


@pytest.mark.parametrize("spec", [OPENAI, ANTHROPIC, "ollama:qwen3"])
async def test_a_refused_connection_is_tried_again_until_the_retries_are_used_up(spec, closed_port):
    calls = Calls()
    model = build_chat_model(
        spec, {"endpoint": "x"}, api_keys={}, endpoints={"x": f"http://127.0.0.1:{closed_port}"}
    )
    with pytest.raises(ModelCallError) as caught:
        await calls([(spec, model)], policy=RetryPolicy(max_retries=2))
    assert calls.kinds == ["unavailable"] * 3
    assert calls.attempts[-1].waited is None
    assert f"Tried: 3 attempts of {spec}." in str(caught.value)


NOT_WORTH_IT = [  # by what OpenAI's server says; Anthropic's has no codes
    (Fails(401, "authentication_error", f"Incorrect key {SECRET}"), "authentication"),
    (Fails(403, "permission_error"), "authentication"),
    (Fails(404, "not_found_error", "no such model"), "not_found"),
    (Fails(400, "invalid_request_error", "bad tool"), "bad_request"),
    (Fails(422, "unprocessable_entity"), "bad_request"),
    (NO_QUOTA, "quota"),
    (NO_CREDIT, "quota"),
    (SPENT, "quota"),
    (Fails(402, "billing_error"), "quota"),
    (BLOCKED, "policy"),
    (FLAGGED, "policy"),
    (FILTERED, "policy"),
    (TOO_LONG, "context_length"),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spec", "reply", "kind"),
    [(OPENAI, reply, kind) for reply, kind in NOT_WORTH_IT]
    + [(ANTHROPIC, reply, kind) for reply, kind in NOT_WORTH_IT if reply.code is None],
)
async def test_what_does_not_pass_is_tried_once(spec, reply, kind):
    calls = Calls()
    with (
        SERVERS[spec](reply, Says("never asked")) as server,
        pytest.raises(ModelCallError) as caught,
    ):
        await calls([model_at(server, spec)])
    assert (len(server.requests), calls.kinds, calls.waits) == (1, [kind], [])
    assert str(caught.value).endswith(f"Tried: 1 attempt of {spec}.")
    assert SECRET not in str(caught.value)
    assert SECRET not in json.dumps([asdict(attempt) for attempt in calls.attempts])


async def test_a_refusal_in_the_middle_of_a_stream_is_one_too():
    calls = Calls()
    reply = FailsMidStream("invalid_request_error", BLOCKED.message)
    with AnthropicServer(reply) as server, pytest.raises(ModelCallError):
        await calls([model_at(server, ANTHROPIC, stream=True)])
    assert calls.kinds == ["policy"]


@every_provider
async def test_a_server_that_says_not_to_come_back_is_heard(spec):
    calls = Calls()
    reply = Fails(500, "api_error", headers={"x-should-retry": "false"})
    with SERVERS[spec](reply) as server, pytest.raises(ModelCallError):
        await calls([model_at(server, spec)])
    assert len(server.requests) == 1


@every_provider
@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "17"}, 17.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "Fri, 31 Dec 1999 23:59:59 GMT"}, 0.0),
    ],
)
async def test_the_wait_is_at_least_what_the_provider_asks_for(spec, headers, seconds):
    calls = Calls()
    replies = [Fails(429, "rate_limit_error", headers=headers), Says("Now")]
    with SERVERS[spec](*replies) as server:
        assert await calls([model_at(server, spec)]) == "Now"
    assert calls.waits == [seconds + 0.5]


@pytest.mark.parametrize(
    ("seconds", "sentence"),
    [
        ("301", "may be tried again in 6 minutes."),
        ("4000.5", "may be tried again in 67 minutes."),
        ("10800", "may be tried again in 3 hours."),
        ("200000", "may be tried again in 3 days."),
    ],
)
async def test_who_asks_for_too_long_is_not_waited_for(seconds, sentence):
    calls = Calls()
    reply = Fails(429, "rate_limit_error", headers={"retry-after": seconds})
    with OpenAIServer(reply) as server, pytest.raises(ModelCallError) as caught:
        await calls([model_at(server, OPENAI)])
    assert (len(server.requests), calls.waits) == (1, [])
    assert sentence in str(caught.value)
    assert caught.value.failure.retry_after == float(seconds)


@pytest.mark.parametrize(
    "reply",
    [
        Fails(429, "rate_limit_error", headers={"retry-after": "3600"}),
        *(reply for reply, kind in NOT_WORTH_IT if kind not in {"bad_request", "policy"}),
    ],
)
async def test_another_model_is_asked_at_once_where_it_may_do_better(reply):
    calls = Calls()
    with OpenAIServer(reply) as first, AnthropicServer(Says("I can")) as second:
        models = [model_at(first, OPENAI), model_at(second, ANTHROPIC)]
        assert await calls(models) == "I can"
    assert (len(first.requests), calls.waits) == (1, [])
    assert [attempt.model for attempt in calls.attempts] == [OPENAI]


@pytest.mark.parametrize(
    "reply", [reply for reply, kind in NOT_WORTH_IT if kind in {"bad_request", "policy"}]
)
async def test_what_was_refused_is_not_put_to_another_model(reply):
    calls = Calls()
    with OpenAIServer(reply) as first, AnthropicServer(Says("never asked")) as second:
        models = [model_at(first, OPENAI), model_at(second, ANTHROPIC)]
        with pytest.raises(ModelCallError):
            await calls(models)
    assert (len(first.requests), len(second.requests)) == (1, 0)


async def test_another_model_is_asked_after_the_retries_and_has_its_own():
    calls = Calls()
    with (
        OpenAIServer(LIMITED, LIMITED, LIMITED) as first,
        AnthropicServer(Fails(529, "overloaded_error"), Says("I can")) as second,
    ):
        models = [model_at(first, OPENAI), model_at(second, ANTHROPIC)]
        assert await calls(models, policy=RetryPolicy(max_retries=2)) == "I can"
    assert [(a.model, a.kind, a.waited) for a in calls.attempts] == [
        (OPENAI, "rate_limit", 0.5),
        (OPENAI, "rate_limit", 1.0),
        (OPENAI, "rate_limit", None),
        (ANTHROPIC, "unavailable", 0.5),
    ]


THOUGHT = {"type": "thinking", "thinking": "Where?", "signature": "c2ln"}
REASONED = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "Where?"}],
}


@pytest.mark.parametrize(
    ("first", "settings", "thought", "second"),
    [
        (OPENAI, {"use_responses_api": True}, (REASONED,), ANTHROPIC),
        (OPENAI, {}, (), ANTHROPIC),
        (ANTHROPIC, {}, (THOUGHT,), OPENAI),
    ],
)
async def test_a_conversation_goes_on_with_another_provider(first, settings, thought, second):
    """Its tool calls and their answers go over; what only the first can read stays behind."""

    @tool
    def mail_search(query: str) -> str:
        """Search the mailbox."""
        return query

    said = Says("Let me look.", (("mail_search", {"query": "from:al"}),), thought)
    calls = Calls()
    with SERVERS[first](said, NO_QUOTA) as one, SERVERS[second](Says("Two mails.")) as other:
        models = [model_at(one, first, **settings), model_at(other, second)]
        asked = HumanMessage("Anything new?")
        answer = await models[0][1].bind_tools([mail_search]).ainvoke([asked])
        found = ToolMessage("2 messages", tool_call_id=answer.tool_calls[0]["id"])

        async def go_on(_name, model):
            return (await model.bind_tools([mail_search]).ainvoke([asked, answer, found])).text

        assert await calls(models, call=go_on) == "Two mails."
    sent = json.dumps(other.requests[0].body)
    assert all(word in sent for word in ("Let me look.", "from:al", "2 messages"))
    assert "Where?" not in sent
    assert calls.kinds == ["quota"]


async def test_when_all_fail_the_last_error_says_what_was_tried():
    calls = Calls()
    with (
        OpenAIServer(LIMITED, LIMITED, LIMITED) as first,
        AnthropicServer(Fails(401, "authentication_error", f"bad key {SECRET}")) as second,
    ):
        models = [model_at(first, OPENAI), model_at(second, ANTHROPIC)]
        with pytest.raises(ModelCallError) as caught:
            await calls(models, policy=RetryPolicy(max_retries=2))
    error = caught.value
    assert str(error) == (
        f"{ANTHROPIC}: The model provider refused the API key (HTTP 401): bad key [redacted]. "
        f"Tried: 3 attempts of {OPENAI}, 1 of {ANTHROPIC}."
    )
    assert error.failure.kind == "authentication"
    assert classify_model_error(error) == error.failure
    assert classify_model_error(error.__cause__).kind == "authentication"


async def test_each_attempt_is_told_before_its_wait():
    order = []

    async def sleep(seconds):
        order.append(f"slept {seconds}")

    async def failed(attempt):
        order.append(f"told {attempt.waited}")

    with OpenAIServer(LIMITED, Says("Hi")) as server:
        name, model = model_at(server, OPENAI)
        await call_models(
            [(name, model)],
            lambda _name, model: model.ainvoke("Hello"),
            policy=RetryPolicy(),
            failed=failed,
            sleep=sleep,
            random=lambda: 0.25,
        )
    assert order == ["told 0.25", "slept 0.25"]


@pytest.mark.parametrize(
    "error",
    [
        RotaError("Our own."),
        SetupRequiredError("No key.", what="model_key"),
        asyncio.CancelledError(),
    ],
)
async def test_errors_of_our_own_and_cancellation_pass_untouched(error):
    calls = Calls()

    async def call(_name, _model):
        raise error

    with pytest.raises(type(error)) as caught:
        await calls([("a:b", None), ("c:d", None)], call=call)
    assert caught.value is error
    assert calls.attempts == []


async def test_an_error_that_nobody_knows_passes_after_it_was_told():
    calls = Calls()
    error = KeyError("a fault in a middleware")

    async def call(_name, _model):
        raise error

    with pytest.raises(KeyError) as caught:
        await calls([("a:b", None), ("c:d", None)], call=call)
    assert caught.value is error
    assert [(a.model, a.kind) for a in calls.attempts] == [("a:b", "other")]


async def test_an_error_while_telling_ends_the_call():
    async def fenced(_attempt):
        raise RotaError("Another attempt has taken the run.")

    with OpenAIServer(LIMITED, Says("never asked")) as server:
        name, model = model_at(server, OPENAI)
        with pytest.raises(RotaError, match="taken the run"):
            await call_models(
                [(name, model)],
                lambda _name, model: model.ainvoke("Hello"),
                policy=RetryPolicy(),
                failed=fenced,
                random=lambda: 0.0,
            )
    assert len(server.requests) == 1


async def test_cancelling_ends_the_wait():
    waiting = asyncio.Event()

    async def failed(_attempt):
        waiting.set()

    async def call(_name, _model):
        raise TimeoutError

    task = asyncio.create_task(
        call_models(
            [("a:b", None)],
            call,
            policy=RetryPolicy(first_delay=3600, max_delay=3600),
            failed=failed,
            random=lambda: 0.9,
        )
    )
    await waiting.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_no_model_is_a_mistake_of_the_caller():
    with pytest.raises(ValueError, match="no model"):
        await Calls()([])


policies = st.builds(
    RetryPolicy,
    max_retries=st.integers(0, 2_000),
    first_delay=st.floats(0, 1_000),
    max_delay=st.floats(0, 10_000),
    longest_retry_after=st.floats(0, 100_000),
)
chances = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(0, 2_000), st.none() | st.floats(0, 1e9), chances)
def test_waits_keep_their_bounds(policy, retries, retry_after, chance):
    wait = wait_before_retry(policy, retries, retry_after=retry_after, chance=chance)
    too_long = retry_after is not None and retry_after > policy.longest_retry_after
    assert (wait is None) == (retries >= policy.max_retries or too_long)
    if wait is not None:
        least = retry_after or 0.0
        assert least <= wait <= least + policy.max_delay
        assert wait <= least + policy.first_delay * 2.0 ** min(retries, 900)


@given(policies, st.integers(0, 100), chances, chances)
def test_the_bound_grows_with_retries_up_to_the_cap_and_the_wait_with_chance(
    policy, retries, chance, other
):
    def wait(retries, chance):
        kept = RetryPolicy(10_000, policy.first_delay, policy.max_delay)
        return wait_before_retry(kept, retries, retry_after=None, chance=chance)

    assert wait(retries, chance) <= wait(retries + 1, chance)
    low, high = sorted((chance, other))
    assert wait(retries, low) <= wait(retries, high)
    assert wait(5_000, chance) == chance * policy.max_delay or policy.first_delay < 1e-12


def test_what_is_worth_a_retry_is_worth_another_model():
    assert all(ModelFailure(kind, "").worth_another_model for kind in TRANSIENT)


def test_the_count_of_retries_is_that_of_the_row():
    assert retry_policy({}) == RetryPolicy()
    assert retry_policy({"max_retries": None}) == RetryPolicy()
    assert retry_policy({"max_retries": 0, "timeout": 5.0}) == RetryPolicy(max_retries=0)
    assert retry_policy({"max_retries": 7}).max_retries == 7


@pytest.mark.parametrize("spec", [OPENAI, ANTHROPIC])
def test_clients_do_not_retry_whatever_the_row_says(spec):
    name = spec.partition(":")[0]
    model = build_chat_model(spec, {"max_retries": 5}, api_keys={name: SECRET}, endpoints={})
    client = model._client if spec == ANTHROPIC else model.root_async_client
    assert (model.max_retries, client.max_retries) == (0, 0)


def test_azures_client_does_not_retry_either(monkeypatch):
    monkeypatch.setenv("OPENAI_API_VERSION", "2026-01-01")
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", "http://127.0.0.1:1")
    model = build_chat_model(
        "azure_openai:gpt-5", {"max_retries": 2}, api_keys={"azure_openai": SECRET}, endpoints={}
    )
    assert isinstance(model, AzureChatOpenAI)
    assert model.root_async_client.max_retries == 0


def test_ollama_takes_a_count_of_retries_though_its_client_knows_none():
    model = build_chat_model("ollama:qwen3", {"max_retries": 2}, api_keys={}, endpoints={})
    assert not hasattr(model, "max_retries")


KEYS = {"openai": SECRET, "anthropic": SECRET}
RICH = {
    "temperature": 0.2,
    "top_p": 0.9,
    "max_tokens": 77,
    "timeout": 9.0,
    "max_retries": 1,
    "stream": False,
    "seed": 3,
    "reasoning_effort": "low",
    "use_responses_api": True,
    "endpoint": "house",
}


def configuration(model, *fallbacks, script=None, **settings):
    return AgentConfiguration(
        id=AgentId(None),
        user_id=None,
        agent_name="a",
        description="",
        model=model,
        model_settings=settings,
        system_prompt="",
        script=script,
        max_steps=5,
        fallback_models=fallbacks,
    )


def built_models(specs, settings, *, api_keys, endpoints=None):
    models = ChatModels(endpoints=endpoints or {}, api_keys=api_keys)
    return models(configuration(*specs, **settings), NOW)


def test_a_fallback_of_the_same_provider_takes_all_settings_and_the_endpoint():
    built = built_models(
        [OPENAI, "openai:gpt-5"],
        RICH,
        api_keys={"house": "key of the house"},
        endpoints={"house": "http://127.0.0.1:1/v1"},
    )
    assert [name for name, _ in built.models] == [OPENAI, "openai:gpt-5"]
    other = built.models[1][1]
    assert (other.model_name, other.seed, other.openai_api_base) == (
        "gpt-5",
        3,
        "http://127.0.0.1:1/v1",
    )


async def test_a_fallback_of_another_provider_takes_what_any_model_has():
    with AnthropicServer(Says("Hi")) as server:
        built = built_models(
            [OPENAI, ANTHROPIC, "ollama:qwen3"],
            RICH,
            api_keys=KEYS,
            endpoints={"house": server.url},
        )
        assert built.warnings == []
        (_, claude), (_, ollama) = built.models[1:]
        assert claude.anthropic_api_url == "https://api.anthropic.com"
        claude._async_client.base_url = server.url
        await claude.ainvoke("Hello")
    sent = server.requests[0].body
    assert {name: sent[name] for name in ("temperature", "max_tokens")} == {
        "temperature": 0.2,
        "max_tokens": 77,
    }
    assert not {"top_p", "reasoning_effort", "seed", "thinking", "output_config"} & set(sent)
    assert (ollama.num_predict, ollama.seed) == (77, None)


def test_a_temperature_that_not_all_providers_take_stays_behind():
    built = built_models(["openai:gpt-4o-mini", ANTHROPIC], {"temperature": 1.5}, api_keys=KEYS)
    assert (built.models[0][1].temperature, built.models[1][1].temperature) == (1.5, None)


def test_a_fallback_without_key_or_package_is_left_out_with_a_warning():
    built = built_models([OPENAI, ANTHROPIC, "groq:llama"], {}, api_keys={"openai": SECRET})
    assert [name for name, _ in built.models] == [OPENAI]
    no_key, no_package = built.warnings
    assert no_key == (
        f"The model {ANTHROPIC} was left out. Models of anthropic need an API key. Set "
        "ANTHROPIC_API_KEY, for example in ~/.config/rota/.env, then start rota again."
    )
    assert no_package.startswith("The model groq:llama was left out. Models of groq need a package")


def test_a_fallback_steps_in_for_a_model_without_key():
    built = built_models([OPENAI, ANTHROPIC], {}, api_keys={"anthropic": SECRET})
    assert [name for name, _ in built.models] == [ANTHROPIC]
    assert len(built.warnings) == 1


def test_where_none_is_left_the_first_says_what_it_lacks():
    with pytest.raises(SetupRequiredError, match="OPENAI_API_KEY"):
        built_models([OPENAI, ANTHROPIC], {}, api_keys={})


def test_a_fallback_that_no_row_may_name_is_refused():
    with pytest.raises(InvalidInputError, match="provider:model"):
        built_models([OPENAI, "gpt-4"], {}, api_keys=KEYS)
    with pytest.raises(InvalidInputError, match="needs a script"):
        built_models([OPENAI, "scripted:plan"], {}, api_keys=KEYS)


def test_the_same_model_twice_is_one():
    built = built_models([OPENAI, OPENAI], {}, api_keys=KEYS)
    assert len(built.models) == 1


def test_a_configuration_is_built_with_its_fallbacks():
    built = ChatModels(api_keys=KEYS)(
        configuration("scripted:plan", OPENAI, script={"answer": "Hi"}), NOW
    )
    assert [name for name, _ in built.models] == ["scripted:plan", OPENAI]


def test_another_model_takes_no_fallback_away_from_its_endpoint():
    at_home = configuration("openai:llama", "openai:llama-small", "ollama:qwen3", endpoint="house")

    chosen = with_model(at_home, ANTHROPIC)
    of_the_same_provider = with_model(at_home, "openai:llama-large")

    assert (chosen.model, chosen.fallback_models) == (ANTHROPIC, ("ollama:qwen3",))
    assert "endpoint" not in chosen.model_settings
    assert of_the_same_provider.fallback_models == at_home.fallback_models
    assert of_the_same_provider.model_settings == {"endpoint": "house"}
