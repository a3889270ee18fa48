"""Deputies: people who may decide on approval requests when the owner does not answer."""

from __future__ import annotations

from typing import Final

from rota.domain.approvals.deputies import Deputy
from rota.domain.errors import InvalidInputError, NotFoundError
from rota.domain.ids import UserId
from rota.store.approvals import deputies as rows
from rota.store.database import Database

LONGEST_NAME: Final = 320


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

    async def add(
        self, user_id: UserId, deputy_id: UserId, *, user_name: str, deputy_name: str
    ) -> None:
        """Let somebody decide what another does not decide in time.

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
            await rows.insert_deputy(conn, Deputy(user_id, deputy_id, user_name, deputy_name))

    async def remove(self, user_id: UserId, deputy_id: UserId) -> None:
        """Take that back, from now on; raises NotFoundError."""
        async with self._database.transaction() as conn:
            if not await rows.delete_deputy(conn, user_id, deputy_id):
                raise NotFoundError(
                    "deputy", str(deputy_id), hint="See `rota approvals deputies list`."
                )
