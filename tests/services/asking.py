"""Agents on the providers' real clients, against loopback servers that speak their protocols."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from rota.agents.models.building import ChatModels
from rota.domain.runs.run import Outcome, Trigger
from tests.loopback.anthropic import AnthropicServer
from tests.loopback.model_server import ModelServer, Reply, Request
from tests.loopback.openai import OpenAIServer
from tests.services.harness import Workshop
from tests.services.running import make_run

APIS: dict[str, tuple[str, dict[str, Any], type[ModelServer]]] = {
    "chat": ("openai:gpt-4o-mini", {}, OpenAIServer),
    "responses": ("openai:gpt-4o-mini", {"use_responses_api": True}, OpenAIServer),
    "anthropic": ("anthropic:claude-sonnet-5", {}, AnthropicServer),
}
every_api = pytest.mark.parametrize("api", APIS)
streamed_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])


@dataclass
class Asked:
    """What became of a run, and what its model was asked."""

    outcome: Outcome
    requests: list[Request] = field(default_factory=list)


async def ask(
    workshop: Workshop,
    api: str,
    *replies: Reply,
    stream: bool = False,
    retries: int = 0,
    tools: tuple[str, ...] = ("look", "send"),
    fallback: str | None = None,
    schedule: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Asked:
    """Run an agent whose server gives these replies, one for each time it is asked."""
    spec, more, server_class = APIS[api]
    await workshop.agent(
        model=spec,
        model_settings={
            "endpoint": "local",
            "max_retries": retries,
            "stream": stream,
            **more,
            **settings,
        },
        tools=tools,
    )
    if fallback is not None:
        await workshop.owner.execute(
            "UPDATE agent_configurations SET fallback_models = %s", [[fallback]]
        )
    with server_class(*replies) as server:
        models = ChatModels(endpoints={"local": server.url})  # type: ignore[attr-defined]
        service = workshop.service(models=models)
        fired = await workshop.schedule(**(schedule or {}))
        run = await make_run(workshop, schedule_id=fired.id, trigger=Trigger.SCHEDULE)
        outcome = await service.execute(fired, run)
    for request in server.requests:
        check_history(request.body)
    return Asked(outcome, server.requests)


def check_history(body: Mapping[str, Any]) -> None:
    """Assert what strict providers refuse: unanswered calls, and arguments that are no object."""
    called, answered = set(), set()
    for item in body.get("messages") or body["input"]:
        content = item.get("content")
        blocks = [b for b in content if isinstance(b, dict)] if isinstance(content, list) else []
        for call in item.get("tool_calls") or ():
            called.add(call["id"])
            assert isinstance(json.loads(call["function"]["arguments"]), dict)
            assert call["function"]["name"]
        for block in blocks:
            if block.get("type") == "tool_use":
                called.add(block["id"])
                assert isinstance(block["input"], dict)
            if block.get("type") == "tool_result":
                answered.add(block["tool_use_id"])
        if item.get("type") == "function_call":
            called.add(item["call_id"])
            assert isinstance(json.loads(item["arguments"]), dict)
        if item.get("type") == "function_call_output":
            answered.add(item["call_id"])
        if item.get("role") == "tool":
            answered.add(item["tool_call_id"])
    assert called == answered


def told(request: Request) -> str:
    """Return all that a model was asked, as one text."""
    return json.dumps(request.body, ensure_ascii=False)
