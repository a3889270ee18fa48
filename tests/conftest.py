from __future__ import annotations

import os
import uuid

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from rota.domain.ids import UserId
from rota.store.database import Database
from rota.store.migrations import migrate

SERVER = os.environ.get("ROTA_TEST_POSTGRES_URL", "postgresql://rota@127.0.0.1:54999/postgres")


@pytest.fixture
async def owner_url():
    name = f"t_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(SERVER, autocommit=True) as conn:
        conn.execute(f"CREATE DATABASE {name}")
    url = SERVER.rsplit("/", 1)[0] + "/" + name
    await migrate(url)
    yield url
    with psycopg.connect(SERVER, autocommit=True) as conn:
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def database_url(owner_url):
    return owner_url.replace("rota@", "rota_backend:x@")


@pytest.fixture
async def database(database_url):
    async with Database(database_url).opened() as opened:
        yield opened


@pytest.fixture
async def owner(owner_url):
    async with await psycopg.AsyncConnection.connect(owner_url, autocommit=True) as conn:
        yield conn


@pytest.fixture
async def alice(owner):
    cur = await owner.execute("INSERT INTO auth.users (email) VALUES ('alice@example.com') RETURNING id")
    return UserId((await cur.fetchone())[0])


@pytest.fixture
async def bob(owner):
    cur = await owner.execute("INSERT INTO auth.users (email) VALUES ('bob@example.com') RETURNING id")
    return UserId((await cur.fetchone())[0])
