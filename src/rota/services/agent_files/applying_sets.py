"""Applies a set of files in one transaction, and makes one of what there is.

Three states are compared of each file: what was there when it was exported or applied last, what is
there now, and what it says. Where both of the latter changed, nothing is applied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from difflib import unified_diff
from typing import Final

from rota.domain.agents.configuration import Preference
from rota.domain.approvals.rules import RuleDraft
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from rota.domain.ids import UserId
from rota.domain.schedules.rules.cron import parse_zone
from rota.domain.text.zones import zone_shown
from rota.services.agent_files.applying import AgentFileService, Applied, Keys
from rota.services.agent_files.contents import content_of, is_for_files
from rota.services.agent_files.faults import Faults
from rota.services.agent_files.file_sets import (
    AGENTS,
    CALENDARS,
    RULES,
    SETTINGS,
    Content,
    FileSet,
    FilesRead,
    file_of_agent,
    read_file_set,
)
from rota.services.agent_files.settings_files import SettingsEntry
from rota.services.approvals.rule_files import RuleEntry
from rota.services.approvals.rules import RuleService
from rota.services.schedules.calendar_texts import CalendarEntry
from rota.services.schedules.service import Change
from rota.store import users
from rota.store.agent_files import applied as applied_rows
from rota.store.agents import rows as agent_rows
from rota.store.approvals import rules as rule_rows
from rota.store.database import Connection, Database, despite_deadlocks
from rota.store.schedules import calendars as calendar_rows

_FORCE: Final = "With force the file is taken (`rota apply --force`)."


@dataclass(frozen=True, slots=True)
class FileDiff:
    """What applying changes of a file, as a unified diff from what there is."""

    file: str
    diff: str


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A file that was not applied, and why."""

    file: str
    why: str


@dataclass(frozen=True, slots=True)
class FilesApplied:
    """What applying a set of files changed; in a rehearsal, what it would change."""

    changes: tuple[Applied, ...]
    passed_over: tuple[PassedOver, ...]
    diffs: tuple[FileDiff, ...]
    is_rehearsal: bool


class FileSetService:
    """Acts as the person, so row-level security decides what exists for them."""

    def __init__(
        self,
        database: Database,
        agent_files: AgentFileService,
        rules: RuleService,
        *,
        clock: Callable[[], datetime],
    ) -> None:
        self._database = database
        self._agent_files = agent_files
        self._rules = rules
        self._clock = clock

    async def export(self, user_id: UserId) -> FileSet:
        """Return what a person set up: their own agents and schedules, calendars, rules, settings.

        Raises InvalidInputError for a row that no file can say.
        """
        async with self._database.acting_as(user_id) as conn:
            found = await content_of(conn, user_id, self._agent_files, now=self._clock())
        return found.export(user_id)

    async def apply(
        self,
        user_id: UserId,
        files: Mapping[str, str],
        *,
        is_operator: bool = False,
        prune: bool = False,
        force: bool = False,
        is_rehearsal: bool = False,
    ) -> FilesApplied:
        """Make a person's things as files say, all or nothing; a rehearsal changes nothing.

        With `prune`, what no file names is removed, of each kind of which there is a file. What
        somebody changed here since the export or the last apply, while its file stayed, is passed
        over; with `force` the file is taken. Raises InvalidInputError for all that is wrong at
        once, and ConflictError where a thing and its file both changed, unless `force`.
        """
        read = read_file_set(files, user_id=user_id, now=self._clock())
        keys = await self._agent_files.keys()

        async def work() -> FilesApplied:
            async with self._database.acting_as(
                user_id, is_operator=is_operator, is_rehearsal=is_rehearsal
            ) as conn:
                await applied_rows.lock_own(conn, user_id)
                writer = _Writer(
                    conn,
                    user_id,
                    keys,
                    is_operator,
                    self._agent_files,
                    self._rules,
                    self._clock(),
                )
                return await writer.apply(read, prune=prune, force=force, is_rehearsal=is_rehearsal)

        return await despite_deadlocks(work)


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes one set of files within one transaction."""

    conn: Connection
    user_id: UserId
    keys: Keys
    is_operator: bool
    agent_files: AgentFileService
    rules: RuleService
    now: datetime

    async def apply(
        self, read: FilesRead, *, prune: bool, force: bool, is_rehearsal: bool
    ) -> FilesApplied:
        before = await self._look()
        last = await applied_rows.fetch_hashes(self.conn, self.user_id)
        async with self.conn.transaction(force_rollback=True):
            await self._write(read, prune=True)
            wanted = await self._look()
        passed_over: tuple[PassedOver, ...] = ()
        if not force:
            passed_over = tuple(_compare(read, before, wanted, last, prune=prune))
            skipped = {one.file for one in passed_over}
            if skipped:
                read = _without(read, skipped)
        changes = await self._write(read, prune=prune)
        if prune and read.agents:
            changes += await self._prune_agents(read, passed_over)
        if prune and read.calendars is not None:
            changes += await self._prune_calendars(read.calendars)
        after = await self._look()
        now = {name: hashes for name, hashes in last.items() if name in after.hashes}
        for name in read.sources:
            both = (wanted.hashes.get(name), after.hashes.get(name))
            now[name] = sorted({one for one in both if one is not None})
        if now != last:
            await applied_rows.set_hashes(self.conn, self.user_id, now)
        return FilesApplied(changes, passed_over, tuple(_diffs(before, after)), is_rehearsal)

    async def _look(self) -> Content:
        return await content_of(self.conn, self.user_id, self.agent_files, now=self.now)

    async def _write(self, read: FilesRead, *, prune: bool) -> tuple[Applied, ...]:
        """Write all that files have, and with `prune` remove what is in a file's reach."""
        conn, user_id = self.conn, self.user_id
        faults = Faults()
        changes: tuple[Applied, ...] = ()
        with faults.gathered():
            if read.settings is not None:
                changes += await self._write_settings(read.settings)
        with faults.gathered():
            changes += await self._write_calendars(read.calendars or ())
        with faults.gathered():
            changes += await self.agent_files.write(
                conn, user_id, read.agents, self.keys, is_operator=self.is_operator, prune=prune
            )
        if read.rules is not None:
            with faults.gathered():
                changes += await self._write_rules(read.rules, prune=prune)
        faults.check(by_line=False)
        return changes

    async def _write_settings(self, entry: SettingsEntry) -> tuple[Applied, ...]:
        conn, user_id = self.conn, self.user_id
        changed: list[str] = []
        zone = await users.fetch_time_zone(conn, user_id)
        if entry.time_zone not in {None, zone}:
            await users.set_time_zone(conn, user_id, str(parse_zone(entry.time_zone or zone)))
            changed.append("time_zone")
        if entry.tools is not None:
            changed += await self._write_preferences(entry.tools)
        change: Change = "updated" if changed else "unchanged"
        return (Applied("settings", "settings", change, None, tuple(changed)),)

    async def _write_preferences(self, tools: Mapping[str, Preference]) -> list[str]:
        conn, user_id = self.conn, self.user_id
        declared = {one.name: one for one in await agent_rows.list_declarations(conn, user_id)}
        if unknown := [name for name in tools if name not in declared]:
            raise InvalidInputError(f"{SETTINGS}: tools: there is no tool {unknown[0]!r}.")
        changed = []
        for name, tool in declared.items():
            if tool.preference != tools.get(name):
                await agent_rows.set_preference(conn, user_id, tool.id, tools.get(name))
                changed.append(f"tools.{name}")
        return changed

    async def _write_calendars(self, entries: Sequence[CalendarEntry]) -> tuple[Applied, ...]:
        conn, user_id = self.conn, self.user_id
        today = self.now.date()
        there = {one.name: one for one in await calendar_rows.list_calendars(conn, today=today)}
        days = await calendar_rows.list_all_days(conn)
        changes: list[Applied] = []
        for entry in entries:
            found = there.get(entry.name)
            if found is not None:
                is_same = days.get(found.id, ()) == entry.days
                of_it = (found.source, found.covers_until)
                if is_same and of_it == (entry.source, entry.covers_until):
                    changes.append(Applied("calendar", entry.name, "unchanged"))
                    continue
            calendar_id = await calendar_rows.upsert_calendar(
                conn,
                user_id=user_id,
                name=entry.name,
                source=entry.source,
                covers_until=entry.covers_until,
            )
            await calendar_rows.replace_days(conn, calendar_id, user_id, entry.days)
            change: Change = "created" if found is None else "updated"
            changes.append(Applied("calendar", entry.name, change))
        return tuple(changes)

    async def _write_rules(
        self, entries: Sequence[RuleEntry], *, prune: bool
    ) -> tuple[Applied, ...]:
        conn, user_id = self.conn, self.user_id
        before = await rule_rows.list_rules(conn, user_id)
        kept = set()
        changes: list[Applied] = []
        faults = Faults()
        for number, entry in enumerate(entries, 1):
            with faults.gathered(), _naming(f"{RULES}: rule {number}"):
                if self._is_over(entry, await users.fetch_time_zone(conn, user_id)):
                    said = "it has ended; take it out of the file"
                    changes.append(Applied("rule", _rule_name(entry), "unchanged", said))
                    continue
                # What fails is undone by itself, so that the others are looked at too.
                async with conn.transaction():
                    (one,) = await self.rules.write(conn, user_id, [entry], [None])
                change: Change = "created" if one.is_new else "unchanged"
                kept.add(one.rule.id)
                changes.append(Applied("rule", _rule_name(entry), change))
        faults.check(by_line=False)
        for rule in before:
            is_own = rule.user_id == user_id and is_for_files(rule, now=self.now)
            if is_own and rule.id not in kept:
                if prune:
                    await rule_rows.delete_rule(conn, user_id, rule.id)
                change = "removed" if prune else "kept"
                changes.append(Applied("rule", _rule_name(rule.draft), change))
        return tuple(changes)

    def _is_over(self, entry: RuleEntry, zone: str) -> bool:
        now = self.now
        ends = entry.draft(now=now, zone=zone_shown(zone)).expires_at
        return ends is not None and ends <= now

    async def _prune_agents(
        self, read: FilesRead, passed_over: Sequence[PassedOver]
    ) -> tuple[Applied, ...]:
        conn, user_id = self.conn, self.user_id
        named = {entry.name for file in read.agents for entry in file.agents}
        named |= {one.file.removeprefix(AGENTS).removesuffix(".yaml") for one in passed_over}
        changes: list[Applied] = []
        for agent in await agent_rows.list_agents(conn, user_id):
            if agent.user_id is None or agent.agent_name in named:
                continue
            gone = await self.agent_files.delete(
                conn, user_id, agent.agent_name, with_schedules=True
            )
            changes += [Applied("schedule", name, "removed") for name in gone.schedules]
            changes.append(Applied("agent", gone.agent, "removed"))
        return tuple(changes)

    async def _prune_calendars(self, entries: Sequence[CalendarEntry]) -> tuple[Applied, ...]:
        conn, today = self.conn, self.now.date()
        named = {entry.name for entry in entries}
        changes: list[Applied] = []
        for one in await calendar_rows.list_calendars(conn, today=today):
            if one.name in named:
                continue
            if kept_by := await calendar_rows.schedules_of_calendar(conn, one.id):
                raise ConflictError(
                    f"{CALENDARS} does not name {one.name}, and {', '.join(kept_by)} keeps it."
                )
            await calendar_rows.delete_calendar(conn, one.id)
            changes.append(Applied("calendar", one.name, "removed"))
        return tuple(changes)


def _compare(
    read: FilesRead,
    before: Content,
    wanted: Content,
    last: applied_rows.Hashes,
    *,
    prune: bool,
) -> Iterator[PassedOver]:
    """Yield the files that are as they were while their things changed.

    Raises ConflictError where both changed.
    """
    conflicts: list[str] = []
    names = read.sources
    gone = [n for n in before.hashes if n.startswith(AGENTS)] if prune and read.agents else []
    for name in dict.fromkeys([*names, *gone]):
        theirs = before.hashes.get(name)
        ours = wanted.hashes.get(name) if name in names else None
        known: set[str | None] = {*last.get(name, ())}
        if read.seen is not None and name in read.seen:
            known.add(read.seen[name].content)
        elif read.seen is not None and not known and name in names:
            known.add(None)  # the export saw that there was none
        if not known or theirs in known or theirs == ours:
            continue
        thing = _thing(name)
        file = names.get(name, name)
        what = "removed" if theirs is None else "changed" if None not in known else "made"
        if ours in known:
            yield PassedOver(
                name, f"{thing} was {what} here since, and {file} is as it was. {_FORCE}"
            )
        else:
            did = "changed" if name in names else "is gone"
            conflicts.append(
                f"{thing} was {what} here since it was exported or applied last, and {file} {did} "
                "too."
            )
    if conflicts:
        advice = "Nothing was applied. Export into another directory and merge both."
        raise ConflictError("\n".join([*conflicts, f"{advice} {_FORCE}"]))


def _thing(name: str) -> str:
    if name.startswith(AGENTS):
        return f"The agent {name.removeprefix(AGENTS).removesuffix('.yaml')}"
    return {CALENDARS: "A calendar", RULES: "A rule", SETTINGS: "A setting"}[name]


def _without(read: FilesRead, skipped: set[str]) -> FilesRead:
    """Return files without those that an export would write into files of these names."""
    agents = []
    for file in read.agents:
        left = [
            (entry, index)
            for entry, index in zip(file.agents, file.indexes, strict=True)
            if file_of_agent(entry.name) not in skipped
        ]
        agents.append(
            replace(
                file,
                agents=tuple(entry for entry, _ in left),
                indexes=tuple(index for _, index in left),
            )
        )
    return replace(
        read,
        agents=tuple(agents),
        calendars=None if CALENDARS in skipped else read.calendars,
        rules=None if RULES in skipped else read.rules,
        settings=None if SETTINGS in skipped else read.settings,
    )


def _diffs(before: Content, after: Content) -> Iterator[FileDiff]:
    for name in sorted({*before.texts, *after.texts}):
        was, now = before.texts.get(name), after.texts.get(name)
        if was != now:
            lines = unified_diff(
                (was or "").splitlines(keepends=True),
                (now or "").splitlines(keepends=True),
                "/dev/null" if was is None else f"there/{name}",
                "/dev/null" if now is None else f"files/{name}",
            )
            yield FileDiff(name, "".join(lines))


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Name the file and the rule in what is wrong with it."""
    try:
        yield
    except (InvalidInputError, NotFoundError) as error:
        raise InvalidInputError(f"{where}: {error.message}") from error


def _rule_name(rule: RuleEntry | RuleDraft) -> str:
    return f"{'refuse' if rule.effect == 'deny' else rule.effect} {rule.tool}"
