"""Removal of a person, as the role that owns the tables."""

from __future__ import annotations

from typing import Final

from rota.bootstrap.app import App, Server, find_cipher
from rota.domain.ids import UserId
from rota.services.agents.connection_removal import RemovedConnection
from rota.services.operations import person_data
from rota.services.operations.person_data import PersonData, Removed
from rota.settings import Settings
from rota.store.database import Database
from rota.store.operations.backups import require_owner

PATIENCE: Final = 30.0
"""Seconds that workers have to end runs that were cancelled."""


async def person_to_remove(app: App, who: str) -> PersonData:
    """Return what a removal would delete; raises NotFoundError.

    Raises SetupRequiredError for another role than the owner.
    """
    await require_owner(app.server.owner_url)
    return await app.person_data.count(await app.named(who))


async def remove_person(
    settings: Settings, server: Server, person: PersonData, *, patience: float
) -> Removed:
    """Delete a person with all that is theirs; raises as `person_data.remove`."""
    async with Database(server.owner_url, prepared_statements=False).opened() as database:

        async def end_connections(user_id: UserId) -> tuple[RemovedConnection, ...]:
            if "connections" not in person.counts:
                return ()
            cipher = find_cipher(settings)
            if cipher is None:
                left = "They were not revoked at the providers: rota's key is not here."
                return (RemovedConnection("connections", left),)
            app = App(settings, server, database, cipher)
            return await app.connection_removal.end_all(user_id)

        return await person_data.remove(
            database, person, patience=patience, end_connections=end_connections
        )
