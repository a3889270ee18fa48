"""Reads Gmail again and again, as a worker's runs do: a child of `test_refreshing`.

Takes the database's URL, the person and ROTA_ENDPOINTS as JSON; writes a line for each use.
"""

from __future__ import annotations

import asyncio
import json
import sys
from datetime import UTC, datetime
from uuid import UUID

from rota.domain.errors import RotaError
from rota.domain.ids import UserId
from rota.security.secrets.encryption import Cipher
from rota.services.agents.connections import ConnectionService
from rota.store.database import Database


async def use(database_url: str, user: str, endpoints: str) -> None:
    async with Database(database_url).opened() as database:
        service = ConnectionService(
            database,
            Cipher(bytes(32)),
            clock=lambda: datetime.now(UTC),
            endpoints=json.loads(endpoints),
        )
        while True:
            try:
                await service.secret(UserId(UUID(user)), "gmail")
                said = "ok"
            except RotaError as error:
                said = f"{type(error).__name__}: {error}"
            sys.stdout.write(f"{said}\n")
            sys.stdout.flush()
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    asyncio.run(use(*sys.argv[1:]))
