"""One of each thing that a person can have, with a mark in every text, for tests of strangers."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx

from rota.api.app import PREFIX
from rota.domain.ids import UserId
from tests.services.deciding import desk_of, send
from tests.services.harness import Workshop

MARK: Final = "bobs-own-words"
"""Stands in every text of Bob's; in an answer to somebody else it is a leak."""


@dataclass(frozen=True)
class World:
    """What somebody has. `names`: what each parameter of a path is called for them."""

    names: Mapping[str, str]


async def _ok(answer: httpx.Response) -> Any:
    assert answer.status_code < 300, answer.text
    return answer.json() if answer.content else None


async def populate(client: httpx.AsyncClient, workshop: Workshop, address: str) -> World:
    """Have a person make one of each, over the API where it can."""
    desk = desk_of(workshop)
    await workshop.declare_tools()
    await desk.run(send("bob", text=MARK), answer=MARK, prompt=MARK)
    waiting = await desk.action()
    seen = {"version": waiting["version"], "arguments_hash": waiting["arguments_hash"]}
    await _ok(await client.post(f"/approvals/{waiting['id']}/approve", json=seen))
    await desk.work()
    await desk.run(send("bob", text=MARK), answer=MARK, prompt=MARK)
    days = {"days": [{"first": "2027-05-01", "summary": MARK}]}
    await _ok(await client.put("/calendars/bobs-days", json=days))
    schedule = {"agent": "watcher", "when": "daily at 8:00", "prompt": MARK}
    await _ok(await client.put("/schedules/bobs-morning", json=schedule))
    rule = {"effect": "refuse", "tool": "send", "when": [f"to is {MARK}"]}
    made_rule = await _ok(await client.post("/rules", json=rule))
    token = await _ok(await client.post("/tokens", json={"name": MARK, "scopes": ["read"]}))
    await workshop.owner.execute(
        "INSERT INTO connections (user_id, name, service, secret, key_id, account)"
        " VALUES (%s, 'bobs-mail', 'imap', 'x', 'k', %s)",
        [workshop.user, MARK],
    )
    sessions = await _ok(await client.get("/sessions"))
    notices = await _ok(await client.get("/notifications"))
    runs = await workshop.rows("agent_runs", "created_at")
    results = await workshop.rows("agent_execution_results")
    actions = await workshop.rows("pending_actions", "created_at")
    return World(
        {
            "action": str(actions[-1]["id"]),
            "agent": "watcher",
            "calendar": "bobs-days",
            "connection": "bobs-mail",
            "day": "2027-05-01",
            "deputy": address,
            "model": "fake:model",
            "notification": str(notices["items"][0]["id"]),
            "person": address,
            "result": str(results[0]["id"]),
            "rule": str(_id(made_rule)),
            "run": str(runs[0]["id"]),
            "schedule": "bobs-morning",
            "session": str(_id(sessions["items"][0])),
            "token": str(_id(token)),
            "tool": "send",
        }
    )


def _id(made: Any) -> Any:
    """Return the id of what was made, wherever the answer has it."""
    if "id" in made:
        return made["id"]
    return next(one["id"] for one in made.values() if isinstance(one, dict) and "id" in one)


def body_of(operation: Mapping[str, Any]) -> tuple[str, Any] | None:
    """Return the type and the first example of an operation's body; None where it has none."""
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        shown = content.get("examples")
        if shown:
            return kind, next(iter(shown.values()))["value"]
        return kind, content.get("example", {})
    return None


async def ask(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    operation: Mapping[str, Any],
    names: Mapping[str, str],
) -> httpx.Response:
    """Send an operation's example about these things."""
    headers = {"If-Match": "*"} if method != "POST" else {}
    url = path.removeprefix(PREFIX).format_map(names)
    match body_of(operation):
        case None:
            return await client.request(method, url, headers=headers)
        case ("application/json", value):
            return await client.request(method, url, json=value, headers=headers)
        case (kind, value):
            given = {**headers, "Content-Type": kind}
            return await client.request(method, url, content=str(value), headers=given)


async def rows_of(owner: Any, person: UserId) -> dict[str, str]:
    """Return a digest of each table's rows that are a person's."""
    cursor = await owner.execute(
        "SELECT table_schema, table_name FROM information_schema.columns "
        "WHERE column_name = 'user_id' AND table_schema IN ('public', 'rota') "
        "AND (table_schema, table_name) IN (SELECT schemaname, tablename FROM pg_tables)"
    )
    digests = {}
    for schema, table in await cursor.fetchall():
        found = await owner.execute(
            f'SELECT t::text FROM "{schema}"."{table}" AS t WHERE user_id = %s ORDER BY 1',
            [person],
        )
        text = "\n".join(row[0] for row in await found.fetchall())
        digests[f"{schema}.{table}"] = hashlib.sha256(text.encode()).hexdigest()
    return digests
