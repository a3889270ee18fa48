"""Rows of pauses of all schedules of a person."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import datetime

from rota.domain.ids import UserId
from rota.domain.schedules.pauses import Pause
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.statements import execute, many, value


async def pauses_of_people(
    conn: Connection, people: Collection[UserId], *, over_after: datetime | None = None
) -> Mapping[UserId, tuple[Pause, ...]]:
    """Return the pauses of these people that are not over by `over_after` (aware), or by now."""
    found: dict[UserId, tuple[Pause, ...]] = defaultdict(tuple)
    for user_id, pause in await many(
        conn,
        "schedules/list_pauses",
        lambda row: (UserId(row["user_id"]), read(Pause, row)),
        people=people,
        over_after=over_after,
    ):
        found[user_id] += (pause,)
    return found


async def pause_everything(
    conn: Connection, *, note: str | None, starts_at: datetime | None, ends_at: datetime | None
) -> None:
    """Pause, as the transaction's person, all their schedules, instead of as they pause now.

    Raises InvalidInputError for an end that is not after the start and now.
    """
    await execute(
        conn, "schedules/pause_everything", note=note, starts_at=starts_at, ends_at=ends_at
    )


async def resume_everything(conn: Connection) -> bool:
    """End the pause of the transaction's person, one to come too; False if there is none."""
    return await value(conn, "schedules/resume_everything", bool)
