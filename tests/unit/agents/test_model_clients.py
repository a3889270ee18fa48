"""Clients of models are each used on the loop that they belong to."""

from __future__ import annotations

import asyncio
import gc
import warnings
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from rota.agents.models.building import ChatModels
from rota.agents.models.failures import classify_model_error
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.ids import AgentId
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import Says
from tests.loopback.openai import OpenAIServer

APIS = {
    "chat": ("openai:gpt-4o-mini", {}, OpenAIServer),
    "responses": ("openai:gpt-4o-mini", {"use_responses_api": True}, OpenAIServer),
    "anthropic": ("anthropic:claude-sonnet-5", {}, AnthropicServer),
}
every_api = pytest.mark.parametrize("api", APIS)
streamed_or_not = pytest.mark.parametrize("stream", [True, False])


def served(api, *texts):
    server = APIS[api][2](*map(Says, texts))
    server.keeps_connections = True
    return server


def model_of(models, api, **settings):
    spec, more, _ = APIS[api]
    configuration = AgentConfiguration(
        AgentId(None), None, "a", "", spec, {"endpoint": "local", **more, **settings}, "", None, 5
    )
    return models(configuration, datetime.now(UTC)).models[0][1]


@contextmanager
def leaving_connections_open():
    """As a loop that was given up does: nobody closes what was open on it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
        gc.collect()


def models_of(server):
    return ChatModels(endpoints={"local": server.url})


@every_api
@streamed_or_not
def test_model_works_on_a_loop_after_another_one_was_closed(api, stream):
    """A connection that is kept alive is one of the loop that opened it."""

    async def ask(models, *, closing):
        answer = await model_of(models, api, stream=stream).ainvoke("Hello")
        if closing:
            await models.clients.close()
        return answer.text

    with served(api, "one", "two", "three") as server, leaving_connections_open():
        assert asyncio.run(ask(models_of(server), closing=False)) == "one"
        models = models_of(server)
        assert asyncio.run(ask(models, closing=False)) == "two"
        assert asyncio.run(ask(models, closing=True)) == "three"


@every_api
def test_one_model_may_be_asked_on_two_loops(api):

    async def ask(model):
        return (await model.ainvoke("Hello")).text

    with served(api, "one", "two") as server, leaving_connections_open():
        model = model_of(models_of(server), api)
        assert [asyncio.run(ask(model)), asyncio.run(ask(model))] == ["one", "two"]
        del model


@every_api
def test_closing_the_clients_of_a_loop_leaves_no_connection_open(api):
    async def ask(server):
        models = models_of(server)
        await model_of(models, api).ainvoke("Hello")
        await models.clients.close()
        await models.clients.close()

    gc.collect()
    with served(api, "one") as server, warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(ask(server))
        gc.collect()


@every_api
def test_runs_on_one_loop_share_their_connections(api):
    async def ask(server):
        models = models_of(server)
        for _ in range(3):
            await model_of(models, api).ainvoke("Hello")
        await models.clients.close()

    with served(api, "one", "two", "three") as server:
        asyncio.run(ask(server))
    assert len(server.requests) == 3
    assert len({request.client for request in server.requests}) == 1


@pytest.mark.parametrize(
    "said",
    [
        "Event loop is closed",
        "<asyncio.locks.Event object at 0x7f [unset]> is bound to a different event loop",
        "Task <Task pending> got Future <Future pending> attached to a different loop",
    ],
)
def test_a_client_of_another_loop_is_a_passing_failure(said):
    failure = classify_model_error(RuntimeError(said))

    assert (failure.kind, failure.worth_retrying) == ("unavailable", True)


def test_another_error_at_runtime_is_not():
    assert classify_model_error(RuntimeError("the graph is closed")).kind == "other"
