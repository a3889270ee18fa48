from __future__ import annotations

from rota.api.callers import Scope
from rota.domain.schedules.drafts import Draft
from rota.services.schedules.service import NewSchedule


async def test_a_schedule_is_shown_to_its_owner_alone(client, app, workshop, alice, bob):
    await workshop.agent()
    await app.schedules.add(alice, NewSchedule("noon", "watcher", Draft(when="daily at 12:00")))
    shown = await client(alice).get("/schedules/noon")
    assert shown.status_code == 200
    assert shown.json()["schedule"] == "noon"
    assert shown.headers["etag"] == '"1"'
    stranger = await client(bob).get("/schedules/noon")
    assert stranger.status_code == 404
    assert stranger.headers["content-type"] == "application/problem+json"
    assert stranger.json()["type"] == "urn:rota:problem:not-found"


async def test_nobody_and_a_token_without_the_scope_are_refused(client, alice):
    assert (await client().get("/schedules/noon")).status_code == 401
    refused = await client(alice, scopes=frozenset({Scope.DECIDE})).get("/schedules/noon")
    assert refused.status_code == 403
    assert refused.json()["scope"] == "read"
