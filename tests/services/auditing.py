"""The audit log as tests write, seal, verify, and tamper with it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from rota.domain.audit.checks import Verification
from rota.services.audit.checkpoints import Checkpoints
from rota.services.audit.sealing import AuditSealer
from rota.services.audit.service import AuditService
from rota.store.database import Database
from tests.services.harness import CIPHER

DAY = timedelta(days=1)
LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
INSERT = (
    "INSERT INTO audit_logs (user_id, run_id, agent_name, tool_name, tier, decision, outcome,"
    " arguments, arguments_hash, detail, actor, origin, called_at)"
    " VALUES (%s, %s, 'watcher', %s, 'auto', 'allowed', 'succeeded', %s, 'abc', %s, %s, 'worker',"
    " now()) RETURNING id"
)


def now() -> datetime:
    return datetime.now(UTC)


class Log:
    """Writes entries as the backend does, seals, verifies, and tampers as the tables' owner."""

    def __init__(self, database: Database, owner) -> None:
        self.database = database
        self.owner = owner
        self.sealer = AuditSealer(database)
        self.service = AuditService(database, Checkpoints(CIPHER))

    async def write(self, user, tool="send", *, conn=None, actor="agent", **arguments) -> int:
        values = [user, uuid4(), tool, json.dumps(arguments), f"to {arguments}", actor]
        if conn is not None:
            return (await (await conn.execute(INSERT, values)).fetchone())[0]
        async with self.database.connection() as lent:
            return (await (await lent.execute(INSERT, values)).fetchone())[0]

    async def seal(self, at: datetime | None = None) -> int:
        return await self.sealer.seal(at or now())

    async def sealed(self, user, blocks=3, each=2, at: datetime | None = None) -> list[int]:
        """Write blocks of entries and return the entries' ids."""
        ids = []
        for block in range(blocks):
            ids += [
                await self.write(user, to="a@b.c", number=block * each + n) for n in range(each)
            ]
            await self.seal(at)
        return ids

    async def verify(self, user, *heads) -> Verification:
        return await self.service.verify(user, now=now(), heads=heads)

    async def problems(self, user, *heads) -> list[str]:
        found = await self.verify(user, *heads)
        return [
            " ".join(
                [
                    *([f"block {p.block}"] if p.block else []),
                    *([f"entry {p.entry}"] if p.entry else []),
                    p.text,
                ]
            )
            for p in found.problems
        ]

    async def fetch(self, query, *values):
        return await (await self.owner.execute(query, values)).fetchall()
