"""The floor under the HTTP API: a bare FastAPI route with one indexed query, as the person.

The same server (uvicorn, h11, one process), driver, pool and identity switch as rota's; no tokens,
no models, no rows of other tables. Started as a process: `python -m rig.bare_api URL PERSON PORT`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import UUID

import uvicorn
from fastapi import FastAPI, Response
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

_ACT_AS: Final = (
    "SELECT set_config('role', 'authenticated', true), set_config('request.jwt.claims', %s, true)"
)
_LIST: Final = (
    "SELECT id, schedule_id, agent_name, prompt, trigger, status, priority, attempt, fire_time,"
    " created_at, queued_at, started_at, finished_at, cancel_requested_at, cancel_reason,"
    " not_before, retry_of, options FROM public.agent_runs ORDER BY created_at DESC LIMIT %s"
)
_ONE: Final = _LIST.partition(" ORDER")[0] + " WHERE id = %s"


def make_bare(url: str, person: str) -> FastAPI:
    """Return the application: a list and one run, each by one query."""
    claims = json.dumps({"sub": person, "role": "authenticated"})
    pool: AsyncConnectionPool[Any] = AsyncConnectionPool(
        url,
        open=False,
        max_size=10,
        kwargs={"autocommit": True, "prepare_threshold": 5, "row_factory": dict_row},
    )

    @asynccontextmanager
    async def opened(_: FastAPI) -> AsyncIterator[None]:
        async with pool:
            yield

    api = FastAPI(lifespan=opened, openapi_url=None)

    async def found(query: str, parameter: object) -> Response:
        async with pool.connection() as conn, conn.transaction():
            await conn.execute(_ACT_AS, [claims])
            rows = await (await conn.execute(query.encode(), [parameter])).fetchall()
        return Response(json.dumps(rows, default=str), media_type="application/json")

    @api.get("/runs")
    async def list_runs(limit: int = 50) -> Response:
        return await found(_LIST, limit)

    @api.get("/runs/{run}")
    async def get_run(run: UUID) -> Response:
        return await found(_ONE, run)

    return api


if __name__ == "__main__":
    uvicorn.run(
        make_bare(sys.argv[1], sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[3]),
        http="h11",
        log_level="warning",
        access_log=False,
    )
