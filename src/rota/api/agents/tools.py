"""Tools over HTTP: what is declared of them, what one prefers, and what operators declare."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Body, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer, require_match, require_match_to_put
from rota.api.callers import Manager, OperatorManages, Reader, Services
from rota.api.pages import Page, page_of
from rota.api.problems import responses
from rota.domain.agents.configuration import Risk, Tier
from rota.domain.agents.declared_tools import DeclaredTool, ToolChange
from rota.domain.agents.tool_hints import parse_hints
from rota.domain.errors import NotFoundError
from rota.services.agents.preferences import ToolPreference
from rota.shown.models import model_of
from rota.shown.tools import DeclaredToolShown, UsableToolShown, declared_json, usable_tools

router = APIRouter(prefix="/tools", tags=["tools"], route_class=StrictRoute)

ToolName = Annotated[str, Path(description="The tool's name.", examples=["mail_search"])]


class ToolAsked(BaseModel):
    """What an operator declares of a tool. What is left out has the strictest value."""

    model_config = ConfigDict(extra="forbid", strict=True)

    description: str = Field("", description="What the model reads; empty: what the code says.")
    read_only: bool = False
    idempotent: bool = Field(False, description="Two equal calls have the effect of one.")
    risk: Risk = "high"
    default_tier: Tier = "requires_approval"
    timeout_seconds: float = Field(60, gt=0, allow_inf_nan=False)
    brings_outside_text: bool = True
    reaches_outside: bool = True
    annotations: dict[str, bool] = Field(
        default_factory=dict, description="Hints of the tool, which only make it stricter."
    )


class PreferenceAsked(BaseModel):
    """Whether calls wait for you. `none`: as the operator decides."""

    model_config = ConfigDict(extra="forbid", strict=True)

    preference: Literal["auto", "requires_approval", "none"]


@router.get("", response_model=page_of(UsableToolShown, "ToolPage"))
async def list_tools(me: Reader, app: Services, page: Page) -> Response:
    """List the declared tools by name: whether a call runs for you, and what you lack to use it."""
    found = await usable_tools(app, me.user_id)
    last = page.keys(str)
    rest = [tool for tool in found if last is None or tool["tool"] > last[0]]
    return answer(page.page(rest, lambda tool: (tool["tool"],), count=len(found)))


@router.get("/{tool}", response_model=UsableToolShown)
async def get_tool(me: Reader, app: Services, tool: ToolName) -> Response:
    """Return what is declared of a tool, and what it is to you."""
    for found in await usable_tools(app, me.user_id):
        if found["tool"] == tool:
            return answer(found, etag=str(found["version"]))
    raise NotFoundError("tool", tool, hint="See `rota tools list`.")


@router.put(
    "/{tool}",
    response_model=DeclaredToolShown,
    responses={
        201: {"model": DeclaredToolShown, "description": "It was not declared."},
        **responses(412, 428),
    },
)
async def put_tool(
    _me: OperatorManages,
    app: Services,
    request: Request,
    tool: ToolName,
    body: Annotated[
        ToolAsked,
        Body(openapi_examples={"reads": {"value": {"read_only": True, "risk": "low"}}}),
    ],
) -> Response:
    """Declare a tool so that agents can use it, or replace its declaration. A pin stays."""
    fields = body.model_dump(exclude={"annotations"})
    change = ToolChange(**fields, annotations=parse_hints(body.annotations))
    declared = await app.tools.declare(
        tool, change, check=lambda found: require_match_to_put(request, _etag(found))
    )
    warnings = []
    if declared.change == "updated":
        stopped = await app.rules.count_stopped(tool, declared.tool.version)
        if stopped:
            warnings.append(
                f"Rules made by always-allowing that have no effect any more: {stopped}."
            )
    shown = declared_json(declared.tool.effective())
    return answer(
        shown | {"change": declared.change, "warnings": warnings},
        201 if declared.change == "created" else 200,
        etag=str(declared.tool.version),
    )


@router.delete("/{tool}", status_code=204, responses=responses(412, 428))
async def delete_tool(
    _me: OperatorManages, app: Services, request: Request, tool: ToolName
) -> Response:
    """Take the declaration of a tool away; 409 while agents use it, or if it is rota's own."""
    await app.tools.forget(tool, check=lambda found: require_match(request, str(_etag(found))))
    return Response(status_code=204)


@router.put("/{tool}/preference", response_model=model_of(ToolPreference))
async def put_tool_preference(
    me: Manager,
    app: Services,
    tool: ToolName,
    body: Annotated[
        PreferenceAsked,
        Body(openapi_examples={"wait": {"value": {"preference": "requires_approval"}}}),
    ],
) -> Response:
    """Choose whether calls of a tool wait for your approval, if the operator lets you choose.

    You can always choose that they wait.
    """
    wanted = None if body.preference == "none" else body.preference
    return answer(await app.preferences.set(me.user_id, tool, wanted))


def _etag(tool: DeclaredTool | None) -> str | None:
    return None if tool is None else str(tool.version)
