"""`rota doctor`: checks the installation, the database and the processes, and says what to do."""

from __future__ import annotations

import asyncio
import platform
import shlex
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import RotaError
from rota.settings import API_KEYS, COMPARED, Settings

if TYPE_CHECKING:
    from datetime import datetime

    from rota.bootstrap.app import Server
    from rota.domain.agents.connections import ConnectionInfo
    from rota.domain.operations.processes import Process, ServerState
    from rota.security.secrets.encryption import Cipher
    from rota.services.operations.keys import Unopened
    from rota.store.database import Connection, Database

_MOST_MESSAGES: Final = 10_000
_MOST_NAMED: Final = 5
_OF_SCHEDULERS: Final = {"ROTA_OPERATOR", "ROTA_PING_URL"}
"""Settings that schedulers use: they execute nothing."""

group = CommandGroup()
Verdict = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Check:
    """One check and its finding."""

    name: str
    verdict: Verdict
    said: str


@group.command("doctor")
def doctor(common: CommonOptions) -> None:
    """Check the installation, the database and the processes. Exit status 1: a check failed."""
    checks = list(_checks(common.settings, common.configuration.files))
    if common.json:
        output.print_json(checks)
    else:
        output.table(
            ["CHECK", "", "WHAT"],
            [(c.name, c.verdict, c.said) for c in checks],
            empty="",
            texts=["WHAT"],
        )
    if any(check.verdict == "fail" for check in checks):
        raise typer.Exit(1)


def _checks(settings: Settings, files: Sequence[Path]) -> Iterator[Check]:
    from rota.bootstrap import app as bootstrap
    from rota.cli.logs import configure_logs

    configure_logs(settings)
    yield Check("Python", "ok", platform.python_version())
    if files:
        yield Check("Configuration", "ok", ", ".join(map(str, files)))
    folder = bootstrap.data_dir(settings)
    yield Check("Data directory", "ok", str(folder))
    _, key_problem = _find_key(settings)
    if key_problem is not None:
        yield Check("Key", "fail", key_problem)
    alive: list[Process] = []
    stored_with: list[str] = []
    try:
        with bootstrap.database_server(settings) as server:
            yield from asyncio.run(_collect(settings, server, alive, stored_with))
            yield from _key_checks(settings, alive, stored_with)
            yield from _setting_checks(settings, alive, is_embedded=server.embedded is not None)
            yield from _mail_checks(settings, server)
    except RotaError as error:
        yield Check("Database", "fail", error.message)
    yield _keys(settings, alive)


def _find_key(settings: Settings) -> tuple[Cipher | None, str | None]:
    """Return the key of this terminal, if it has one, and why it cannot be used, or None."""
    from rota.bootstrap.app import data_dir, find_cipher

    try:
        return find_cipher(settings), None
    except RotaError as error:
        return None, error.message
    except OSError as error:
        return None, f"{data_dir(settings) / 'secret.key'} cannot be read: {error.strerror}."


def _mail_checks(settings: Settings, server: Server) -> Iterator[Check]:
    """Read the mailbox as a briefing would, text aside."""
    from rota.bootstrap.mail import mail_path

    path = mail_path(settings) if server.embedded is not None else settings.mail
    if path is None:
        return
    from rota.agents.tools.mail.folder import MailFolder  # Beautiful Soup, only where there is mail

    try:
        found = MailFolder.open(path).check(_MOST_MESSAGES)
    except RotaError as error:
        said = f"{error.message} Briefings fail. Mend it, or start `rota up --mail PATH` anew."
        yield Check("Mail folder", "fail", said)
        return
    number = f"{found} or more" if found == _MOST_MESSAGES else found
    yield Check("Mail folder", "ok", f"{path}: {number} message{'' if found == 1 else 's'}")


def _keys(settings: Settings, alive: Sequence[Process]) -> Check:
    """Name the keys of models that workers have, or those of this terminal where none says."""
    workers = [p for p in alive if p.kind == "worker" and p.settings is not None]
    there = {name for worker in workers for name in worker.settings or ()}
    here = set(settings.compared)
    named = [name for name in API_KEYS.values() if name in (there if workers else here)]
    whose = "the worker's" if workers else "this terminal's"
    if named:
        return Check("Model keys", "ok", f"{', '.join(named)} ({whose})")
    said = f"None is set ({whose}); agents with a scripted model need none."
    return Check("Model keys", "warn", said)


def _setting_checks(
    settings: Settings, alive: Sequence[Process], *, is_embedded: bool
) -> Iterator[Check]:
    """Compare what is set here with what is set where runs are executed."""
    passed_over = {"ROTA_MAIL"} if is_embedded else set()  # `rota up --mail` is remembered
    here = set(settings.compared) - passed_over
    for process in alive:
        if process.settings is None:
            continue
        compared_before = {"ROTA_SECRET_KEY"} if process.key_ids else set()  # by `_key_checks`
        there = set(process.settings) - passed_over - compared_before
        if process.kind == "scheduler":  # runs nothing: it needs no key, tool or mail
            there, ours = there & _OF_SCHEDULERS, here & _OF_SCHEDULERS
        else:
            ours = here - compared_before
        more = [name for name in COMPARED if name in there - ours]
        less = [name for name in COMPARED if name in ours - there]
        if not more and not less:
            continue
        name = f"the {process.kind} {process.host}:{process.pid}"
        said = [f"this terminal has no {', '.join(more)}, {name} has"] if more else []
        said += [f"{name} has no {', '.join(less)}, this terminal has"] if less else []
        text = "; ".join(said)
        advice = f" What counts is what the {process.kind} has."
        if less:
            advice += " Where it should have them too, set them there, and restart it."
        yield Check("Settings", "warn", f"{text[0].upper()}{text[1:]}.{advice}")


def _key_checks(
    settings: Settings, alive: Sequence[Process], stored_with: Sequence[str]
) -> Iterator[Check]:
    """Compare the keys of workers with this terminal's, and with those of the stored secrets."""
    cipher, _ = _find_key(settings)
    here = cipher.key_ids if cipher is not None else ()
    for worker in (p for p in alive if p.kind == "worker" and p.key_ids):
        there = worker.key_ids or ()
        name = f"The worker {worker.host}:{worker.pid}"
        lacking = [
            key_id for key_id in stored_with if key_id not in there and (not here or key_id in here)
        ]
        if lacking:
            said = f"{name} lacks the key of stored secrets ({', '.join(lacking)})"
        elif here and (here[0] not in there or there[0] not in here):
            said = f"{name} has another key"
        else:
            continue
        ours = f", this terminal's is {here[0]}" if here else ""
        advice = (
            "Set the same ROTA_SECRET_KEY for all workers and terminals on this database, and "
            "restart the worker: see docs/howto/keys.md."
        )
        yield Check("Worker's key", "fail", f"{said}. Its key is {there[0]}{ours}. {advice}")


async def _collect(
    settings: Settings, server: Server, alive: list[Process], stored_with: list[str]
) -> list[Check]:
    return [check async for check in _database_checks(settings, server, alive, stored_with)]


async def _database_checks(
    settings: Settings, server: Server, alive: list[Process], stored_with: list[str]
) -> AsyncIterator[Check]:
    """Look at the database and at what runs.

    `alive` is filled with the processes that do, `stored_with` with the fingerprints of the keys
    that secrets of connections are encrypted with.
    """
    from rota.bootstrap.app import clock, make_database
    from rota.domain.operations.processes import SILENT_AFTER
    from rota.store.agents import connections, rows
    from rota.store.operations import processes
    from rota.store.operations.sealed import key_ids_of_connections

    database = make_database(settings, server)
    try:
        async with database.opened():
            async with database.connection() as conn:
                checks = [check async for check in _schema_checks(conn, server)]
                state = await processes.server_state(conn)
                server_ahead = (state.clock - clock()).total_seconds()
            if state.is_read_only:
                checks.append(Check("Writing", "fail", _why_read_only(state)))
            for check in checks:
                yield check
            if any(check.verdict == "fail" for check in checks):
                return
            lost = await _lost_secrets(settings, database)
            sessions = [
                *await _person_checks(settings, database),
                *_secret_checks(settings, lost),
                *await _session_checks(database),
            ]
            async with database.connection() as conn:
                alive += [p for p in await processes.list_processes(conn) if p.is_alive]
                stored_with += await key_ids_of_connections(conn)
                silent, overdue = await processes.scheduler_silence(conn)
                endpoints = await rows.list_endpoints_in_use(conn)
                connected = await connections.list_all_connections(conn)
            for check in (
                *_endpoint_checks(endpoints, settings),
                *(
                    _connection_check(
                        one.seen,
                        clock(),
                        is_lost=any(secret.found.id == one.id for secret in lost or ()),
                    )
                    for one in connected
                ),
            ):
                yield check
            for check in (*_process_checks(alive), *sessions, *_clock_checks(server_ahead, alive)):
                yield check
            if silent is not None and silent > SILENT_AFTER:
                yield Check(
                    "Clock", "fail", f"No scheduler has looked at the clock for {silent:.0f} s."
                )
            if overdue:
                yield Check("Overdue", "fail", f"Fires overdue by a minute or more: {overdue}.")
    except RotaError as error:
        yield Check("Database", "fail", error.message)


def _process_checks(alive: Sequence[Process]) -> Iterator[Check]:
    """Name the processes of each kind that are alive; a server may be missing."""
    from rota.domain.operations.processes import KINDS, NEEDED

    for kind in KINDS:
        found = [f"{p.host}:{p.pid}" for p in alive if p.kind == kind]
        if found or kind in NEEDED:
            yield Check(
                kind.capitalize(),
                "ok" if found else "warn",
                ", ".join(found) or f"none is running; start `rota up` or `rota {kind}`",
            )


async def _person_checks(settings: Settings, database: Database) -> list[Check]:
    """Look for the people whom settings name."""
    from rota.bootstrap.app import LOCAL_OWNER, hint_at_setting
    from rota.services.references import unknown_person
    from rota.store import users

    checks: list[Check] = []
    async with database.connection() as conn:
        named = [("ROTA_USER", settings.user or LOCAL_OWNER)]
        for variable, who in (*named, *(("ROTA_OPERATOR", who) for who in settings.operators)):
            if who == LOCAL_OWNER or await users.find_user(conn, who) is not None:
                continue
            hint = hint_at_setting(settings, variable, who)
            said = unknown_person(who, hint=hint).message
            checks.append(Check(variable.removeprefix("ROTA_").capitalize(), "fail", said))
    return checks


def _connection_check(connection: ConnectionInfo, now: datetime, *, is_lost: bool) -> Check:
    """Say how a connection did when it was last used; it is not tried.

    `is_lost`: no key of this terminal decrypts its secret.
    """
    from rota.domain.agents.connections import ConnectionState
    from rota.domain.agents.grants import why_it_ends

    verdicts: dict[ConnectionState, Verdict] = {
        ConnectionState.OK: "ok",
        ConnectionState.NOT_CHECKED: "ok",
        ConnectionState.NEEDS_YOU: "fail",
    }
    state = connection.state_at(now)
    said = f"{connection.account or connection.kind}: {state}"
    problem = f". {connection.problem}" if connection.problem else ""
    if is_lost:
        said = f"{connection.account or connection.kind}: no key decrypts its secret, see Secrets"
        return Check(f"Connection {connection.name}", "fail", said)
    if connection.expires_at is not None and state is ConnectionState.EXPIRING:
        why = why_it_ends(connection.kind)
        problem = (
            f". It ends on {connection.expires_at:%Y-%m-%d}. {why}{' ' if why else ''}Connect it "
            f"again with `rota connections reconnect {connection.name}`."
        )
    return Check(f"Connection {connection.name}", verdicts.get(state, "warn"), f"{said}{problem}")


def _endpoint_checks(in_use: Mapping[str, Sequence[str]], settings: Settings) -> Iterator[Check]:
    """Say which endpoints agents name that are not registered here."""
    for endpoint, agents in in_use.items():
        if endpoint not in settings.endpoints:
            more = f" and {len(agents) - 3} more" if len(agents) > 3 else ""
            yield Check(
                "Endpoint",
                "warn",
                f"{endpoint!r} is not in ROTA_ENDPOINTS here; {', '.join(agents[:3])}{more} "
                "cannot run on a worker that lacks it. Register it, or mend the agent's "
                "model_settings.",
            )


def _why_read_only(state: ServerState) -> str:
    if state.is_standby:
        return "The database is read-only: this server is a standby. Name the primary."
    return (
        "The database is read-only (default_transaction_read_only is on). Managed servers set this "
        "where their disk is full. Schedulers and workers wait, and go on when it is off."
    )


def _clock_checks(server_ahead: float, alive: Sequence[Process]) -> Iterator[Check]:
    """Compare clocks with the database's, which schedulers go by."""
    from rota.domain.operations.processes import CLOCK_TOLERANCE

    if abs(server_ahead) > CLOCK_TOLERANCE:
        way = "behind" if server_ahead > 0 else "ahead of"
        yield Check(
            "Clock",
            "fail",
            f"This machine's clock is {abs(server_ahead):.0f} s {way} the database's.",
        )
    for process in alive:
        ahead = process.clock_ahead or 0.0
        if abs(ahead) > CLOCK_TOLERANCE:
            way = "ahead of" if ahead > 0 else "behind"
            yield Check(
                "Clock",
                "fail",
                f"The clock of {process.host} ({process.kind} {process.pid}) is {abs(ahead):.0f} s "
                f"{way} the database's.",
            )


async def _lost_secrets(settings: Settings, database: Database) -> tuple[Unopened, ...] | None:
    """Return the secrets that no key of this terminal decrypts; None where none can be looked at.

    That is where none is stored, or the key cannot be read, which is told of as such.
    """
    from rota.services.operations.keys import unopened
    from rota.store.operations.sealed import count_sealed

    cipher, key_problem = _find_key(settings)
    async with database.connection() as conn:
        if key_problem is not None or not await count_sealed(conn):
            return None
        return await unopened(conn, cipher)


def _secret_checks(settings: Settings, lost: Sequence[Unopened] | None) -> list[Check]:
    """Name the secrets that are lost, and what to do with the key and without."""
    if lost is None:
        return []
    if not lost:
        return [Check("Secrets", "ok", "the key decrypts all of them")]
    named = ", ".join(
        f"{one.kind.value} {one.found.name} of {one.whose}" for one in lost[:_MOST_NAMED]
    )
    more = f" and {len(lost) - _MOST_NAMED} more" if len(lost) > _MOST_NAMED else ""
    commands = ", ".join(f"`{_without_key(one)}`" for one in lost[:_MOST_NAMED])
    if _find_key(settings)[0] is None:
        said = (
            f"There is no key here to decrypt {named}{more}. Put it back: secret.key into the data "
            "directory, or ROTA_SECRET_KEY."
        )
    else:
        said = (
            f"No key decrypts {named}{more}. Write the key that they were stored with after the "
            "one that is there (in secret.key on a line of its own, in ROTA_SECRET_KEY after a "
            "space), then run `rota keys rotate`."
        )
    said += f" If that key is lost: {commands}. See docs/howto/keys.md."
    return [Check("Secrets", "fail", said)]


def _without_key(one: Unopened) -> str:
    """Return the command that makes do without a secret."""
    from rota.bootstrap.app import LOCAL_OWNER
    from rota.store.operations.sealed import Kind

    command = (
        ["connections", "reconnect", one.found.name]
        if one.kind is Kind.CONNECTION
        else ["approvals", "refuse", str(one.found.id)]
    )
    whose = [] if one.whose == LOCAL_OWNER else ["--as", one.whose]
    return shlex.join(["rota", *command, *whose])


async def _session_checks(database: Database) -> list[Check]:
    """Look at what is heard, and at what sessions of others may do to rota by staying."""
    from rota.store.operations import processes

    heard = await database.hears_notifications()
    async with database.connection() as conn:
        untimed = await processes.untimed_roles(conn)
        problem = await processes.notification_queue_problem(conn)
    checks = [
        Check(
            "Notifications",
            "ok" if heard else "warn",
            "LISTEN is heard"
            if heard
            else "LISTEN is not heard; set ROTA_DATABASE_LISTEN_URL to a direct connection.",
        )
    ]
    checks += [
        Check(
            "Sessions",
            "warn",
            f"{role} may keep locks for ever. Run: ALTER ROLE {role} SET "
            "idle_in_transaction_session_timeout = '60s'; lock_timeout and statement_timeout too.",
        )
        for role in untimed
    ]
    if problem is not None:
        checks.append(Check("Notification queue", "fail", problem))
    return checks


async def _schema_checks(conn: Connection, server: Server) -> AsyncIterator[Check]:
    """Look at the database itself; what fails makes looking at what runs on it pointless."""
    from rota.store.migrations import encoding_problem, pending_migrations
    from rota.store.operations import processes
    from rota.store.roles import (
        lacking_rights_problem,
        migrating_command,
        working_role_problem,
    )

    version = conn.info.server_version // 10_000
    kind = "embedded" if server.embedded is not None else "your own"
    good: Verdict = "ok" if version >= 15 else "fail"
    yield Check("Database", good, f"PostgreSQL {version}, {kind}")
    if (problem := await encoding_problem(conn)) is not None:
        yield Check("Encoding", "fail", problem)
        return
    if (problem := await lacking_rights_problem(conn)) is not None:
        yield Check("Role", "fail", problem)
        return
    problem = await working_role_problem(conn)
    yield Check("Role", "warn" if problem else "ok", problem or conn.info.user)
    if missing := await pending_migrations(conn):  # a migration ends rights that are needless
        run = "rota migrate" if server.embedded is not None else await migrating_command(conn)
        yield Check("Schema", "fail", f"{len(missing)} behind. Run: {run}")
    else:
        for right in await processes.needless_rights(conn):
            yield Check("Rights", "warn", right)
        yield Check("Schema", "ok", "up to date")
