from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

Put = Callable[..., Any]


@pytest.fixture
async def hers(client, workshop, alice) -> httpx.AsyncClient:
    """Alice's client, where she has the agent `watcher`."""
    await workshop.agent()
    return client(alice)


@pytest.fixture
def put(hers) -> Put:
    """`put("noon", when="daily at 12:00")` makes or replaces a schedule of Alice's."""

    async def put(name: str, *, match: str | None = None, **fields: Any) -> httpx.Response:
        rule = {} if fields.keys() & {"when", "cron", "every", "at"} else {"when": "daily at 12:00"}
        headers = {} if match is None else {"If-Match": match}
        return await hers.put(
            f"/schedules/{name}", json={"agent": "watcher", **rule, **fields}, headers=headers
        )

    return put
