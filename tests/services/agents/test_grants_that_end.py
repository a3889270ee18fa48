"""A Google app in testing: its grant ends after seven days, and its owner knows why beforehand."""

from __future__ import annotations

import json

import httpx
import pytest

from rota.agents.tools.builtin import builtin_tools
from rota.agents.tools.context import ToolContext
from rota.domain.agents.connections import ConnectionState
from rota.domain.errors import SetupRequiredError
from rota.services.agents.connection_upkeep import ConnectionUpkeep
from rota.services.notifications.service import NotificationService
from tests.services.agents.grants import CIPHER, connect

PUBLISH = "https://console.cloud.google.com/auth/audience"


async def test_seven_days_are_told_days_before_and_explained_at_the_end(
    workshop, database, service, provider, gmail, time
):
    provider.grant_seconds = 604_799
    await connect(workshop, service, provider)
    found = await service.get(workshop.user, "gmail")
    assert found.state_at(time.now) is ConnectionState.EXPIRING
    upkeep = ConnectionUpkeep(
        database, service, NotificationService(database), key_ids=lambda: (CIPHER.key_id,)
    )

    time.passes(days=6)
    await upkeep.tell(time.now)
    (told,) = await workshop.rows("notifications")
    assert "ends on" in told["title"]
    assert PUBLISH in told["body"]

    time.passes(days=1)
    with pytest.raises(SetupRequiredError, match="Testing") as caught:
        await service.secret(workshop.user, "gmail")
    assert PUBLISH in caught.value.message
    assert "rota connections reconnect gmail" in caught.value.message


@pytest.mark.parametrize("tool", ["gmail_search", "mail_search"])
async def test_no_call_fails_while_tokens_of_a_minute_rotate_through_an_hour(
    workshop, service, provider, gmail, time, tool
):
    """The provider takes a refresh token that comes again for stolen, and ends the grant."""
    gmail.add(b"From: ann@example.org\r\nSubject: Lunch\r\n\r\nNoon?\r\n")
    provider.token_seconds = 60
    await connect(workshop, service, provider)

    async with httpx.AsyncClient() as http:
        context = ToolContext(
            workshop.user,
            time,
            lambda name: service.secret(workshop.user, name),
            lambda: None,
            http,
            endpoints={"gmail": gmail.url},
            connection=lambda name: service.using(workshop.user, name),
            connected=lambda gives: service.connected(workshop.user, gives),
        )
        for _ in range(60):
            time.passes(minutes=1)
            [found] = json.loads(await builtin_tools().build(tool, context).ainvoke({}))
            assert found["subject"] == "Lunch"

    assert provider.refreshes == 60
    assert not provider.grants[0].is_revoked
    assert (await service.get(workshop.user, "gmail")).state is ConnectionState.OK
