"""The HTTP API as an ASGI application, over the services of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import APIRouter, FastAPI, Request

from rota.api import audit, notifications, schedules
from rota.api.agents import agents, connection_sign_ins, connections, files, prices, tools
from rota.api.answers import StrictRoute
from rota.api.approvals import approvals, deputies, rules
from rota.api.callers import Caller
from rota.api.description import describe
from rota.api.identity import sessions, tokens
from rota.api.identity.authentication import Authentication
from rota.api.identity.sign_in import pages as sign_in_pages
from rota.api.operations import events, health, people, system
from rota.api.problems import handle_errors, responses
from rota.api.rates import Rates
from rota.api.runs import limits, results, runs, usage
from rota.api.schedules import calendars, pause
from rota.bootstrap.app import App
from rota.version import __version__

PREFIX: Final = "/api/v1"
COMMON: Final = (400, 401, 403, 404, 409, 422, 429, 503)
"""Statuses of problems that every route may answer; those that change something, more."""

Authenticate = Callable[[Request], Awaitable[Caller]]
"""Finds who calls; raises ApiError with status 401 for nobody."""

ROOMS: Final = (
    agents.router,
    approvals.router,
    audit.router,
    connection_sign_ins.router,
    connections.router,
    deputies.router,
    files.router,
    notifications.router,
    people.router,
    prices.router,
    rules.router,
    results.router,
    events.router,
    runs.router,
    usage.router,
    limits.router,
    schedules.router,
    calendars.router,
    pause.router,
    tokens.router,
    tools.router,
    sessions.router,
    system.router,
)


def make_api(
    app: App | None, authenticate: Authenticate | None = None, *, rates: Rates | None = None
) -> FastAPI:
    """Return the application. Without an app it only describes itself, for `rota openapi`.

    `authenticate` is for tests: without it tokens, JWTs and sessions count. Without `rates` nothing
    limits how many requests there are.
    """
    api = FastAPI(
        title="rota",
        version=__version__,
        summary="AI agents on a schedule, unattended and safely.",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
    )
    api.state.rota = app
    api.state.authenticate = authenticate or (Authentication(app) if app is not None else None)
    api.state.rates = rates
    api.state.stopping = asyncio.Event()  # set when the process ends: streams end then
    handle_errors(api)
    everything = APIRouter(prefix=PREFIX, route_class=StrictRoute)
    for room in ROOMS:
        everything.include_router(room)
    api.include_router(everything, responses=responses(*COMMON))
    api.include_router(health.router)
    api.include_router(sign_in_pages.router)
    api.include_router(connection_sign_ins.pages)

    @api.get(f"{PREFIX}/openapi.json", include_in_schema=False)
    async def openapi() -> dict[str, Any]:
        return describe(api)

    return api
