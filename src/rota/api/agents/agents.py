"""Agents over HTTP: one's own and shared ones, with their history."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import (
    StrictRoute,
    answer,
    etag_of,
    require_match,
    require_match_to_put,
)
from rota.api.callers import Manager, Reader, Scope, Services, require_scope
from rota.api.pages import Page, page_of
from rota.api.problems import responses
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.text.jsonable import fields_of
from rota.services.agent_files.editing import AgentChange, AgentWritten
from rota.shown.agents import AgentShown, CheckedShown, check_agent_text
from rota.shown.models import model_of

router = APIRouter(prefix="/agents", tags=["agents"], route_class=StrictRoute)

AgentName = Annotated[str, Path(description="The agent's name.", examples=["watcher"])]
_EXAMPLE: Final = {
    "watcher": {
        "summary": "An agent that reads mail",
        "value": {
            "model": "anthropic:claude-sonnet-5-5",
            "system_prompt": "You report what needs an answer today.",
            "tools": ["mail_search", "mail_get_message"],
            "limits": {"time": "10m", "cost": "0.50"},
        },
    }
}


class AgentAsked(BaseModel):
    """An agent as an agent file has it, without its name and its schedules."""

    model_config = ConfigDict(extra="forbid", strict=True)

    description: str = Field("", max_length=2_000)
    model: str = Field(max_length=300, description="`provider:model`.")
    model_settings: dict[str, Any] = Field(default_factory=dict)
    system_prompt: str = Field("", max_length=200_000)
    script: dict[str, Any] | None = Field(
        None, description="What a scripted model does; only operators change it."
    )
    fallback_models: list[str] = Field(default_factory=list, max_length=10)
    max_steps: int | None = Field(None, ge=1, le=1_000, description="25 unless said.")
    limits: dict[str, Any] = Field(
        default_factory=dict, description="Of each run: `time`, `idle`, `steps`, `tokens`, `cost`."
    )
    max_concurrency: int | None = Field(None, ge=1, le=1_000_000)
    tools: list[str] = Field(default_factory=list, max_length=1_000)


class AgentText(BaseModel):
    """An agent file to check."""

    model_config = ConfigDict(extra="forbid", strict=True)

    text: str = Field(description="YAML or JSON.")
    name: str = Field("agent.yaml", max_length=200, description="The file's name, for messages.")


class VersionAsked(BaseModel):
    """Which version to restore."""

    model_config = ConfigDict(extra="forbid", strict=True)

    version: int = Field(ge=1, le=2**31 - 2)


class WrittenAgent(AgentShown):  # type: ignore[misc, valid-type]  # a type that is made
    """An agent that was written. `warnings` say what may not be as it was meant."""

    warnings: list[str]


@router.get("", response_model=page_of(AgentShown, "AgentPage"))
async def list_agents(me: Reader, app: Services, page: Page) -> Response:
    """List the agents that you can run, by name: your own and shared ones."""
    found = await app.agents.all(me.user_id)
    last = page.keys(str)
    rest = [agent for agent in found if last is None or agent.agent_name > last[0]]
    return answer(page.page(rest, lambda agent: (agent.agent_name,), count=len(found)))


@router.post("/validate", response_model=CheckedShown)
async def validate_agents(
    me: Manager,
    app: Services,
    body: Annotated[
        AgentText,
        Body(openapi_examples={"small": {"value": {"text": "name: small\nmodel: openai:gpt-5"}}}),
    ],
) -> Response:
    """Check an agent file, and say what applying it would change. Nothing is written."""
    return answer(
        await check_agent_text(
            app, me.user_id, body.text, source=body.name, is_operator=me.is_operator
        )
    )


@router.get("/{agent}", response_model=AgentShown)
async def get_agent(me: Reader, app: Services, agent: AgentName) -> Response:
    """Return an agent: your own, or else a shared one of this name."""
    found = await app.agents.get(me.user_id, agent)
    return answer(found, etag=etag_of(found))


@router.put(
    "/{agent}",
    response_model=WrittenAgent,
    responses={201: {"model": WrittenAgent, "description": "It is new."}, **responses(412, 428)},
)
async def put_agent(
    me: Manager,
    app: Services,
    request: Request,
    agent: AgentName,
    body: Annotated[AgentAsked, Body(openapi_examples=_EXAMPLE)],
) -> Response:
    """Make an agent of your own, or replace it as a whole. Its schedules stay as they are.

    Under the name of a shared agent you make one of your own, which then takes its place for you.
    """
    entry = {"name": agent, **body.model_dump(exclude_unset=True, exclude_none=True)}
    written = await app.agent_edits.put(
        me.user_id,
        entry,
        is_operator=me.is_operator,
        check=lambda found: require_match_to_put(request, _etag(found)),
    )
    return _written(written)


@router.delete("/{agent}", status_code=204, responses=responses(412, 428))
async def delete_agent(me: Manager, app: Services, request: Request, agent: AgentName) -> Response:
    """Remove one of your agents. Its runs and results are kept.

    409 while schedules use it, a run of it is not over, or a call of it waits for a decision.
    """
    await app.agent_edits.remove(
        me.user_id, agent, check=lambda found: require_match(request, etag_of(found))
    )
    return Response(status_code=204)


@router.get("/{agent}/history", response_model=page_of(model_of(AgentChange), "AgentHistoryPage"))
async def list_agent_history(me: Reader, app: Services, page: Page, agent: AgentName) -> Response:
    """List the changes of an agent, the latest first, also of one that is gone by now.

    `entry` is the agent after the change, as an agent file has it.
    """
    last = page.keys(int)
    found = await app.agent_edits.history(
        me.user_id, agent, before=None if last is None else last[0], limit=page.fetched
    )
    return answer(page.page(found, lambda change: (change.version,), count=None))


@router.post(
    "/{agent}/restore",
    response_model=WrittenAgent,
    responses={201: {"model": WrittenAgent, "description": "It was gone."}, **responses(412, 428)},
)
async def restore_agent(
    me: Manager,
    app: Services,
    request: Request,
    agent: AgentName,
    body: Annotated[VersionAsked, Body(openapi_examples={"first": {"value": {"version": 1}}})],
) -> Response:
    """Make your agent what it was at a version of its history. That is a new change of it.

    It needs If-Match unless the agent is gone, and the scope `read`: the answer shows the version.
    """
    require_scope(me, Scope.READ)
    written = await app.agent_edits.restore(
        me.user_id,
        agent,
        body.version,
        is_operator=me.is_operator,
        check=lambda found: require_match_to_put(request, _etag(found)),
    )
    return _written(written)


def _etag(agent: AgentConfiguration | None) -> str | None:
    return None if agent is None else etag_of(agent)


def _written(written: AgentWritten) -> Response:
    shown = fields_of(written.agent) | {"warnings": written.warnings}
    return answer(shown, 201 if written.is_new else 200, etag=etag_of(written.agent))
