"""Connections as JSON, without secrets, and what follows once one works."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rota.bootstrap.app import App
from rota.domain.agents.connections import ConnectionInfo, setups_met
from rota.domain.errors import NotFoundError, RotaError
from rota.domain.ids import UserId
from rota.domain.text.jsonable import fields_of
from rota.services.agents.connection_words import allowed_in_words
from rota.shown.models import Shown, model_of


class ConnectionShown(model_of(ConnectionInfo)):  # type: ignore[misc]  # a type that is made
    """A connection without its secret. `may` says in words what it allows rota."""

    may: str


class ConnectedShown(ConnectionShown):
    """A connection that was made. `found` says what is there, `resumed` which schedules go on."""

    found: str
    resumed: list[str]


class SignedInShown(ConnectedShown):
    """A connection that was made by a sign-in. `lacks`: what was wanted and not allowed."""

    lacks: str
    warning: str


class SignInWaitsShown(Shown):
    """Nobody has typed the code yet."""

    status: str


class ConnectionCheckShown(Shown):
    """How a check went: `found` says what is there, `problem` what is wrong, "" for nothing."""

    name: str
    found: str
    problem: str
    resumed: list[str]


@dataclass(frozen=True, slots=True)
class ConnectionCheck:
    """A check of one connection, and the schedules that continue after it."""

    name: str
    found: str
    error: RotaError | None
    resumed: list[str]


async def try_connection(app: App, me: UserId, name: str) -> ConnectionCheck:
    """Try a connection, and say how that went; raises NotFoundError where there is none."""
    try:
        found = await app.connections.check(me, name)
    except NotFoundError:
        raise
    except RotaError as error:  # how it went is the answer
        return ConnectionCheck(name, "", error, [])
    return ConnectionCheck(name, found, None, await resume_schedules(app, me, name))


def checked_json(checked: ConnectionCheck) -> dict[str, Any]:
    """Return a check as JSON."""
    return {
        "name": checked.name,
        "found": checked.found,
        "problem": checked.error.message if checked.error else "",
        "resumed": checked.resumed,
    }


def connection_json(connection: ConnectionInfo, now: datetime) -> dict[str, Any]:
    """Return a connection as JSON, with its state now."""
    state = connection.state_at(now)
    return fields_of(connection) | {"state": state, "may": allowed_in_words(connection)}


async def resume_schedules(app: App, me: UserId, name: str) -> list[str]:
    """Resume the schedules that rota paused for want of a connection; return their names.

    Those too that lacked any of its kind, or anything that gives what it gives.
    """
    kind = (await app.connections.get(me, name)).kind
    found = [
        schedule
        for what in setups_met(name, kind)
        for schedule in await app.schedules.resume_after_setup(me, what)
    ]
    return [schedule.name for schedule in found]
