"""What runs inside an agent has no token, and no claim of one."""

from __future__ import annotations

import contextvars
import os

from rota.api.callers import Scope
from rota.store.scopes import scopes_of_task
from tests.services.running import queue_runs, results, working


async def test_run_that_a_token_asked_for_knows_nothing_of_it(
    client, app, workshop, owner, alice, database_url
):
    agent = {"steps": [{"calls": [{"tool": "look", "args": {"query": "x"}}]}], "answer": "Done."}
    await workshop.agent(agent, tools=["look"])
    made = await app.tokens.create(alice, "ci", [Scope.TRIGGER], lasts=None)
    seen: list[str] = []
    before = workshop.toolbox.calls.append

    class Calls(list):
        def append(self, call):
            before(call)
            context = [repr(value) for value in contextvars.copy_context().values()]
            seen.append(f"{scopes_of_task()} {context} {dict(os.environ)}")
            super().append(call)

    workshop.toolbox.calls = Calls()
    asked = await client().post(
        "/runs",
        json={"agent": "watcher", "prompt": "Look."},
        headers={"Authorization": f"Bearer {made.secret}", "Idempotency-Key": "k"},
    )
    assert asked.status_code == 202, asked.text
    await queue_runs(workshop.database)
    async with working(workshop, database_url):
        await results(workshop)

    assert len(seen) == 1
    assert seen[0].startswith("None ")
    cursor = await owner.execute(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class AS c"
        " JOIN pg_namespace AS n ON n.oid = c.relnamespace"
        " WHERE c.relkind = 'r' AND n.nspname IN ('public', 'rota')"
    )
    rows = ""
    for (table,) in await cursor.fetchall():
        found = await owner.execute(f"SELECT t::text FROM {table} AS t")
        rows += "".join(text for (text,) in await found.fetchall())
    assert "Done." in rows
    for text in (seen[0], rows):
        assert made.secret not in text
        assert made.secret.removeprefix("rota_") not in text
