"""People, and who of them may run agents. The operator adds, allows and denies them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rota.domain.agents.people import People, Person
from rota.domain.errors import ConflictError, InvalidInputError
from rota.domain.ids import UserId
from rota.domain.text.shortening import quoted
from rota.store import users
from rota.store.agents import people as rows
from rota.store.database import Database

_ADDRESS: Final = re.compile(r"[^\s@\x00-\x1f\x7f]{1,64}@[^\s@\x00-\x1f\x7f]{1,255}")


@dataclass(frozen=True, slots=True)
class Added:
    """A person, whether this call created them, and whether they may run agents by now."""

    user_id: UserId
    email: str
    is_new: bool
    may_run: bool


class PeopleService:
    """Acts as the backend, because only the operator decides who may use the operator's keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def all(self) -> People:
        """Return what holds for everybody, and who is named."""
        async with self._database.connection() as conn:
            return People(await rows.is_open_to_all(conn), await rows.list_people(conn))

    async def get(self, user_id: UserId) -> Person:
        """Return a person, and whether they may run agents."""
        async with self._database.connection() as conn:
            may_run = await rows.may_run(conn, user_id)
            return Person(user_id, await users.fetch_address(conn, user_id), may_run)

    async def set(self, people: Sequence[UserId], *, may_run: bool) -> None:
        """Allow these people to run agents, or deny it to them, whatever holds for everybody."""
        async with self._database.transaction() as conn:
            await rows.set_may_run(conn, people, may_run=may_run)

    async def add(self, emails: Sequence[str], *, may_run: bool = True) -> tuple[Added, ...]:
        """Make people, who may run agents or not. Whoever was refused by name stays refused.

        Raises InvalidInputError for what is no address, and ConflictError on Supabase, where people
        sign up.
        """
        addresses = list(dict.fromkeys(_address(email) for email in emails))
        added: list[Added] = []
        async with self._database.transaction() as conn:
            if not await users.makes_people(conn):
                raise ConflictError(
                    "People sign up themselves on this server; `rota people allow` lets them run "
                    "agents."
                )
            refused = {p.user_id for p in await rows.list_people(conn) if not p.may_run}
            for address in addresses:
                is_new = await users.find_user(conn, address) is None
                user_id = await users.ensure_user(conn, address)
                added.append(Added(user_id, address, is_new, may_run and user_id not in refused))
            for verdict in (True, False):
                named = [one.user_id for one in added if one.may_run is verdict]
                await rows.set_may_run(conn, named, may_run=verdict)
        return tuple(added)

    async def set_everybody(self, *, may_run: bool) -> None:
        """Say whether whoever is not named may run agents."""
        async with self._database.transaction() as conn:
            await rows.set_open_to_all(conn, is_open=may_run)


def _address(email: str) -> str:
    """Return an address as it is kept: in lower case, as Supabase keeps them."""
    address = email.strip().lower()
    if _ADDRESS.fullmatch(address) is None:
        raise InvalidInputError(f"{quoted(email, 80)} is no e-mail address.", field="email")
    return address
