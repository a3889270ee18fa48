"""Streams of events of real `rota serve` processes: killed, stalled, and asked to stop."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager

import httpx
import pytest

from rota.domain.identity.scopes import ALL_SCOPES
from rota.services.identity.tokens import TokenService
from tests.api.events.conftest import WITHIN, Stream
from tests.api.events.test_streams import new_run
from tests.services.harness import clock

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
async def follow(database, alice):
    """`follow(served, last)` is a stream of everything of Alice's."""
    token = await TokenService(database, clock=clock).create(alice, "t", ALL_SCOPES, lasts=None)

    @asynccontextmanager
    async def stream(served, last=None):
        headers = {"Authorization": f"Bearer {token.secret}"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        url = f"http://{served.host}/api/v1/events"
        async with (
            httpx.AsyncClient(timeout=WITHIN) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            assert response.status_code == 200
            made = Stream(response)
            await made.next()
            yield made

    return stream


@pytest.mark.kill
async def test_another_server_goes_on_where_a_killed_one_was(serve, follow, owner, alice):
    one, other = serve(), serve()
    runs = [await new_run(owner, alice)]
    async with follow(one) as stream:
        runs = [await new_run(owner, alice) for _ in range(5)]
        told = [(await stream.next_event()).data["id"] for _ in range(3)]
        one.process.kill()
        runs += [await new_run(owner, alice) for _ in range(5)]
        last = stream.position
    async with follow(other, last) as stream:
        runs.append(await new_run(owner, alice))
        told += [(await stream.next_event()).data["id"] for _ in range(8)]
    assert told == runs


@pytest.mark.kill
async def test_a_server_that_stands_still_holds_up_no_other(serve, follow, owner, alice):
    one, other = serve(), serve()
    async with follow(one) as stalled, follow(other) as stream:
        one.process.send_signal(signal.SIGSTOP)
        try:
            runs = [await new_run(owner, alice) for _ in range(20)]
            assert [(await stream.next_event()).data["id"] for _ in range(20)] == runs
        finally:
            one.process.send_signal(signal.SIGCONT)
        assert [(await stalled.next_event()).data["id"] for _ in range(20)] == runs


async def test_streams_end_at_once_when_the_server_is_asked_to_stop(serve, follow, owner, alice):
    served = serve()
    async with follow(served) as stream:
        await new_run(owner, alice)
        await stream.next_event()
        served.process.terminate()
        assert await stream.rest() == []  # it ends in good order: no connection is cut
    assert await asyncio.to_thread(served.process.wait, WITHIN) == 0
