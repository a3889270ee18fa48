"""Whatever Alice may write past rota: it is refused, or it is set aside, and Bob's schedule fires.

Columns and arguments come from the catalogue, so new ones are tried without being named here. All
that the database takes stays, side by side: then a scheduler and a worker meet it in one go.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql
from structlog.testing import capture_logs
from typer.testing import CliRunner

from rota.cli.main import app
from rota.domain.errors import RotaError
from rota.services.operations.scheduler_loop import SchedulerLoop
from tests.services.harness import ANSWER, Workshop, clock
from tests.services.running import until, working

pytestmark = pytest.mark.long

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)

REFUSALS = (
    psycopg.DataError,  # the value is none of its type, or a function of ours says so
    psycopg.IntegrityError,  # a check, a key, a reference
    errors.FeatureNotSupported,  # of a check, on arrays of arrays
    errors.InsufficientPrivilege,  # a policy: somebody else's row
    errors.NoDataFound,
    errors.ObjectInUse,
    errors.ObjectNotInPrerequisiteState,
    errors.ProgramLimitExceeded,
    errors.StatementTooComplex,
)

TIMES = (
    *("infinity", "-infinity", "0044-03-15 BC", "294276-12-31", "epoch", "now"),
    *("1900-01-01Z", "9000-01-01Z", "9999-12-31 23:59:59.999999Z", "0001-01-01Z"),
)
TEXTS = (
    *("", " ", "x" * 5_000, "x" * 1_000_000, "../%s {} '; --\\u0000\x1b[2J\u202e\x07\r\n💥" * 2),
    *("FOO+3", "EST5EDT,M3.2.0,M11.1.0", "posixrules", "infinity", "9" * 50),
    *("* * * * *", "0 0 30 2 *", "* * * * *;" * 30, "08:00-08:00", "2026-99-99"),
    *("*", "scripted:", "callable:nothing", "openai:gpt"),
)
NUMBERS = (
    *("0", "1", "-1", "32767", "2147483647", "-2147483648", "2147483648"),
    *("9223372036854775807", "NaN", "Infinity", "1e308", "1e400", "1e100000"),
)
DOCUMENTS = (
    *("{}", "[]", "null", "[1]", '"x"', "0", "true", '{"a": null}'),
    *('{"a": 1e300}', '{"a": 1e399}', '{"a": 1e5000}', '{"a": -1e-390}'),
    *('{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"": {"": ""}}'),
    *('{"a": ' + "[" * depth + "]" * depth + "}" for depth in (20, 31, 3_000)),
    json.dumps({"a": "x" * 90_000}),
    json.dumps({str(n): n for n in range(3_000)}),
    *(
        json.dumps(document)
        for document in (
            {"model": "x:y"},
            {"model": 5},
            {"retries": 10**300},
            {"limits": {"tokens": 10**300, "time": -1}},
            {"limits": []},
            {"day_limits": {"cost": "NaN"}},
            {"output": {"schema": {"$ref": "#"}}},
            {"output": {"schema": {"type": "x", "pattern": "("}}},
            {"output": {"sections": [None]}},
            {"precheck": {"tool": "x", "arguments": {"a": None}}},
            {"precheck": {"callable": ""}},
            {"checklist": [None]},
            {"dry_run": True},
            {"approvals": "suspend", "approvals_expire": 10**300},
            {"temperature": 10**300, "max_tokens": -1, "timeout": "x"},
            {"wall_seconds": 10**300, "steps": 0, "cost_usd": "Infinity"},
            [{"arguments": ["a"], "test": "matches", "values": ["(" * 99]}],
            [{"arguments": ["a"], "test": "over", "values": [10**300]}],
            [{"arguments": [None], "test": None, "values": None}],
        )
    ),
)
IDS = ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff")
BY_TYPE = {
    "text": TEXTS,
    "jsonb": DOCUMENTS,
    "uuid": IDS,
    "boolean": ("t", "f"),
    "date": TIMES,
    "timestamp with time zone": TIMES,
    **dict.fromkeys(("smallint", "integer", "bigint", "numeric", "double precision"), NUMBERS),
}

COLUMNS = """
    SELECT c.relname, a.attname, format_type(a.atttypid, NULL),
           has_column_privilege('authenticated', c.oid, a.attnum, 'INSERT'),
           coalesce((SELECT string_agg(pg_get_constraintdef(k.oid), ' ')
                     FROM pg_constraint AS k
                     WHERE k.conrelid = c.oid AND k.contype = 'c' AND a.attnum = ANY (k.conkey)),
                    '')
    FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND NOT a.attisdropped
      AND (has_column_privilege('authenticated', c.oid, a.attnum, 'INSERT')
           OR has_column_privilege('authenticated', c.oid, a.attnum, 'UPDATE'))
    ORDER BY c.relname, a.attnum
"""
ARGUMENTS = """
    SELECT p.proname, p.proargnames[n], format_type(t, NULL), n <= p.pronargs - p.pronargdefaults
    FROM pg_proc AS p, unnest(p.proargtypes::oid[]) WITH ORDINALITY AS a (t, n)
    WHERE p.pronamespace = 'public'::regnamespace
      AND has_function_privilege('authenticated', p.oid, 'EXECUTE')
    ORDER BY p.proname, n
"""


def hostile(kind: str, checks: str = "") -> Iterator[str]:
    """Return values for a column of this type; those that its checks name too."""
    yield from re.findall(r"'([a-z_]+)'::text", checks)
    if kind.endswith("[]"):
        inner = BY_TYPE[kind.removesuffix("[]")]
        yield from ("{}", "{NULL}", "{{%s,%s},{%s,%s}}" % ((json.dumps(inner[0]),) * 4))
        yield from ("{" + json.dumps(value) + "}" for value in inner)
        yield "{" + ",".join([json.dumps(inner[-1])] * 5_000) + "}"
    else:
        yield from BY_TYPE[kind]


@dataclass
class Hostile:
    """Writes as Alice, and counts what the database took."""

    owner: psycopg.AsyncConnection[Any]
    alice: UUID
    ids: dict[str, Any] = field(default_factory=dict)
    taken: dict[str, int] = field(default_factory=dict)
    people: list[str] = field(default_factory=list)

    async def one(self, statement: str, *values: Any) -> Any:
        row = await (await self.owner.execute(statement, values)).fetchone()
        return row[0]

    async def arrange(self) -> None:
        """Make what rows and arguments of hers may name."""
        self.ids = {
            "agent_name": "quick",
            "agent_id": await self.agent(self.alice),
            "tool_id": await self.one("INSERT INTO tools (name) VALUES ('t') RETURNING id"),
            "calendar_id": await self.one(
                "INSERT INTO calendars (user_id, name) VALUES (%s, 'base') RETURNING id", self.alice
            ),
            "schedule_id": await self.one(
                "INSERT INTO agent_schedules (user_id, name, agent_name, cron)"
                " VALUES (%s, 'base', 'quick', '0 7 * * *') RETURNING id",
                self.alice,
            ),
            "run_id": await self.one(
                "INSERT INTO agent_runs (user_id, agent_name, trigger)"
                " VALUES (%s, 'quick', 'manual') RETURNING id",
                self.alice,
            ),
        }
        await self.owner.execute(
            "INSERT INTO notifications (user_id, category, title, body)"
            " VALUES (%s, 'info', 'a', '')",
            [self.alice],
        )

    async def agent(self, user: UUID) -> UUID:
        return await self.one(
            "INSERT INTO agent_configurations (user_id, agent_name, model, script)"
            " VALUES (%s, 'quick', 'scripted:x', %s) RETURNING id",
            user,
            json.dumps(ANSWER),
        )

    def row(self, table: str) -> dict[str, Any]:
        """Return a row of a table that Alice may insert, another one each time."""
        name = f"n{uuid4().hex}"
        return {
            "agent_configurations": {"agent_name": name, "model": "scripted:x"},
            "agent_schedules": {"name": name, "agent_name": "quick", "every_seconds": 3600},
            "agent_tools": {"agent_id": self.ids["agent_id"], "tool_id": self.ids["tool_id"]},
            "approval_rules": {"effect": "allow", "tool": "t"},
            "calendars": {"name": name},
            "calendar_days": {
                "calendar_id": self.ids["calendar_id"],
                "first_day": "2030-01-01",
                "last_day": "9000-01-01",
            },
            "schedule_calendars": {
                "schedule_id": self.ids["schedule_id"],
                "calendar_id": self.ids["calendar_id"],
            },
            "user_tool_preferences": {"tool_id": self.ids["tool_id"], "preference": "auto"},
            "user_settings": {"time_zone": "UTC"},
        }[table]

    async def write(self, what: str, statement: sql.Composed, values: Any, user: UUID) -> bool:
        """Run a statement as a person past rota; returns whether the database took it."""
        try:
            async with self.owner.transaction():
                claims = json.dumps({"sub": str(user), "role": "authenticated"})
                await self.owner.execute(
                    "SELECT set_config('role', 'authenticated', true),"
                    " set_config('request.jwt.claims', %s, true)",
                    [claims],
                )
                await self.owner.execute(statement, values)
        except REFUSALS:
            return False
        self.taken[what] = self.taken.get(what, 0) + 1
        return True

    async def columns(self) -> None:
        """Write each value to each column: a row of its own, or the one there is."""
        columns = await self.catalogue(COLUMNS)
        owned = {table for table, column, *_ in columns if column == "user_id"}
        for table, column, kind, inserts, checks in columns:
            for value in hostile(kind, checks):
                if table in {"user_settings", "applied_files"}:  # a row for each person
                    await self.row_of_person(table, column, kind, value)
                elif inserts:
                    user = {"user_id": str(self.alice)} if table in owned else {}
                    row = self.row(table) | user | {column: value}
                    if column in {"cron", "instants"}:
                        del row["every_seconds"]
                    await self.insert(f"{table}.{column}", table, row, {column: kind}, self.alice)
                else:
                    update = sql.SQL("UPDATE public.{} SET {} = %s::text::{}").format(
                        sql.Identifier(table), sql.Identifier(column), sql.SQL(kind)
                    )
                    await self.write(f"{table}.{column}", update, [value], self.alice)

    async def row_of_person(self, table: str, column: str, kind: str, value: str) -> None:
        email = f"alice{len(self.people)}@example.com"
        user = await self.one("INSERT INTO auth.users (email) VALUES (%s) RETURNING id", email)
        row = {"user_id": str(user), column: value} if column != "user_id" else {column: value}
        if not await self.insert(f"{table}.{column}", table, row, {column: kind}, user):
            await self.owner.execute("DELETE FROM auth.users WHERE id = %s", [user])
            return
        await self.agent(user)
        await self.owner.execute(
            "INSERT INTO agent_schedules (user_id, name, agent_name, cron)"
            " VALUES (%s, 'base', 'quick', '0 7 * * *')",
            [user],
        )
        await self.owner.execute(
            "INSERT INTO agent_runs (user_id, agent_name, trigger) VALUES (%s, 'quick', 'manual')",
            [user],
        )
        self.people.append(email)

    async def insert(
        self, what: str, table: str, row: dict[str, Any], kinds: dict[str, str], user: UUID
    ) -> bool:
        places = [
            sql.SQL("%s::text::{}").format(sql.SQL(kinds[name])) if name in kinds else sql.SQL("%s")
            for name in row
        ]
        statement = sql.SQL("INSERT INTO public.{} ({}) VALUES ({})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, row)),
            sql.SQL(", ").join(places),
        )
        return await self.write(what, statement, list(row.values()), user)

    async def arguments(self) -> None:
        """Call each function with each value for each argument, and good ones for the others."""
        functions: dict[str, dict[str, tuple[str, bool]]] = {}
        for function, argument, kind, is_required in await self.catalogue(ARGUMENTS):
            functions.setdefault(function, {})[argument] = (kind, is_required)
        for function, arguments in functions.items():
            for argument, (kind, _) in arguments.items():
                for value in hostile(kind):
                    values = await self.good(function, arguments) | {argument: value}
                    called = [
                        sql.SQL("{} => %s::text::{}").format(
                            sql.Identifier(name), sql.SQL(arguments[name][0])
                        )
                        for name in values
                    ]
                    statement = sql.SQL("SELECT public.{}({})").format(
                        sql.Identifier(function), sql.SQL(", ").join(called)
                    )
                    texts = list(map(str, values.values()))
                    await self.write(f"{function}({argument})", statement, texts, self.alice)

    async def good(self, function: str, arguments: dict[str, tuple[str, bool]]) -> dict[str, Any]:
        """Return arguments with which a function does something."""
        known = self.ids | {"decision": "approve", "outcome": "happened", "fire_times": "{epoch}"}
        known["overlap"] = "allow_all"
        if "action_id" in arguments:
            known["action_id"] = await self.one(
                "INSERT INTO pending_actions"
                " (user_id, agent_name, tool_name, arguments, arguments_hash, status)"
                " VALUES (%s, 'quick', 't', '{}', 'x', %s) RETURNING id",
                self.alice,
                "unknown" if function == "settle_action" else "pending",
            )
        return {
            name: known.get(name, BY_TYPE.get(kind, ("{}",))[0])
            for name, (kind, is_required) in arguments.items()
            if is_required or name in known
        }

    async def catalogue(self, query: str) -> list[Any]:
        return await (await self.owner.execute(query)).fetchall()


@asynccontextmanager
async def loops(workshop: Workshop, url: str) -> AsyncIterator[asyncio.Task[None]]:
    """Run a scheduler and a worker as a process does; whatever ends one of them ends the test."""
    stop = asyncio.Event()
    scheduler = SchedulerLoop(workshop.database, workshop.scheduler(), clock=clock)
    task = asyncio.create_task(scheduler.run(stop))
    try:
        async with working(workshop, url):
            yield task
    finally:
        stop.set()
        await task


@pytest.mark.timeout(240)
async def test_nothing_that_one_person_writes_stops_another_or_the_loops(
    database, owner, database_url, alice, bob, monkeypatch
):
    bobs = Workshop(database, owner, bob)
    await bobs.agent(ANSWER, name="quick")
    new = await bobs.schedule("quick", name="new")
    hostile = Hostile(owner, alice)
    await hostile.arrange()
    await hostile.columns()
    await hostile.arguments()
    # Every agent of hers, whatever it is made of, is to run.
    await owner.execute(
        "INSERT INTO agent_runs (user_id, agent_name, trigger)"
        " SELECT user_id, agent_name, 'manual' FROM agent_configurations WHERE user_id = %s",
        [alice],
    )
    assert len(hostile.taken) > 50, hostile.taken  # else all was refused, and nothing is shown
    assert hostile.people

    with capture_logs() as logs:
        await bobs.scheduler().tick(clock())  # plans
        now = clock()
        await owner.execute("UPDATE agent_schedules SET next_fire_at = %s WHERE is_active", [now])
        due = await bobs.due(now, agent_name="quick", every_seconds=3600, anchor_at=now)
        await bobs.scheduler().tick(now)  # fires

    assert (await bobs.fetch(new.id)).next_fire_at is not None
    fired = await catalogue_of(
        owner, "SELECT outcome FROM schedule_occurrences WHERE schedule_id = %s", due.id
    )
    assert fired == [("fired",)]
    assert {line["event"] for line in logs if line["log_level"] != "info"} <= {
        "schedule_paused",
        "fires_missed",
    }

    async def all_is_done() -> bool:
        left = await catalogue_of(
            owner,
            "SELECT count(*) FROM agent_runs WHERE user_id <> %s"
            " AND status IN ('waiting', 'queued', 'running')",
            bob,
        )
        bobs_results = await catalogue_of(
            owner, "SELECT count(*) FROM agent_execution_results WHERE user_id = %s", bob
        )
        assert not scheduler.done()
        return left == [(0,)] and bobs_results[0][0] >= 1

    async with loops(bobs, database_url) as scheduler:
        await until(all_is_done, seconds=240)

    unexplained = await catalogue_of(
        owner,
        "SELECT name, pause_note FROM agent_schedules AS s WHERE user_id <> %s AND is_active"
        " AND completed_at IS NULL AND NOT EXISTS (SELECT FROM schedule_occurrences AS o"
        " WHERE o.schedule_id = s.id)",
        bob,
    )
    assert unexplained == []
    assert (await bobs.fetch(due.id)).is_active
    await commands_say_what_is_wrong(hostile, owner, database_url, monkeypatch)


async def catalogue_of(owner: psycopg.AsyncConnection[Any], query: str, *values: Any) -> list[Any]:
    return await (await owner.execute(query, values)).fetchall()


async def commands_say_what_is_wrong(hostile, owner, url, monkeypatch) -> None:
    monkeypatch.setenv("ROTA_DATABASE_URL", url)
    monkeypatch.setenv("ROTA_SECRET_KEY", "00" * 32)
    shown = await catalogue_of(
        owner,
        "SELECT DISTINCT ON (left(pause_note, 20)) id FROM agent_schedules WHERE user_id = %s"
        " LIMIT 40",
        hostile.alice,
    )
    agents = await catalogue_of(
        owner,
        "SELECT agent_name FROM agent_configurations WHERE user_id = %s"
        " ORDER BY length(model_settings::text || limits::text || fallback_models::text) DESC"
        " LIMIT 10",
        hostile.alice,
    )
    commands = [
        *(("schedules", "show", str(row[0])) for row in shown),
        *(("agents", "show", row[0]) for row in agents),
        *((*command, "--json") for command in LISTS[:6]),
        *LISTS,
    ]
    for command in commands:
        await asyncio.to_thread(say, "alice@example.com", command, monkeypatch)
    for email in hostile.people:
        for command in LISTS[:3]:
            await asyncio.to_thread(say, email, command, monkeypatch)


LISTS = (
    ("schedules", "list"),
    ("runs", "list"),
    ("results", "list"),
    ("agents", "list"),
    ("notifications", "list"),
    ("calendars", "list"),
    ("schedules", "calendar"),
    ("approvals", "list"),
    ("approvals", "policy", "list"),
    ("usage",),
)


def say(email: str, command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a command as a person: what is wrong is said, and is no fault of rota's."""
    monkeypatch.setenv("ROTA_USER", email)
    error = CliRunner().invoke(app, command).exception
    if error is None or (isinstance(error, RotaError) and error.exit_code != 70):
        return
    raise AssertionError(f"{command} as {email} failed") from error
