"""What there is of a person, as files have it."""

from __future__ import annotations

from datetime import datetime
from operator import itemgetter
from typing import Final

from rota.domain.approvals.rules import Rule
from rota.domain.ids import UserId
from rota.domain.text.zones import zone_shown
from rota.services.agent_files.applying import AgentFileService
from rota.services.agent_files.file_sets import (
    CALENDARS,
    RULES,
    SETTINGS,
    Content,
    ContentDraft,
    file_of_agent,
)
from rota.services.agent_files.settings_files import write_settings
from rota.services.approvals.rule_files import write_rule
from rota.services.schedules.calendar_texts import write_calendar
from rota.store import users
from rota.store.agents import rows as agent_rows
from rota.store.approvals import rules as rule_rows
from rota.store.database import Connection
from rota.store.schedules import calendars as calendar_rows

_EFFECTS: Final = ("deny", "require", "allow")


async def content_of(
    conn: Connection, user_id: UserId, agent_files: AgentFileService, *, now: datetime
) -> Content:
    """Return what there is, in the caller's transaction, which acts as the person."""
    draft = ContentDraft()
    exported = await agent_files.read(conn, user_id)
    for entry in exported.agents:
        draft.add(file_of_agent(entry["name"]), entry)
    zone = await users.fetch_time_zone(conn, user_id)
    preferences = await agent_rows.list_declarations(conn, user_id)
    draft.add(SETTINGS, write_settings(zone, preferences))
    days = await calendar_rows.list_all_days(conn)
    calendars = await calendar_rows.list_calendars(conn, today=now.date())
    draft.add(CALENDARS, [write_calendar(one, days.get(one.id, ())) for one in calendars])
    rules = await rule_rows.list_rules(conn, user_id)
    own = [rule for rule in rules if rule.user_id == user_id]
    names = await rule_rows.list_names(conn, [rule.draft for rule in own], with_people=False)
    written = []
    for rule in (one.draft for one in own if is_for_files(one, now=now)):
        of = names.get(rule.schedule_id) if rule.schedule_id is not None else None
        entry = write_rule(rule, of, zone_shown(zone))
        written.append((_EFFECTS.index(rule.effect), rule.tool, str(entry), entry))
    written.sort(key=itemgetter(0, 1, 2))
    draft.add(RULES, [entry for *_, entry in written])
    left_out = exported.left_out
    if others := len(own) - len(written):
        left_out += (
            (
                f"{others} of your rules: they end by themselves, are of one version of a tool, or "
                "cannot be read"
            ),
        )
    return Content(draft.texts, draft.hashes, left_out)


def is_for_files(rule: Rule, *, now: datetime) -> bool:
    """Return whether a file can say a rule, and says the same when it is applied again."""
    draft = rule.draft
    is_over = draft.expires_at is not None and draft.expires_at <= now
    only_here = (draft.uses_left, draft.tool_version, draft.from_action, rule.fault)
    return not is_over and all(one is None for one in only_here)
