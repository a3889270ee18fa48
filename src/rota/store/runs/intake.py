"""Claims runs and reads all that their attempts need, in one round trip on a pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from psycopg.rows import dict_row

from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.approvals.rules import Rule
from rota.domain.ids import RunId, ScheduleId
from rota.domain.runs.limits import DayLimits
from rota.domain.runs.run import Claim, Run
from rota.domain.schedules.schedule import Schedule
from rota.store.agents.rows import agent_from_row
from rota.store.approvals.rules import rule_from_row
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.schedules.rows import schedule_from_row
from rota.store.statements import statement
from rota.store.unreadable import required, rows_of


@dataclass(frozen=True, slots=True)
class ClaimedRun:
    """A claimed run, its claim, and the settings that are valid for it and its owner now.

    `may_run`: its owner may run agents. `rules` are the rules for its calls. If the run executes an
    action, `policy_schedule_id` and `unattended` come from the run that asked for the action.
    `schedule` is None for a run without a schedule, or whose schedule was deleted. `agent` has its
    active tools; it is None where no agent of that name exists.
    """

    run: Run
    claim: Claim
    owner_zone: str
    day_limits: DayLimits
    may_run: bool
    rules: tuple[Rule, ...] = ()
    policy_schedule_id: ScheduleId | None = None
    unattended: bool = True
    schedule: Schedule | None = None
    agent: AgentConfiguration | None = None


async def claim_runs(conn: Connection, run_ids: Sequence[RunId]) -> dict[RunId, ClaimedRun]:
    """Begin a new attempt of each run that is not over, and read what it needs.

    Raises UnreadableError where something of one of them cannot be read; then take them one by one.
    """
    runs = {"run_ids": list(run_ids)}
    async with (
        conn.cursor(row_factory=dict_row) as claims,
        conn.cursor(row_factory=dict_row) as rules,
        conn.cursor(row_factory=dict_row) as schedules,
        conn.cursor(row_factory=dict_row) as agents,
    ):
        await claims.execute(statement("runs/claim_runs"), runs)
        await rules.execute(statement("approvals/fetch_rules_of_runs"), runs)
        await schedules.execute(statement("runs/fetch_schedules_of_runs"), runs)
        await agents.execute(
            statement("agents/fetch_agents"), {"user_id": None, "agent_name": None, **runs}
        )
        rows = [required(row, dict, "runs") for row in await rows_of(claims, "runs")]
        rule_of = {
            rule.id: rule
            for row in await rows_of(rules, "rules")
            for rule in [required(row, rule_from_row, "rules")]
        }
        schedule_of = {
            schedule.id: schedule
            for row in await rows_of(schedules, "schedules")
            for schedule in [required(row, schedule_from_row, "schedules")]
        }
        agent_of = {
            named: required(row, agent_from_row, "agents")
            for row in await rows_of(agents, "agents")
            for named in [required(row, itemgetter("agent_name", "wanted_by"), "agents")]
        }
    for row in rows:
        # One that was deleted a moment ago is not there any more, and holds no longer.
        row["rules"] = [rule_of[id_] for id_ in row["rule_ids"] or () if id_ in rule_of]
        row["schedule"] = schedule_of.get(row["schedule_id"])
        row["agent"] = agent_of.get((row["agent_name"], row["user_id"]))
    return {row["id"]: required(row, partial(read, ClaimedRun), "runs") for row in rows}
