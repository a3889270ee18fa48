"""Rows of rules on calls of tools."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from rota.domain.approvals.conditions import Condition
from rota.domain.approvals.rules import Rule, RuleDraft, condition_as_json, conditions_from_json
from rota.domain.errors import InvalidInputError
from rota.domain.ids import ActionId, RuleId, ScheduleId, UserId
from rota.store.database import Connection
from rota.store.statements import Row, execute, many, value


async def list_rules(
    conn: Connection, user_id: UserId | None, *, prefix: str | None = None
) -> tuple[Rule, ...]:
    """Return a person's rules and the operator's that hold for them; for None the operator's."""
    return await many(conn, "approvals/list_rules", rule_from_row, user_id=user_id, prefix=prefix)


async def insert_rule(conn: Connection, user_id: UserId | None, draft: RuleDraft) -> RuleId:
    """Insert a rule of a person, or the operator's; returns its id.

    Raises NotFoundError for a schedule of somebody else's, ConflictError beyond 500 rules.
    """
    row = {
        "user_id": user_id,
        "effect": draft.effect,
        "tool": draft.tool,
        "for_user": draft.for_user,
        "agent_name": draft.agent_name,
        "schedule_id": draft.schedule_id,
        "attendance": draft.attendance,
        "conditions": Jsonb([condition_as_json(condition) for condition in draft.conditions]),
        "risk": draft.risk,
        "note": draft.note,
        "tool_version": draft.tool_version,
        "expires_at": draft.expires_at,
        "uses_left": draft.uses_left,
        "from_action": draft.from_action,
    }
    name = "approvals/insert_operator_rule" if user_id is None else "approvals/insert_rule"
    return await value(conn, name, RuleId, **row)


async def list_names(
    conn: Connection, drafts: Sequence[RuleDraft], *, with_people: bool
) -> dict[UUID, str]:
    """Return what those schedules of rules are called that the transaction's person sees.

    With people, theirs too: only the backend may read them.
    """
    schedules = [draft.schedule_id for draft in drafts if draft.schedule_id is not None]
    rows = await many(conn, "approvals/list_rule_schedules", Row, schedule_ids=schedules)
    found: dict[UUID, str] = {row["id"]: row["name"] for row in rows}
    if with_people:
        people = [draft.for_user for draft in drafts if draft.for_user is not None]
        rows = await many(conn, "approvals/list_rule_people", Row, user_ids=people)
        found |= {row["id"]: row["email"] for row in rows}
    return found


async def delete_rule(conn: Connection, user_id: UserId | None, rule_id: RuleId) -> bool:
    """Delete a rule of a person, or the operator's; False where it is gone."""
    return await execute(conn, "approvals/delete_rule", rule_id=rule_id, user_id=user_id) == 1


async def delete_expired_rules(conn: Connection, user_id: UserId | None) -> int:
    """Delete rules of a person, or the operator's, that expired a month ago; returns how many."""
    return await execute(conn, "approvals/delete_expired_rules", user_id=user_id)


async def use_rule(conn: Connection, rule_id: RuleId) -> bool:
    """Count one use of a rule; False where none is left, or it is gone or has expired."""
    return await execute(conn, "approvals/use_rule", rule_id=rule_id) == 1


def rule_from_row(row: Mapping[str, Any]) -> Rule:
    """Make the value from a row, or from a row as JSON; never raises for what somebody wrote."""
    conditions, fault = _conditions(row["conditions"])
    draft = RuleDraft(
        effect=row["effect"],
        tool=row["tool"],
        conditions=conditions,
        agent_name=row["agent_name"],
        schedule_id=_id(ScheduleId, row["schedule_id"]),
        for_user=_id(UserId, row["for_user"]),
        attendance=row["attendance"],
        risk=row["risk"],
        note=row["note"],
        tool_version=row["tool_version"],
        expires_at=_time(row["expires_at"]),
        uses_left=row["uses_left"],
        from_action=_id(ActionId, row["from_action"]),
    )
    return Rule(
        id=RuleId(_uuid(row["id"])),
        user_id=_id(UserId, row["user_id"]),
        draft=draft,
        created_at=_time(row["created_at"]),
        fault=fault,
    )


@lru_cache(maxsize=2_000)
def _conditions(text: str) -> tuple[tuple[Condition, ...], str | None]:
    """Return conditions, or why nobody can read them; the same ones are read for every run."""
    try:
        return conditions_from_json(json.loads(text)), None
    except InvalidInputError as error:
        return (), error.message
    except (ValueError, RecursionError):
        return (), "Its conditions cannot be read."


def _id(kind: Any, value: Any) -> Any:
    return None if value is None else kind(_uuid(value))


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)


def _time(value: Any) -> datetime | None:
    if value is None or isinstance(value, datetime):
        return value
    return datetime.fromisoformat(value)
