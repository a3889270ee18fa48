"""A decision is on the arguments that were shown, and its origin is what rota's own roles say."""

from __future__ import annotations

import json
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from rota.domain.errors import ConflictError
from rota.security.secrets.hashing import arguments_hash
from tests.services.approvals.test_approved_calls import desk
from tests.services.deciding import send

__all__ = ["desk"]

OTHER = {"to": "eve", "text": ""}


async def other_under_the_same_id(desk, shown):
    """Let the owner of the tables do what the backend may not: an action under another one's id."""
    changed = "run_id = NULL, arguments = %s, arguments_hash = %s, proposed_arguments = NULL"
    await desk.workshop.owner.execute(
        f"UPDATE pending_actions SET {changed} WHERE id = %s",
        [json.dumps(OTHER), arguments_hash(OTHER), shown.id],
    )


async def test_backend_removes_no_action_and_gives_none_the_id_of_another(desk):
    await desk.run(send("bob"), send("eve"))
    shown, other = await desk.actions()
    for statement, values in (
        ("DELETE FROM pending_actions WHERE id = %s", [shown["id"]]),
        ("TRUNCATE pending_actions CASCADE", []),
        ("UPDATE pending_actions SET id = gen_random_uuid() WHERE id = %s", [shown["id"]]),
        ("DELETE FROM auth.users WHERE id = %s", [desk.workshop.user]),
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            async with desk.workshop.database.connection() as conn:
                await conn.execute(statement, values)

    assert [action["id"] for action in await desk.actions()] == [shown["id"], other["id"]]


@pytest.mark.parametrize("decision", ["approve", "refuse"])
async def test_other_call_under_the_id_and_version_that_were_shown_is_not_decided_on(
    desk, decision
):
    await desk.run(send("bob"))
    (shown,) = await desk.approvals.find_actions(
        desk.workshop.user, [str((await desk.action())["id"])]
    )
    await other_under_the_same_id(desk, shown)
    assert (await desk.action())["version"] == shown.version

    (decided,) = await desk.approvals.decide_all(desk.workshop.user, [shown], decision, via="cli")

    assert decided.problem == "The request was changed after it was shown. Read it again."
    with pytest.raises(ConflictError, match="changed after it was shown"):
        await desk.approve(version=shown.version, arguments_hash=shown.arguments_hash)
    await desk.work()
    assert (await desk.action())["status"] == "pending"
    assert desk.sent == []


async def test_sql_function_says_edited_of_another_hash(desk):
    await desk.run(send("bob"))
    action = await desk.action()
    query = "SELECT decide_action(%s, 'approve', 1, NULL, 'api', %s)"
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="edited"):
        async with desk.workshop.database.acting_as(desk.workshop.user) as conn:
            await conn.execute(query, [action["id"], arguments_hash(OTHER)])
    async with desk.workshop.database.acting_as(desk.workshop.user) as conn:
        await conn.execute(query, [action["id"], action["arguments_hash"]])
    assert (await desk.action())["status"] == "approved"


async def test_pruning_a_run_leaves_its_action_and_a_person_takes_theirs_along(desk):
    """The backend deletes runs and, by way of them, nothing of a decision."""
    await desk.run(send("bob"))
    await desk.refuse()
    async with desk.workshop.database.connection() as conn:
        await conn.execute("DELETE FROM agent_execution_results")
        await conn.execute("DELETE FROM agent_runs")
    assert (await desk.action())["run_id"] is None
    await desk.workshop.owner.execute("DELETE FROM auth.users WHERE id = %s", [desk.workshop.user])
    assert await desk.actions() == []


@pytest.fixture
def stranger_url(owner_url: str):
    """A session that PostgREST could be: it may act as a person, and is no role of rota's."""
    with psycopg.connect(owner_url, autocommit=True) as conn:
        conn.execute("CREATE ROLE test_authenticator LOGIN NOINHERIT PASSWORD 'x'")
        conn.execute("GRANT authenticated TO test_authenticator")
        parts = urlsplit(owner_url)
        host = parts.netloc.rpartition("@")[2]
        try:
            yield urlunsplit(parts._replace(netloc=f"test_authenticator:x@{host}"))
        finally:
            conn.execute("DROP ROLE test_authenticator")


async def as_person(url, user, query, values):
    async with await psycopg.AsyncConnection.connect(url) as conn:
        await conn.execute("SET LOCAL ROLE authenticated")
        claims = json.dumps({"sub": str(user), "role": "authenticated"})
        await conn.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
        await conn.execute(query, values)


@pytest.mark.parametrize("via", ["telegram", "cli", "api"])
async def test_session_of_another_role_names_no_origin(desk, stranger_url, via):
    await desk.run(send("bob"), send("eve"))
    first, second = await desk.actions()
    user = desk.workshop.user
    await as_person(
        stranger_url, user, "SELECT decide_action(%s, 'refuse', NULL, '', %s)", [first["id"], via]
    )
    await desk.workshop.owner.execute(
        "UPDATE pending_actions SET status = 'approved' WHERE id = %s", [second["id"]]
    )
    for status in ("running", "unknown"):
        await desk.workshop.owner.execute(
            "UPDATE pending_actions SET status = %s WHERE id = %s", [status, second["id"]]
        )
    await as_person(
        stranger_url, user, "SELECT settle_action(%s, 'happened', %s)", [second["id"], via]
    )

    assert [action["decided_via"] for action in await desk.actions()] == ["sql", "sql"]
    origins = [row["origin"] for row in await desk.workshop.rows("audit_logs", "id")]
    assert origins[-2:] == ["sql", "sql"]


async def test_rotas_own_roles_name_the_origin(desk, owner_url):
    await desk.run(send("bob"), send("eve"))
    first, second = await desk.actions()
    await desk.refuse(first, via="telegram")
    await as_person(
        owner_url,
        desk.workshop.user,
        "SELECT decide_action(%s, 'refuse', NULL, '', 'web')",
        [second["id"]],
    )

    assert [action["decided_via"] for action in await desk.actions()] == ["telegram", "web"]
