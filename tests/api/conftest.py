from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import httpx
import pytest
from fastapi import FastAPI, Request

from rota.api.app import make_api
from rota.api.callers import ALL_SCOPES, Caller, Scope
from rota.api.identity.authentication import Authentication
from rota.api.origins import csrf_token
from rota.bootstrap.app import App, Server
from rota.domain.identity.sessions import SignedInBy
from rota.domain.ids import UserId
from rota.settings import Settings
from tests.services.harness import CIPHER, Workshop, clock

Client = Callable[..., httpx.AsyncClient]
ORIGIN = "http://127.0.0.1"


@pytest.fixture
async def workshop(database, owner, alice) -> Workshop:
    """Alice's agents and runs, arranged as in tests of services."""
    made = Workshop(database, owner, alice)
    await made.declare_tools()
    return made


@pytest.fixture
def app(database, database_url) -> App:
    """The services, by the clock of the tests of services."""
    server = Server(database_url, database_url, None)
    return App(Settings(), server, database, CIPHER, clock=clock)


class _Authentication(Authentication):
    """The real one; who is an operator is what the client of a test says."""

    async def __call__(self, request: Request) -> Caller:
        caller = await super().__call__(request)
        said = request.headers.get("x-test-operator")
        return caller if said is None else replace(caller, is_operator=said == "yes")


class Transport(httpx.ASGITransport):
    """Handles each request in a task of its own, as a server does: its scopes end with it."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await asyncio.create_task(super().handle_async_request(request))


class _SignIn(httpx.Auth):
    """Signs a person in before the first request: a session, or a token with these scopes."""

    def __init__(self, app: App, person: UserId, scopes: frozenset[Scope], operator: bool) -> None:
        self._app = app
        self._person = person
        self._scopes = scopes
        self._headers = {"x-test-operator": "yes" if operator else "no"}
        self._is_signed_in = False

    async def async_auth_flow(self, request: httpx.Request):
        if not self._is_signed_in:
            self._is_signed_in = True
            self._headers |= await self._signed_in()
        request.headers.update(self._headers)
        yield request

    async def _signed_in(self) -> dict[str, str]:
        if self._scopes != ALL_SCOPES:
            made = await self._app.tokens.create(
                self._person, uuid.uuid4().hex, self._scopes, lasts=None
            )
            return {"Authorization": f"Bearer {made.secret}"}
        session = await self._app.sessions.begin(
            self._person, by=SignedInBy.LINK, user_agent="tests"
        )
        return {
            "Cookie": f"rota-80={session.secret}",
            "Origin": ORIGIN,
            "X-CSRF-Token": csrf_token(session.secret),
        }


@pytest.fixture
def api(app) -> FastAPI:
    return make_api(app, _Authentication(app))


@pytest.fixture
async def client(api, app) -> AsyncIterator[Client]:
    """`client(alice)`, with `scopes` and `operator`, is a client of the API as she signed in.

    With all scopes she has a session, with fewer a token.
    """
    made: list[httpx.AsyncClient] = []

    def as_(
        person: UserId | None = None,
        *,
        scopes: frozenset[Scope] = ALL_SCOPES,
        operator: bool = False,
    ) -> httpx.AsyncClient:
        one = httpx.AsyncClient(
            transport=Transport(app=api, raise_app_exceptions=False),
            base_url=f"{ORIGIN}/api/v1",
            auth=None if person is None else _SignIn(app, person, frozenset(scopes), operator),
        )
        made.append(one)
        return one

    yield as_
    for one in made:
        await one.aclose()
