"""What is read when runs are taken, in one round trip on a pipeline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg.rows import dict_row

from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.ids import RunId, ScheduleId, UserId
from rota.domain.schedules.schedule import Schedule
from rota.store.agents.rows import agent_from_row
from rota.store.database import Connection
from rota.store.runs.rows import ClaimedRun, claimed_from_row
from rota.store.schedules.rows import schedule_from_row
from rota.store.statements import statement


@dataclass(frozen=True, slots=True)
class TakenRows:
    """Runs that were claimed, and the rows that they need as they are now.

    Agents by (name, person), with their active tools, a person's own before a shared one. What is
    gone is left out.
    """

    claimed: Mapping[RunId, ClaimedRun]
    schedules: Mapping[ScheduleId, Schedule]
    agents: Mapping[tuple[str, UserId], AgentConfiguration]


async def take_runs(conn: Connection, run_ids: Sequence[RunId]) -> TakenRows:
    """Begin a new attempt of each run that is not over, and read what it needs."""
    runs = {"run_ids": list(run_ids)}
    async with (
        conn.cursor(row_factory=dict_row) as claims,
        conn.cursor(row_factory=dict_row) as schedules,
        conn.cursor(row_factory=dict_row) as agents,
    ):
        await claims.execute(statement("runs/claim_runs"), runs)
        await schedules.execute(statement("runs/fetch_schedules_of_runs"), runs)
        await agents.execute(
            statement("agents/fetch_agents"), {"agent_names": [], "user_ids": [], **runs}
        )
        return TakenRows(
            {row["id"]: claimed_from_row(row) for row in await claims.fetchall()},
            {row["id"]: schedule_from_row(row) for row in await schedules.fetchall()},
            {
                (row["wanted_name"], UserId(row["wanted_by"])): agent_from_row(row)
                for row in await agents.fetchall()
            },
        )
