"""For monitors and whoever comes first: does the server live, does rota work, where is the API.

These are no part of the API: they stand outside of its prefix, and ask nobody to sign in.
"""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from rota.api.answers import answer
from rota.api.callers import Services
from rota.api.problems import ApiError

router = APIRouter(include_in_schema=False)


@router.get("/healthz")
async def get_health() -> Response:
    """Say that this process lives. The database is not asked."""
    return answer({"status": "ok"})


@router.get("/readyz")
async def get_readiness(app: Services) -> Response:
    """Say whether rota works: the database answers, and a scheduler has looked at the clock.

    Else status 503 says why not, in words that a stranger may read.
    """
    if problems := await app.readiness.problems():
        raise ApiError(503, "not-ready", " ".join(problems), headers={"Retry-After": "5"})
    return answer({"status": "ready"})


@router.get("/")
async def get_start(request: Request) -> Response:
    """Say where the API is; a browser is led to where a person signs in."""
    varies = {"Vary": "Accept"}
    if "text/html" in request.headers.get("Accept", "").lower():
        return RedirectResponse("/sign-in", 303, headers=varies)
    said = {"name": "rota", "api": "/api/v1", "openapi": "/api/v1/openapi.json"}
    return answer(said, headers=varies)
