from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import httpx
import pytest
from fastapi import FastAPI, Request

from rota.api.app import make_api
from rota.api.callers import ALL_SCOPES, Caller, Scope
from rota.api.problems import ApiError
from rota.bootstrap.app import App, Server
from rota.domain.ids import UserId
from rota.settings import Settings
from tests.services.harness import CIPHER, Workshop, clock

Client = Callable[..., httpx.AsyncClient]


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


async def _authenticate(request: Request) -> Caller:
    given = request.headers.get("authorization", "").removeprefix("Bearer ").split()
    if not given:
        raise ApiError(401, "not-signed-in", "Sign in.", headers={"WWW-Authenticate": "Bearer"})
    person, is_operator, *scopes = given
    return Caller(
        UserId(person),
        frozenset(map(Scope, scopes)),
        is_operator == "operator",
        "session" if frozenset(scopes) == ALL_SCOPES else "token",
    )


@pytest.fixture
def api(app) -> FastAPI:
    return make_api(app, _authenticate)


@pytest.fixture
async def client(api) -> AsyncIterator[Client]:
    """`client(alice)`, with `scopes` and `operator`, is a client of the API as she signed in."""
    made: list[httpx.AsyncClient] = []

    def as_(
        person: UserId | None = None,
        *,
        scopes: frozenset[Scope] = ALL_SCOPES,
        operator: bool = False,
    ) -> httpx.AsyncClient:
        said = f"Bearer {person} {'operator' if operator else 'person'} {' '.join(sorted(scopes))}"
        one = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=api, raise_app_exceptions=False),
            base_url="http://127.0.0.1/api/v1",
            headers={} if person is None else {"Authorization": said},
        )
        made.append(one)
        return one

    yield as_
    for one in made:
        await one.aclose()
