"""Deputies: people who may decide on approval requests when the owner does not answer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from rota.domain.approvals.deputies import Deputy
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.ids import UserId
from rota.store.approvals import deputies as rows
from rota.store.database import Database
from rota.store.users import fetch_address

LONGEST_NAME: Final = 320


@dataclass(frozen=True, slots=True)
class Added:
    """A deputy; not new if they stood in before."""

    deputy: Deputy
    is_new: bool


class DeputyService:
    """Acts as the backend, because only the operator appoints deputies."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def list_all(self) -> tuple[Deputy, ...]:
        """Return who stands in for whom."""
        async with self._database.transaction() as conn:
            return await rows.list_deputies(conn)

    async def list_names(self, user_id: UserId) -> dict[UserId, str]:
        """Return what others are called whom a person stands in for, or who do for them; "you"."""
        async with self._database.acting_as(user_id) as conn:
            found = await rows.list_deputies(conn)
        return {
            **{one.user_id: one.user_name for one in found},
            **{one.deputy_id: one.deputy_name for one in found},
            user_id: "you",
        }

    async def list_of(self, user_id: UserId) -> tuple[Deputy, ...]:
        """Return who stands in for a person, and for whom the person does."""
        async with self._database.acting_as(user_id) as conn:
            return await rows.list_deputies(conn)

    async def add_by_address(self, user_id: UserId, deputy_id: UserId) -> Added:
        """As `add`; each is told the other's e-mail address, or id where there is none."""
        async with self._database.connection() as conn:
            names = [await fetch_address(conn, one) or str(one) for one in (user_id, deputy_id)]
        is_new = await self.add(user_id, deputy_id, user_name=names[0], deputy_name=names[1])
        return Added(Deputy(user_id, deputy_id, *names), is_new)

    async def add(
        self, user_id: UserId, deputy_id: UserId, *, user_name: str, deputy_name: str
    ) -> bool:
        """Let somebody decide what another does not decide in time; False: they do already.

        The names are what each is told of the other. Raises InvalidInputError.
        """
        if user_id == deputy_id:
            raise InvalidInputError("A person cannot be their own deputy.", field="deputy")
        for name in (user_name, deputy_name):
            if not 0 < len(name) <= LONGEST_NAME:
                raise InvalidInputError(
                    f"A name has 1 to {LONGEST_NAME} characters.", field="deputy"
                )
        async with self._database.transaction() as conn:
            return await rows.insert_deputy(
                conn, Deputy(user_id, deputy_id, user_name, deputy_name)
            )

    async def remove(self, user_id: UserId, deputy_id: UserId) -> None:
        """Take that back, from now on; raises NotFoundError."""
        async with self._database.transaction() as conn:
            if not await rows.delete_deputy(conn, user_id, deputy_id):
                raise NotFoundError(
                    "deputy", str(deputy_id), hint="See `rota approvals deputies list`."
                )
