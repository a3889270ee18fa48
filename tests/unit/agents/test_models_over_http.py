"""Real clients of the providers, built as agents build them, against loopback servers."""

import socket

import pytest
from langchain.agents import create_agent
from langchain.chat_models.base import _BUILTIN_PROVIDERS
from langchain_anthropic import ChatAnthropic
from langchain_core.messages import AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

from rota.agents.models.building import ChatModels, build_chat_model
from rota.agents.models.failures import classify_model_error
from rota.agents.models.providers import PROVIDERS
from rota.domain.agents.message_content import normalize_content
from rota.domain.errors import InvalidInputError, SetupRequiredError
from rota.security.secrets.redaction import redact_text
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Fails, FailsMidStream, Hangs, Says
from tests.loopback.openai import OpenAIServer

SECRET = "sk-" + "a1B2" * 8
SPECS = {
    "chat": ("openai:gpt-4o-mini", {}, OpenAIServer),
    "responses": ("openai:gpt-4o-mini", {"use_responses_api": True}, OpenAIServer),
    "anthropic": ("anthropic:claude-sonnet-5", {}, AnthropicServer),
}
every_provider = pytest.mark.parametrize("api", SPECS)
streamed_or_not = pytest.mark.parametrize("stream", [True, False])


@tool
def mail_search(query: str) -> str:
    """Search the mailbox."""
    return f'3 messages match "{query}"'


def model_of(api, server, **settings):
    spec, more, _ = SPECS[api]
    return build_chat_model(
        spec,
        {"endpoint": "loopback", **more, **settings},
        api_keys={"loopback": SECRET},
        endpoints={"loopback": server.url},
    )


def server_of(api, *replies):
    return SPECS[api][2](*replies)


def provider_failure():
    return pytest.raises(Exception)  # noqa: PT011 -- the providers' own classes


@every_provider
@streamed_or_not
async def test_an_agent_calls_tools_and_answers(api, stream):
    calls = (("mail_search", {"query": "from:älice"}), ("mail_search", {"query": "newer_than:7d"}))
    replies = [Says("Let me look.", calls), Says("You have three messages.")]
    with server_of(api, *replies) as server:
        agent = create_agent(model_of(api, server, stream=stream), tools=[mail_search])
        state = await agent.ainvoke({"messages": [HumanMessage("Anything new?")]})
    messages = state["messages"]
    results = [message.content for message in messages if isinstance(message, ToolMessage)]
    assert results == ['3 messages match "from:älice"', '3 messages match "newer_than:7d"']
    assert normalize_content(messages[1].content) == "Let me look."
    assert normalize_content(messages[-1].content) == "You have three messages."
    assert [bool(request.body.get("stream")) for request in server.requests] == [stream, stream]
    assert "3 messages match" in str(server.requests[1].body)


@every_provider
async def test_tokens_are_counted_and_text_arrives_in_pieces(api):
    with server_of(api, Says("One two three four five six seven.")) as server:
        pieces = [chunk async for chunk in model_of(api, server).astream("Count")]
    whole = sum(pieces[1:], start=pieces[0])
    assert isinstance(whole, AIMessageChunk)
    assert normalize_content(whole.content) == "One two three four five six seven."
    assert len([piece for piece in pieces if normalize_content(piece.content)]) > 3
    assert whole.usage_metadata is not None
    assert whole.usage_metadata["input_tokens"] == 11


@every_provider
@streamed_or_not
def test_output_cut_by_the_models_limit_says_so(api, stream):
    with server_of(api, Says("An answer that is cut o", cut=True)) as server:
        message = model_of(api, server, stream=stream).invoke("Go on")
    about = message.response_metadata
    reason = about.get("finish_reason") or about.get("stop_reason")
    if api == "responses":
        reason = about["incomplete_details"]["reason"]
    assert reason in {"length", "max_tokens", "max_output_tokens"}


@streamed_or_not
def test_anthropic_thinking_and_citations_become_readable_text(stream):
    source = {
        "type": "web_search_result_location",
        "url": "https://example.org/rain",
        "title": "Rain",
        "cited_text": "it rained",
        "encrypted_index": "x",
    }
    blocks = (
        {"type": "thinking", "thinking": "Where did it rain?", "signature": "c2ln"},
        {
            "type": "server_tool_use",
            "id": "srv_1",
            "name": "web_search",
            "input": {"query": "rain"},
        },
        {"type": "text", "text": "I looked."},
        {"type": "text", "text": "It rained", "citations": [source]},
        {"type": "text", "text": " in Berlin."},
    )
    with AnthropicServer(Says(blocks=blocks)) as server:
        model = model_of("anthropic", server, stream=stream)
        web_search = {"type": "web_search_20250305", "name": "web_search"}
        message = model.bind_tools([web_search]).invoke("Did it rain?")
    said = normalize_content(message.content)
    assert said.endswith("It rained in Berlin.\n\nSources:\n1. Rain (https://example.org/rain)")
    assert "Where did it rain" not in said
    assert said == normalize_content(message.content_blocks)


@streamed_or_not
def test_openai_reasoning_and_annotations_become_readable_text(stream):
    source = {
        "type": "url_citation",
        "url": "https://example.org/rain",
        "title": "Rain",
        "start_index": 0,
        "end_index": 9,
    }
    blocks = (
        {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "Hm."}]},
        {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": None},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "It rained.", "annotations": [source]}],
        },
    )
    with OpenAIServer(Says(blocks=blocks)) as server:
        message = model_of("responses", server, stream=stream).invoke("Did it rain?")
    said = "It rained.\n\nSources:\n1. Rain (https://example.org/rain)"
    assert normalize_content(message.content) == said
    assert normalize_content(message.content_blocks) == said


@every_provider
def test_the_key_of_an_endpoint_is_its_own(api):
    spec, more, _ = SPECS[api]
    with server_of(api, Says("Hi"), Says("Hi")) as server:
        for keys in ({"loopback": SECRET}, {"openai": "sk-other", "anthropic": "sk-other"}):
            build_chat_model(
                spec,
                {"endpoint": "loopback", **more},
                api_keys=keys,
                endpoints={"loopback": server.url},
            ).invoke("Hello")
    sent = [r.headers.get("x-api-key") or r.headers["authorization"] for r in server.requests]
    assert [key.removeprefix("Bearer ") for key in sent] == [SECRET, "none"]


@every_provider
def test_settings_reach_the_provider(api):
    with server_of(api, Says("Hi")) as server:
        model_of(api, server, temperature=0.5, max_tokens=77).invoke("Hello")
    body = server.requests[0].body
    limits = ("max_tokens", "max_completion_tokens", "max_output_tokens")
    assert [body[name] for name in limits if name in body] == [77]
    assert body["temperature"] == 0.5


FAILURES = [
    (Fails(401, "authentication_error", f"Incorrect key {SECRET}"), "authentication", None),
    (Fails(403, "permission_error"), "authentication", None),
    (Fails(402, "billing_error"), "quota", None),
    (Fails(404, "not_found_error", "no such model"), "not_found", None),
    (Fails(409, "conflict_error"), "unavailable", None),
    (Fails(400, "invalid_request_error", "bad tool"), "bad_request", None),
    (Fails(429, "rate_limit_error", headers={"retry-after": "17"}), "rate_limit", 17.0),
    (Fails(429, "rate_limit_error", headers={"retry-after-ms": "1500"}), "rate_limit", 1.5),
    (Fails(429, "rate_limit_error", headers={"retry-after": "soon"}), "rate_limit", None),
    (Fails(429, "rate_limit_error", headers={"retry-after": "inf"}), "rate_limit", None),
    (Fails(429, "insufficient_quota", code="insufficient_quota"), "quota", None),
    (Fails(500, "api_error"), "unavailable", None),
    (Fails(503, "server_error", headers={"retry-after": "3"}), "unavailable", 3.0),
    (Fails(529, "overloaded_error", "Overloaded"), "unavailable", None),
]


@pytest.mark.slow
@every_provider
@pytest.mark.parametrize(("failure", "kind", "retry_after"), FAILURES)
async def test_failures_are_told_apart_and_show_no_key(api, failure, kind, retry_after):
    with server_of(api, failure) as server, provider_failure() as caught:
        await model_of(api, server).ainvoke("Hello")
    told = classify_model_error(caught.value)
    assert (told.kind, told.retry_after) == (kind, retry_after)
    assert f"(HTTP {failure.status})" in told.message
    assert told.message.endswith(".")
    assert SECRET not in told.message
    assert len(server.requests) == 1


@pytest.mark.parametrize("api", ["chat", "responses"])
def test_a_model_that_one_may_not_use_is_not_a_bad_key(api):
    failure = Fails(403, "invalid_request_error", "no access", "model_not_found")
    with server_of(api, failure) as server, provider_failure() as caught:
        model_of(api, server).invoke("Hello")
    assert classify_model_error(caught.value).kind == "not_found"


def test_a_failure_of_aws_is_known_by_where_botocore_keeps_its_status():
    error = Exception("Too many requests")
    error.response = {
        "Error": {"Code": "ThrottlingException", "Message": "Too many requests"},
        "ResponseMetadata": {"HTTPStatusCode": 429, "HTTPHeaders": {"retry-after": "3"}},
    }
    told = classify_model_error(error)
    assert (told.kind, told.retry_after, told.worth_retrying) == ("rate_limit", 3.0, True)


@every_provider
def test_retry_after_as_a_date_counts_from_the_answers_own_clock(api):
    headers = {"retry-after": "Wed, 01 Jul 2099 12:00:00 GMT"}
    with (
        server_of(api, Fails(429, "rate_limit_error", headers=headers)) as server,
        provider_failure() as caught,
    ):
        model_of(api, server).invoke("Hello")
    wait = classify_model_error(caught.value).retry_after
    assert wait is not None
    assert wait > 365 * 86_400


TOO_LONG = {
    "chat": Fails(400, "invalid_request_error", "too many tokens", "context_length_exceeded"),
    "responses": Fails(400, "invalid_request_error", "too many tokens", "context_length_exceeded"),
    "anthropic": Fails(400, "invalid_request_error", "prompt is too long: 201 tokens > 200"),
}


@every_provider
def test_a_conversation_that_is_too_long_is_its_own_kind(api):
    with server_of(api, TOO_LONG[api], Fails(413, "request_too_large")) as server:
        model = model_of(api, server)
        for _ in range(2):
            with provider_failure() as caught:
                model.invoke("Hello")
            assert classify_model_error(caught.value).kind == "context_length"


@pytest.mark.slow
@every_provider
@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("overloaded_error", "unavailable"),
        ("server_error", "unavailable"),
        ("rate_limit_error", "rate_limit"),
        ("rate_limit_exceeded", "rate_limit"),
    ],
)
async def test_an_error_in_the_middle_of_a_stream_is_told_apart_too(api, error, kind):
    with server_of(api, FailsMidStream(error)) as server, provider_failure() as caught:
        await model_of(api, server, stream=True).ainvoke("Hello")
    assert classify_model_error(caught.value).kind == kind


@every_provider
async def test_silence_is_a_timeout(api):
    with server_of(api, Hangs()) as server, provider_failure() as caught:
        await model_of(api, server, timeout=0.2).ainvoke("Hello")
    assert classify_model_error(caught.value).kind == "timeout"


@pytest.fixture
def closed_port():
    with socket.socket() as held:  # bound, but nobody listens: nobody else can take it meanwhile
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.mark.parametrize(
    "spec", ["openai:gpt-4o-mini", "anthropic:claude-sonnet-5", "ollama:qwen3:8b"]
)
def test_nobody_there_is_unavailable(spec, closed_port):
    model = build_chat_model(
        spec,
        {"endpoint": "gone"},
        api_keys={},
        endpoints={"gone": f"http://127.0.0.1:{closed_port}"},
    )
    with provider_failure() as caught:
        model.invoke("Hello")
    assert classify_model_error(caught.value).kind == "unavailable"


def test_other_errors_are_other_and_lose_their_secrets():
    told = classify_model_error(KeyError(f"Bearer {SECRET}"))
    assert told.kind == "other"
    assert SECRET not in told.message
    assert classify_model_error(TimeoutError()).kind == "timeout"
    assert classify_model_error(InvalidInputError("A sentence.")).message == "A sentence."


def test_the_cause_is_asked_where_the_error_itself_says_nothing():
    error = RuntimeError("the agent failed")
    error.__cause__ = ConnectionRefusedError("refused")
    error.__cause__.__cause__ = error
    assert classify_model_error(error).kind == "unavailable"


@pytest.mark.parametrize(
    ("spec", "settings", "sentence"),
    [
        ("claude-sonnet-5-5", {}, "is not of the form provider:model"),
        ("anthropic:", {}, "is not of the form provider:model"),
        ("anthropics:claude", {}, "There is no model provider 'anthropics' (perhaps anthropic)"),
        ("os.system:x", {}, "there are anthropic, anthropic_bedrock"),
        ("openai:gpt", {"base_url": "http://evil"}, "name an endpoint"),
        ("openai:gpt", {"endpoint": "unknown"}, "the operator has registered: local."),
        ("openai:gpt", {"api_key": "sk"}, "have no setting 'api_key'; there are: endpoint, max_"),
        ("openai:gpt", {"thinking": {}}, "Models of openai have no setting 'thinking'"),
        (
            "ollama:qwen3",
            {"seed": 1, "thinking": {}},
            "Models of ollama have no setting 'thinking'",
        ),
        ("groq:llama", {"reasoning": {}}, "Models of groq have no setting 'reasoning'"),
        ("scripted:plan", {"temperature": 1}, "have no setting 'temperature'; there are: none."),
        ("scripted:plan", {}, "needs a script"),
        ("openai:gpt", {"temperature": "hot"}, "model_settings.temperature: this is a number"),
        ("openai:gpt", {"max_tokens": 0}, "model_settings.max_tokens: this is 1 or more"),
        ("openai:gpt", {"stream": "yes"}, "model_settings.stream: this is true or false"),
    ],
)
def test_what_a_row_cannot_say_is_refused_with_a_sentence(spec, settings, sentence):
    with pytest.raises(InvalidInputError) as caught:
        build_chat_model(
            spec, settings, api_keys={"openai": SECRET}, endpoints={"local": "http://127.0.0.1:1"}
        )
    assert sentence in caught.value.message
    assert caught.value.field


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("anthropic:claude-sonnet-5", "Set ANTHROPIC_API_KEY"),
        ("openai:gpt-5-mini", "Set OPENAI_API_KEY"),
        ("groq:llama", "pip install langchain-groq"),
        ("google-genai:gemini", "pip install langchain-google-genai"),
    ],
)
def test_what_is_missing_is_named(spec, sentence, monkeypatch):
    monkeypatch.setenv("ANTHROPIC_API_KEY", "of the process, not passed in")
    with pytest.raises(SetupRequiredError) as caught:
        build_chat_model(spec, {}, api_keys={}, endpoints={})
    assert sentence in caught.value.message
    assert redact_text(caught.value.message) == caught.value.message


def test_providers_are_those_of_init_chat_model():
    assert {name: entry.module for name, entry in PROVIDERS.items()} == {
        name: module.split(".")[0] for name, (module, _, _) in _BUILTIN_PROVIDERS.items()
    }


def test_each_provider_gets_its_own_client_and_keys_stay_out_of_its_repr():
    def built(spec, **settings):
        keys = {"openai": SECRET, "anthropic": SECRET}
        model = build_chat_model(spec, settings, api_keys=keys, endpoints={})
        assert SECRET not in repr(model)
        return model

    assert isinstance(built("anthropic:claude-sonnet-5"), ChatAnthropic)
    assert isinstance(built(" OpenAI:gpt-5-mini"), ChatOpenAI)
    ollama = built("ollama:qwen3:8b", max_tokens=5, timeout=9.0)
    assert isinstance(ollama, ChatOllama)
    assert (ollama.model, ollama.num_predict) == ("qwen3:8b", 5)
    assert SECRET not in repr(ChatModels(api_keys={"openai": SECRET}))
