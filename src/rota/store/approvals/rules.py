"""Rows of approval rules."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from rota.domain.approvals.conditions import Condition
from rota.domain.approvals.rules import Rule, RuleDraft, condition_as_json, conditions_from_json
from rota.domain.errors import InvalidInputError
from rota.domain.ids import RuleId, UserId
from rota.store.database import Connection
from rota.store.reading import read
from rota.store.records import row_of
from rota.store.statements import execute, has_effect, many, value


async def list_rules(
    conn: Connection, user_id: UserId | None, *, prefix: str | None = None
) -> tuple[Rule, ...]:
    """Return a person's rules and the operator's that hold for them; for None the operator's."""
    return await many(conn, "approvals/list_rules", rule_from_row, user_id=user_id, prefix=prefix)


async def insert_rule(conn: Connection, user_id: UserId | None, draft: RuleDraft) -> RuleId:
    """Insert a rule of a person, or the operator's; returns its id.

    Raises NotFoundError for a schedule of somebody else's, ConflictError beyond their quotas.
    """
    conditions = Jsonb([condition_as_json(condition) for condition in draft.conditions])
    name = "approvals/insert_operator_rule" if user_id is None else "approvals/insert_rule"
    row = row_of(draft) | {"conditions": conditions}
    return await value(conn, name, RuleId, user_id=user_id, **row)


async def list_names(
    conn: Connection, drafts: Sequence[RuleDraft], *, with_people: bool
) -> dict[UUID, str]:
    """Return what those schedules of rules are called that the transaction's person sees.

    With people, theirs too: only the backend may read them.
    """
    named = itemgetter("id", "name")
    schedules = [draft.schedule_id for draft in drafts if draft.schedule_id is not None]
    found = await many(conn, "approvals/list_rule_schedules", named, schedule_ids=schedules)
    if with_people:
        people = [draft.for_user for draft in drafts if draft.for_user is not None]
        found += await many(conn, "approvals/list_rule_people", named, user_ids=people)
    return dict(found)


async def delete_rule(conn: Connection, user_id: UserId | None, rule_id: RuleId) -> bool:
    """Delete a rule of a person, or the operator's; False where it is gone."""
    return await has_effect(conn, "approvals/delete_rule", rule_id=rule_id, user_id=user_id)


async def delete_expired_rules(conn: Connection, user_id: UserId | None) -> int:
    """Delete rules of a person, or the operator's, that expired a month ago; returns how many."""
    return await execute(conn, "approvals/delete_expired_rules", user_id=user_id)


async def count_stopped_rules(conn: Connection, tool: str, version: int) -> int:
    """Return how many rules hold no longer since a tool is declared at this version."""
    return await value(conn, "approvals/count_stopped_rules", int, tool=tool, version=version)


async def use_rule(conn: Connection, rule_id: RuleId) -> bool:
    """Count one use of a rule; False where none is left, or it is gone or has expired."""
    return await has_effect(conn, "approvals/use_rule", rule_id=rule_id)


def rule_from_row(row: Mapping[str, Any]) -> Rule:
    """Make the value from a row, or from a row as JSON; never raises for what somebody wrote."""
    conditions, fault = _conditions(row["conditions"])
    return read(Rule, {**row, "conditions": conditions, "fault": fault})


@lru_cache(maxsize=2_000)
def _conditions(text: str) -> tuple[tuple[Condition, ...], str | None]:
    """Return conditions, or why nobody can read them; the same ones are read for every run."""
    try:
        return conditions_from_json(json.loads(text)), None
    except InvalidInputError as error:
        return (), error.message
    except (ValueError, RecursionError):
        return (), "Its conditions cannot be read."
