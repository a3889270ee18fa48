"""Makes the `CallPolicy` of an attempt from the rules that were read with its run.

It adds the functions that read the rules again and count their uses. The judging itself is in
security/gate/policy.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime

from rota.domain.approvals.outside_texts import OutsideTexts
from rota.domain.approvals.rules import Rule
from rota.domain.approvals.verdict import Circumstances
from rota.domain.ids import RuleId
from rota.domain.runs.options import RunOptions
from rota.security.gate.policy import CallPolicy
from rota.services.runs.intake import TakenRun
from rota.store.approvals import rules as rows
from rota.store.database import Database


def policy_of(
    database: Database,
    taken: TakenRun,
    clock: Callable[[], datetime],
    options: RunOptions,
    outside: OutsideTexts,
) -> CallPolicy:
    """Return what judges the calls of an attempt of a run that was just taken.

    `outside` is what the run has read from outside, and grows with it.
    """
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
        outside=outside,
        own_words=_own_words(run.prompt, options),
    )


def _own_words(prompt: str, options: RunOptions) -> str:
    """Return what a person wrote for the run: its prompt, its checklist, what its check calls."""
    words = [prompt, *options.checklist]
    if options.precheck is not None:
        words.append(json.dumps(dict(options.precheck.arguments), ensure_ascii=False))
    return "\n".join(words)
