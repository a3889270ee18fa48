"""Pauses, resumes and removes many schedules of a person at once, each with its own outcome."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, assert_never

from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.schedules.schedule import Schedule, WhichSchedules
from rota.domain.text.storable import storable_text
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.schedules import rows

MOST_AT_ONCE: Final = 1_000

Action: TypeAlias = Literal["pause", "resume", "delete"]
BulkOutcome: TypeAlias = Literal[
    "paused", "resumed", "deleted", "unchanged", "not_found", "refused"
]
_DONE: Final[dict[Action, BulkOutcome]] = {
    "pause": "paused",
    "resume": "resumed",
    "delete": "deleted",
}


@dataclass(frozen=True, slots=True)
class ChangedSchedule:
    """The outcome of one of many schedules; `detail` says why where it was refused."""

    schedule_name: str
    outcome: BulkOutcome
    detail: str | None = None


class BulkService:
    """Acts as the person, in one transaction of a few statements."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def change(
        self,
        user_id: UserId,
        action: Action,
        *,
        names: Sequence[str] | None = None,
        which: WhichSchedules | None = None,
        note: str = "",
        dry_run: bool = False,
    ) -> tuple[ChangedSchedule, ...]:
        """Do the same to all schedules of these names or ids, else to all of `which`.

        In the order of `names`, else by name. Each is treated as by `ScheduleService`. Raises
        InvalidInputError for more than `MOST_AT_ONCE`. A `dry_run` changes nothing, and says what
        outcome each would have.
        """
        wanted = None if names is None else [storable_text(name) for name in names]

        async def work() -> tuple[ChangedSchedule, ...]:
            async with self._database.acting_as(user_id) as conn:
                found = await rows.lock_schedules(
                    conn, wanted, which or WhichSchedules(), limit=MOST_AT_ONCE + 1
                )
                if len(found) > MOST_AT_ONCE:
                    raise InvalidInputError(
                        f"There are more than {MOST_AT_ONCE} schedules of this filter. "
                        "Narrow it down.",
                        field="filter",
                    )
                outcomes = {one.id: _outcome(one, action, note) for one in found}
                if not dry_run:
                    touched = [one for one in found if outcomes[one.id].outcome == _DONE[action]]
                    await _do(conn, action, touched, note)
            return _in_order(wanted, found, [outcomes[one.id] for one in found])

        return await despite_deadlocks(work)


def _outcome(schedule: Schedule, action: Action, note: str) -> ChangedSchedule:
    is_so = (action == "pause" and not schedule.is_active and not note) or (
        action == "resume" and schedule.is_active
    )
    if is_so:
        return ChangedSchedule(schedule.name, "unchanged")
    if action == "resume":
        try:
            schedule.timing.check()
        except InvalidInputError as error:
            return ChangedSchedule(schedule.name, "refused", error.message)
    return ChangedSchedule(schedule.name, _DONE[action])


async def _do(conn: Connection, action: Action, found: Sequence[Schedule], note: str) -> None:
    ids = [schedule.id for schedule in found]
    match action:
        case "pause":
            await rows.pause_many(conn, ids, note)
        case "resume":
            await rows.resume_many(conn, ids, note)
        case "delete":
            await rows.delete_many(conn, ids)
        case _:
            assert_never(action)


def _in_order(
    names: Sequence[str] | None, found: Sequence[Schedule], outcomes: Sequence[ChangedSchedule]
) -> tuple[ChangedSchedule, ...]:
    if names is None:
        return tuple(sorted(outcomes, key=lambda one: one.schedule_name))
    by_name = {one.name: outcome for one, outcome in zip(found, outcomes, strict=True)}
    by_id = {str(one.id): outcome for one, outcome in zip(found, outcomes, strict=True)}
    known = by_id | by_name
    return tuple(
        known.get(name) or ChangedSchedule(name, "not_found") for name in dict.fromkeys(names)
    )
