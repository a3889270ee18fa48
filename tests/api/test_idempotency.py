"""A POST with an Idempotency-Key is done once, whoever sends it again, and whatever dies."""

from __future__ import annotations

import asyncio
from typing import Annotated

import pytest
from fastapi import APIRouter, Body, Response

from rota.api.answers import StrictRoute, answer
from rota.api.app import PREFIX, make_api
from rota.api.callers import Manager, Scope, Services, Triggerer
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from rota.services.operations.idempotency import LONGEST_ANSWER
from rota.store import idempotency as rows
from rota.store.statements import execute

COUNT = "INSERT INTO rota.marks (name) VALUES (gen_random_uuid())"


class Deeds:
    """Routes that do something: each leaves a row, and answers a number of its own."""

    def __init__(self):
        self.done = 0
        self.fails_with = None
        self.going_on = asyncio.Event()
        self.going_on.set()
        self.begun = asyncio.Event()
        self.router = APIRouter(prefix="/deeds", tags=["deeds"], route_class=StrictRoute)

        @self.router.post("", response_model=dict[str, int])
        async def do_deed(
            me: Manager, app: Services, wanted: Annotated[dict[str, object], Body()]
        ) -> Response:
            """Do it."""
            self.begun.set()
            await self.going_on.wait()
            async with app.database.transaction() as conn:
                await conn.execute(COUNT)
                if self.fails_with is not None:
                    raise self.fails_with
            self.done += 1
            told = {"done": self.done, "wanted": wanted}
            return answer(told, 201, etag="one", headers={"Location": "/deeds/1", "X-Own": "1"})

        @self.router.post("/run", response_model=dict[str, str])
        async def run_deed(me: Triggerer, app: Services) -> Response:
            """Ask for a run, and fail if told to."""
            run_id = await app.runs.request(me.user_id, "watcher", "now")
            if self.fails_with is not None:
                raise self.fails_with
            return answer({"run_id": run_id}, 202)

        @self.router.post("/long", response_model=str)
        async def long_deed(me: Manager) -> Response:
            """Answer at length."""
            return answer("x" * LONGEST_ANSWER)


@pytest.fixture
def deeds(monkeypatch):
    made = Deeds()
    monkeypatch.setattr("rota.api.app.ROOMS", (made.router,))
    return made


@pytest.fixture
def api(deeds, app, api):
    """The API of those routes alone."""
    return make_api(app, api.state.authenticate)


def post(client, key="k-1", body=None, path="/deeds"):
    headers = {} if key is None else {"Idempotency-Key": key}
    if path == "/deeds":
        return client.post(path, json={} if body is None else body, headers=headers)
    return client.post(path, headers=headers)


async def deed_rows(owner):
    cursor = await owner.execute("SELECT count(*) FROM rota.marks WHERE length(name) = 36")
    return (await cursor.fetchone())[0]


async def keys(owner):
    cursor = await owner.execute(
        "SELECT key, status, answer, has_effect FROM rota.idempotency_keys ORDER BY key"
    )
    return await cursor.fetchall()


async def test_a_repeat_gets_the_same_answer_and_does_nothing(client, deeds, owner, alice):
    first = await post(client(alice), body={"say": "grüße"})
    again = await post(client(alice), body={"say": "grüße"})
    assert (first.status_code, first.json()["done"]) == (201, 1)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    for name in ("content-type", "etag", "location"):
        assert again.headers[name] == first.headers[name]
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"
    assert (deeds.done, await deed_rows(owner)) == (1, 1)


async def test_another_key_or_none_does_it_again(client, deeds, alice):
    for key in ("a", "b", None, None):
        assert (await post(client(alice), key)).status_code == 201
    assert deeds.done == 4


async def test_the_same_key_of_somebody_else_is_another_key(client, deeds, alice, bob):
    assert (await post(client(alice), body={"secret": "of Alice"})).json()["done"] == 1
    theirs = await post(client(bob), body={"secret": "of Alice"})
    assert theirs.json()["done"] == 2
    assert "idempotency-replayed" not in theirs.headers


@pytest.mark.parametrize(
    ("path", "body"), [("/deeds", {"other": 1}), ("/deeds", [1]), ("/deeds/run", None)]
)
async def test_another_request_under_the_key_is_refused(client, deeds, alice, path, body):
    await post(client(alice))
    other = await post(client(alice), body=body, path=path)
    assert other.status_code == 422
    assert deeds.done == 1


async def test_of_two_at_once_one_is_done_and_the_other_told_to_wait(client, deeds, alice, owner):
    deeds.going_on.clear()
    first = asyncio.create_task(post(client(alice)))
    await deeds.begun.wait()
    second = await post(client(alice))
    assert second.status_code == 409
    assert second.json()["type"] == "urn:rota:problem:idempotency-key-in-use"
    assert second.headers["retry-after"] == "1"
    deeds.going_on.set()
    assert (await first).status_code == 201
    assert (await post(client(alice))).content == (await first).content
    assert await deed_rows(owner) == 1


async def test_of_many_at_once_one_is_done(client, deeds, alice, owner):
    answers = await asyncio.gather(*(post(client(alice)) for _ in range(12)))
    assert {one.status_code for one in answers} <= {201, 409}
    assert len({one.content for one in answers if one.status_code == 201}) == 1
    assert (deeds.done, await deed_rows(owner)) == (1, 1)


@pytest.mark.parametrize(
    ("error", "status"), [(NotFoundError("deed", "x"), 404), (ConflictError("Not now."), 409)]
)
async def test_a_refusal_of_the_work_is_kept(client, deeds, alice, error, status):
    deeds.fails_with = error
    first = await post(client(alice))
    deeds.fails_with = None
    again = await post(client(alice))
    assert (first.status_code, again.status_code) == (status, status)
    assert again.content == first.content
    assert again.headers["content-type"] == "application/problem+json"
    assert again.headers["idempotency-replayed"] == "true"


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UnavailableError("Away.", service="shop"), 503),
        (RuntimeError("a fault"), 500),
        (InvalidInputError("Not so.", field="when"), 422),
    ],
)
async def test_what_failed_is_tried_again(client, deeds, owner, alice, error, status):
    deeds.fails_with = error
    assert (await post(client(alice))).status_code == status
    assert await keys(owner) == []
    deeds.fails_with = None
    assert (await post(client(alice))).status_code == 201


async def test_a_body_that_is_refused_may_be_mended_under_the_key(client, deeds, alice):
    assert (await post(client(alice), body=[1])).status_code == 422
    assert (await post(client(alice), body={"right": 1})).status_code == 201


async def test_nobody_and_a_token_without_the_scope_claim_nothing(client, deeds, owner, alice):
    assert (await post(client())).status_code == 401
    assert (await post(client(alice, scopes=frozenset({Scope.READ})))).status_code == 403
    assert await keys(owner) == []
    assert (await post(client(alice))).status_code == 201


async def test_a_token_that_lacks_the_scope_is_not_told_the_answer(client, deeds, alice):
    await post(client(alice))
    refused = await post(client(alice, scopes=frozenset({Scope.READ})))
    assert refused.status_code == 403
    assert "done" not in refused.json()


@pytest.mark.parametrize("key", ["", " ", "with space", "x" * 256, "ü", "\x01", '"a b"'])
async def test_a_key_that_is_none_is_refused(client, deeds, alice, key):
    given = {"Idempotency-Key": key.encode()}
    refused = await client(alice).post("/deeds", json={}, headers=given)
    assert (refused.status_code, deeds.done) == (422, 0)
    assert "Idempotency-Key" in refused.json()["detail"]


async def test_two_keys_are_refused(client, deeds, alice):
    given = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    assert (await client(alice).post("/deeds", json={}, headers=given)).status_code == 422


async def test_a_key_is_free_again_after_a_day(client, deeds, owner, alice):
    await post(client(alice))
    await owner.execute(
        "UPDATE rota.idempotency_keys SET created_at = now() - interval '23 hours 59 minutes'"
    )
    assert (await post(client(alice))).json()["done"] == 1
    await owner.execute("UPDATE rota.idempotency_keys SET created_at = now() - interval '25 hours'")
    assert (await post(client(alice), body={"other": 1})).json()["done"] == 2
    assert (await post(client(alice), body={"other": 1})).headers["idempotency-replayed"]


async def test_an_answer_is_sealed(client, deeds, owner, alice):
    await post(client(alice), body={"token": "rota_secret"})
    ((_, status, sealed, has_effect),) = await keys(owner)
    assert (status, has_effect) == (201, True)
    assert b"rota_secret" not in sealed


async def test_an_answer_that_is_too_long_is_told_to_be_given(client, deeds, alice):
    assert (await post(client(alice), path="/deeds/long")).status_code == 200
    again = await post(client(alice), path="/deeds/long")
    assert again.status_code == 409
    assert again.json()["type"] == "urn:rota:problem:answer-not-kept"
    assert again.json()["answered"] == 200


def die(monkeypatch):
    """Have the process end before it stores the answer."""

    async def end(work, answer):
        work._living.cancel()

    monkeypatch.setattr("rota.api.idempotency._Work.end", end)


async def left(owner):
    """Let the time pass after which a key counts as left."""
    await owner.execute("UPDATE rota.idempotency_keys SET held_until = now() - interval '1 second'")
    rows.work_under(None)


async def test_what_died_after_its_work_is_not_done_again(client, deeds, owner, alice, monkeypatch):
    with monkeypatch.context() as dying:
        die(dying)
        await post(client(alice))
    assert (await post(client(alice))).status_code == 409, "it may still run"
    await left(owner)
    again = await post(client(alice))
    assert again.json()["type"] == "urn:rota:problem:outcome-unknown"
    assert (again.status_code, await deed_rows(owner)) == (409, 1)


async def test_what_died_before_its_work_is_done(client, deeds, owner, alice, monkeypatch):
    deeds.fails_with = RuntimeError("killed")
    with monkeypatch.context() as dying:
        die(dying)
        await post(client(alice))
    await left(owner)
    deeds.fails_with = None
    assert (await post(client(alice))).status_code == 201
    assert await deed_rows(owner) == 1


async def test_a_run_that_was_asked_for_is_found_again(
    client, deeds, workshop, owner, alice, monkeypatch
):
    await workshop.agent()
    with monkeypatch.context() as dying:
        die(dying)
        first = await post(client(alice), path="/deeds/run")
    await left(owner)
    again = await post(client(alice), path="/deeds/run")
    assert (again.status_code, again.json()) == (202, first.json())
    assert (await post(client(alice), path="/deeds/run")).json() == first.json()
    cursor = await owner.execute("SELECT count(*) FROM public.agent_runs")
    assert (await cursor.fetchone())[0] == 1


async def test_a_run_that_was_asked_for_before_a_fault_is_found_again(
    client, deeds, workshop, owner, alice
):
    await workshop.agent()
    deeds.fails_with = UnavailableError("Away.", service="database")
    assert (await post(client(alice), path="/deeds/run")).status_code == 503
    deeds.fails_with = None
    assert (await post(client(alice), path="/deeds/run")).status_code == 202
    cursor = await owner.execute("SELECT count(*) FROM public.agent_runs")
    assert (await cursor.fetchone())[0] == 1


async def test_one_that_stood_still_writes_nothing_once_another_went_on(
    client, deeds, owner, alice
):
    deeds.going_on.clear()
    slow = asyncio.create_task(post(client(alice)))
    await deeds.begun.wait()
    await owner.execute("UPDATE rota.idempotency_keys SET held_until = now() - interval '1 second'")
    second = asyncio.create_task(post(client(alice)))
    while (
        await owner.execute("SELECT FROM rota.idempotency_keys WHERE held_until > now()")
    ).rowcount != 1:
        await asyncio.sleep(0.01)
    deeds.going_on.set()
    statuses = sorted([(await slow).status_code, (await second).status_code])
    assert statuses == [201, 409]
    assert await deed_rows(owner) == 1


async def test_keys_are_pruned_after_a_day(client, deeds, owner, app, alice):
    for key in ("old", "new"):
        await post(client(alice), key)
    await owner.execute(
        "UPDATE rota.idempotency_keys SET created_at = now() - interval '25 hours' "
        "WHERE key = 'old'"
    )
    await app.retention.prune(app.clock())
    assert [row[0] for row in await keys(owner)] == ["new"]


async def test_keys_go_with_their_person(client, deeds, owner, alice):
    await post(client(alice))
    await owner.execute("DELETE FROM auth.users WHERE id = %s", [alice])
    assert await keys(owner) == []


async def test_people_cannot_read_keys(database, alice, client, deeds):
    await post(client(alice))
    with pytest.raises(Exception, match="permission denied"):
        async with database.acting_as(alice) as conn:
            await execute(conn, "prune_idempotency_keys", kept=0, limit=1)


def test_each_post_says_that_it_takes_a_key(api):
    from rota.api.description import describe

    for _ in range(2):
        parameters = describe(api)["paths"][f"{PREFIX}/deeds"]["post"]["parameters"]
        assert [one["name"] for one in parameters] == ["Idempotency-Key"]
