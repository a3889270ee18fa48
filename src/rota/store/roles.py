"""Checks the database roles that rota uses, and reports rights that are missing or too wide.

The rights of rota's role protect approvals from agents (docs/explanation/approvals.md): the role
owns nothing and obeys row-level security. A process that works as the owner lacks this protection.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import psycopg
from psycopg import sql

from rota.domain.errors import MigrationError, SetupRequiredError
from rota.store.database import Connection
from rota.store.statements import many, one, value, value_or_none, values

BACKEND_ROLE: Final = "rota_backend"
"""Login role that rota works as: the embedded server makes it, elsewhere the operator does."""

_HOWTO: Final = "See docs/howto/own-database.md."


@dataclass(frozen=True, slots=True)
class _Rights:
    role: str
    is_superuser: bool
    is_past_policies: bool
    owns_schema: bool


@dataclass(frozen=True, slots=True)
class _Backend:
    """Role `rota_backend`, where there is one; `no_member_of`: request roles that are there."""

    is_there: bool
    may_log_in: bool
    is_superuser: bool
    is_past_policies: bool
    owner: str | None
    owns_schema: bool
    no_member_of: Sequence[str]


@dataclass(frozen=True, slots=True)
class _LackingRights:
    role: str
    is_other: bool
    may_use: bool
    no_member_of: Sequence[str]


@dataclass(frozen=True, slots=True)
class _MigratingRights:
    may_migrate: bool
    owner: str
    database: str
    needs_database: bool


@dataclass(frozen=True, slots=True)
class _Membership:
    member: str
    role: str


async def working_role_problem(conn: Connection) -> str | None:
    """Say in one line why this connection's role is not one to work as; None where it is."""
    rights = await one(conn, "fetch_own_rights", _Rights)
    why = _too_much(rights)
    if why is None:
        return None
    start = (
        f"rota works as {rights.role}, which {why}: agents' processes could approve their own "
        "calls."
    )
    backend = await one(conn, "fetch_backend", _Backend)
    mend = await _backend_advice(conn, backend)
    if rights.role == BACKEND_ROLE:
        return f"{start} {mend} {_HOWTO}"
    mend = f"{mend} Then name" if mend else "Name"
    owner = f" Only the schema's owner migrates: {backend.owner}." if backend.owner else ""
    return (
        f"{start} {mend} {BACKEND_ROLE} and its password in ROTA_DATABASE_URL; nothing else "
        f"changes.{owner} {_HOWTO}"
    )


async def lacking_rights_problem(conn: Connection) -> str | None:
    """Say in one line what this connection's role has to be granted; None where nothing lacks."""
    rights = await one(conn, "fetch_lacking_rights", _LackingRights)
    if not rights.is_other:
        return None
    role = sql.Identifier(rights.role).as_string(conn)
    if rights.no_member_of:
        return (
            f"The role {rights.role} has no rights on rota's tables. Run as "
            f"{await _grantor(conn)}: GRANT {', '.join(rights.no_member_of)} TO {role}; {_HOWTO}"
        )
    if not rights.may_use:
        return (
            f"The role {rights.role} may not use rota's schema: it does not inherit the rights of "
            f"service_role, or these were revoked. Run as a superuser: ALTER ROLE {role} INHERIT; "
            f"GRANT service_role TO {role}; GRANT USAGE ON SCHEMA rota TO service_role; {_HOWTO}"
        )
    return None


async def require_rights(conn: Connection) -> None:
    """Raise SetupRequiredError with the statement to run where this role may not work."""
    if (problem := await lacking_rights_problem(conn)) is not None:
        raise SetupRequiredError(problem, what="rights")


async def backend_role_problem(conn: Connection) -> str | None:
    """Say in one line what `rota_backend` lacks to be worked as; None where it is ready."""
    backend = await one(conn, "fetch_backend", _Backend)
    mend = await _backend_advice(conn, backend)
    if not mend:
        return None
    if not (backend.is_there and backend.may_log_in):
        problem = (
            f"There is no role {BACKEND_ROLE} that may log in, to work as instead of the owner"
        )
    elif (why := _too_much(backend)) is not None:
        problem = f"{BACKEND_ROLE} {why}, which rota does not allow"
    else:
        problem = f"{BACKEND_ROLE} has no rights on rota's tables"
    return f"{problem}. {mend} {_HOWTO}"


async def _backend_advice(conn: Connection, backend: _Backend) -> str:
    """Return the statements that make `rota_backend` one to work as, with who may run them."""
    narrowed = [
        word
        for word, is_needed in (
            ("NOSUPERUSER", backend.is_superuser),
            ("NOBYPASSRLS", backend.is_past_policies),
        )
        if is_needed
    ]
    statements: list[str] = []
    if not backend.is_there:
        statements.append(f"CREATE ROLE {BACKEND_ROLE} LOGIN PASSWORD '...';")
    elif not backend.may_log_in:
        statements.append(f"ALTER ROLE {BACKEND_ROLE} LOGIN PASSWORD '...';")
    if narrowed:
        statements.append(f"ALTER ROLE {BACKEND_ROLE} {' '.join(narrowed)};")
    if backend.owns_schema:
        owner = sql.Identifier(backend.owner or "").as_string(conn)
        statements.append(
            f"REASSIGN OWNED BY {BACKEND_ROLE} TO rota_owner;"
            if backend.owner == BACKEND_ROLE
            else f"REVOKE {owner} FROM {BACKEND_ROLE};"
        )
    if backend.no_member_of:
        statements.append(f"GRANT {', '.join(backend.no_member_of)} TO {BACKEND_ROLE};")
    if not statements:
        return ""
    needs_superuser = bool(narrowed) or backend.owns_schema
    makes_role = not (backend.is_there and backend.may_log_in)
    who = "a superuser" if needs_superuser else await _grantor(conn, makes_role=makes_role)
    return f"Run as {who}: {' '.join(statements)}"


async def _grantor(conn: Connection, *, makes_role: bool = False) -> str:
    """Name who may grant the request roles: this role, the schema's owner, or a superuser only.

    Up to PostgreSQL 15 CREATEROLE is enough. From 16 on that takes ADMIN OPTION on the roles.
    """
    found = await value_or_none(conn, "fetch_grantor", str, makes_role=makes_role)
    return found or "a superuser"


def _too_much(rights: _Rights | _Backend) -> str | None:
    if rights.is_superuser:
        return "is a superuser"
    if rights.is_past_policies:
        return "is past row-level security (BYPASSRLS)"
    return "owns the schema" if rights.owns_schema else None


async def migrating_command(conn: Connection) -> str:
    """Return the `rota migrate` to run: where this role may not change the schema, as its owner."""
    rights = await one(conn, "fetch_migrating_rights", _MigratingRights)
    return "rota migrate" if rights.may_migrate else _as_owner(rights)


async def require_owner_to_migrate(conn: Connection) -> None:
    """Raise MigrationError with the command to run where this role may not change the schema."""
    rights = await one(conn, "fetch_migrating_rights", _MigratingRights)
    if rights.may_migrate:
        return
    refused = f"{conn.info.user} may not change the schema of the database {rights.database}."
    if rights.needs_database:
        database, owner = (
            sql.Identifier(name).as_string(conn) for name in (rights.database, rights.owner)
        )
        raise MigrationError(
            f"{refused} Run as a superuser: ALTER DATABASE {database} OWNER TO {owner}; Then run: "
            f"{_as_owner(rights)}"
        )
    raise MigrationError(f"{refused} Run once as {rights.owner}, who owns it: {_as_owner(rights)}")


async def url_of_owner(conn: Connection) -> str:
    """Return the URL of the schema's owner, with what a person has to fill in left open."""
    return _url_of_owner(await one(conn, "fetch_migrating_rights", _MigratingRights))


def _url_of_owner(rights: _MigratingRights) -> str:
    return f"postgresql://{rights.owner}:...@HOST/{rights.database}"


def _as_owner(rights: _MigratingRights) -> str:
    return f"rota migrate --database-url {_url_of_owner(rights)}"


async def require_request_roles(conn: Connection) -> None:
    """Raise MigrationError with what to run where the request roles lack and cannot be made."""
    missing = await values(conn, "list_missing_roles", str)
    if missing and not await value(conn, "may_create_roles", bool):
        made = " ".join(f"CREATE ROLE {role} NOLOGIN NOINHERIT;" for role in missing)
        raise MigrationError(
            f"{conn.info.user} may not create the roles that rota needs. Run as a superuser: "
            f"ALTER ROLE {sql.Identifier(conn.info.user).as_string(conn)} CREATEROLE; Then repeat "
            f"the command. Or make the roles as a superuser: {made}"
        )


async def grant_request_roles(conn: Connection) -> None:
    """Make rota's role, and whoever migrates, members of the request roles.

    Where another owner in the cluster made those, this one may not grant them from PostgreSQL 16
    on. It needs no membership itself where rota works as `rota_backend`. Raises MigrationError
    with the statements for a superuser.
    """
    refused: list[_Membership] = []
    for wanted in await many(conn, "list_missing_memberships", _Membership):
        grant = sql.SQL("GRANT {} TO {}").format(*map(sql.Identifier, (wanted.role, wanted.member)))
        try:
            async with conn.transaction():
                await conn.execute(grant)
        except psycopg.errors.InsufficientPrivilege:
            refused.append(wanted)
    if (await one(conn, "fetch_backend", _Backend)).may_log_in:
        refused = [membership for membership in refused if membership.member == BACKEND_ROLE]
    if refused:
        needed = " ".join(f"GRANT {refusal.role} TO {refusal.member};" for refusal in refused)
        raise MigrationError(
            f"{conn.info.user} may not grant the roles that rota needs. Run as a superuser: "
            f"{needed} Then repeat the command."
        )
