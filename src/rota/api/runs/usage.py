"""What runs used, over HTTP: by day and schedule, and by day and agent."""

from __future__ import annotations

from datetime import date
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query, Response
from pydantic import Field, create_model

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Reader, Services
from rota.api.pages import Page, page_of
from rota.domain.runs.views import AgentUsage, UsageView
from rota.shown.models import model_of

router = APIRouter(prefix="/usage", tags=["usage"], route_class=StrictRoute)

Days = Annotated[
    int, Query(ge=1, le=366, description="How many days, today's included, in your time zone.")
]
_ZONE = (str, Field(description="The time zone of the days.", examples=["Europe/Berlin"]))

UsagePage = create_model(
    "UsagePage", __base__=page_of(model_of(UsageView), "UsagePage"), time_zone=_ZONE
)
AgentUsagePage = create_model(
    "AgentUsagePage", __base__=page_of(model_of(AgentUsage), "AgentUsagePage"), time_zone=_ZONE
)
_NO_SCHEDULE = UUID(int=0)


@router.get("", response_model=UsagePage)
async def list_usage(
    me: Reader,
    app: Services,
    page: Page,
    days: Days = 7,
    schedule: Annotated[
        str | None, Query(max_length=100, description="Only of this schedule: its name or id.")
    ] = None,
) -> Response:
    """List the tokens and the money that runs used, the latest day first.

    Of each day first what all runs used (`schedule_id` is null), then each schedule. Calls of
    unknown price are not in the cost; `unpriced_calls` says how many there are.
    """
    wanted = None
    if schedule is not None:
        wanted = (await app.schedules.get(me.user_id, schedule)).id
    keys = page.keys(date, UUID)
    below = None if keys is None else (keys[0], keys[1])
    found, zone = await app.usage.by_schedule(
        me.user_id, days=days, schedule_id=wanted, below=below, limit=page.fetched
    )
    answered = page.page(found, lambda view: (view.day, view.schedule_id or _NO_SCHEDULE))
    return answer({**answered, "time_zone": zone})


@router.get("/agents", response_model=AgentUsagePage)
async def list_usage_of_agents(
    me: Reader,
    app: Services,
    page: Page,
    days: Days = 7,
    agent: Annotated[str | None, Query(max_length=63, description="Only of this agent.")] = None,
) -> Response:
    """List the tokens and the money that runs used by agent, the latest day first.

    A run counts on the day on which it ended.
    """
    keys = page.keys(date, str)
    below = None if keys is None else (keys[0], keys[1])
    found, zone = await app.usage.by_agent(
        me.user_id, days=days, agent_name=agent, below=below, limit=page.fetched
    )
    answered = page.page(found, lambda view: (view.day, view.agent_name))
    return answer({**answered, "time_zone": zone})
