"""Makes what judges the calls of an attempt, of the rules that were read with its run.

Here is how the rules are read again and their uses counted; security/gate/policy judges by them.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from rota.domain.approvals.rules import Rule
from rota.domain.approvals.verdict import Circumstances
from rota.domain.ids import RuleId
from rota.domain.runs.options import RunOptions
from rota.security.gate.policy import CallPolicy
from rota.services.runs.intake import TakenRun
from rota.store.approvals import rules as rows
from rota.store.database import Database


def policy_of(
    database: Database, taken: TakenRun, clock: Callable[[], datetime], options: RunOptions
) -> CallPolicy:
    """Return what judges the calls of an attempt of a run that was just taken."""
    run, now = taken.run, clock()

    async def reread() -> tuple[Rule, ...]:
        async with database.connection() as conn:
            return await rows.list_rules(conn, run.user_id)

    async def count_use(rule_id: RuleId) -> bool:
        async with database.connection() as conn:
            return await rows.use_rule(conn, rule_id)

    return CallPolicy(
        Circumstances(run.user_id, run.agent_name, taken.policy_schedule_id, taken.unattended, now),
        clock,
        taken.rules,
        read_at=now,
        reread=reread,
        count_use=count_use,
        is_dry_run=options.dry_run,
    )
