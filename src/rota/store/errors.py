"""Translates errors of the database into errors of the domain: one table for the whole store.

store/statements.py and store/database.py raise the errors that this module returns. To give a new
refusal its own error, add its constraint or SQLSTATE here. A service catches the error of the
domain, and adds the words that only the service knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeAlias

import psycopg
from psycopg import errors

from rota.domain.agents.people import MAY_NOT_RUN
from rota.domain.errors import (
    ConflictError,
    InsufficientScopeError,
    InvalidInputError,
    LostTransactionError,
    NotFoundError,
    RotaError,
    SetupRequiredError,
    StatementError,
)
from rota.store.scopes import looks_only

_Parameters: TypeAlias = Mapping[str, Any]
_Meaning: TypeAlias = Callable[[psycopg.Error, _Parameters], RotaError]


def domain_error(error: psycopg.Error, parameters: _Parameters) -> RotaError:
    """Return what an error of a statement with these parameters means."""
    meaning = (
        _BY_CONSTRAINT.get(error.diag.constraint_name or "")
        or _BY_SQLSTATE.get(error.sqlstate or "")
        or _otherwise
    )
    return meaning(error, parameters)


@contextmanager
def domain_errors() -> Iterator[None]:
    """Raise what the database refuses in the block as an error of the domain."""
    try:
        yield
    except psycopg.Error as error:
        raise domain_error(error, {}) from error


def _no_such(error: psycopg.Error, parameters: _Parameters) -> RotaError:
    """Name what a function of ours raised `no such <kind>` for; the parameter is `<kind>_id`."""
    kind = (error.diag.message_primary or "").removeprefix("no such ")
    return NotFoundError(kind, str(parameters.get(f"{kind}_id", "")))


def _schedule_of_another(error: psycopg.Error, parameters: _Parameters) -> RotaError:
    """Say what a policy means that refuses a row which names a schedule of somebody else's."""
    schedule_id = parameters.get("schedule_id")
    if schedule_id is None:
        return _otherwise(error, parameters)
    return NotFoundError("schedule", str(schedule_id))


def _conflict(error: psycopg.Error, _: _Parameters) -> RotaError:
    said = error.diag.message_primary or str(error)
    return ConflictError(f"{said[:1].upper()}{said[1:]}.")


def _moved_on(error: psycopg.Error, _: _Parameters) -> RotaError:
    """Keep what a function of ours raised: the status that the row has by now."""
    status = error.diag.message_primary
    return ConflictError(f"It is {status} by now.", status=status)


def _may_not_run(_: psycopg.Error, __: _Parameters) -> RotaError:
    return SetupRequiredError(MAY_NOT_RUN, what="permission")


def _deleted_person(_: psycopg.Error, __: _Parameters) -> RotaError:
    return NotFoundError("person", "who was just deleted")


def _invalid(error: psycopg.Error, _: _Parameters) -> RotaError:
    said = error.diag.message_primary or str(error)
    return InvalidInputError(f"{said[:1].upper()}{said[1:]}.")


def _beyond(bounds: str) -> _Meaning:
    """Say what a row may hold at most (supabase/migrations, bounds)."""
    return lambda _, __: InvalidInputError(f"That is too much: {bounds}.")


def _name_taken(_: psycopg.Error, parameters: _Parameters) -> RotaError:
    return ConflictError(
        f"There is a schedule named {parameters['name']!r} already; choose another name (--name)."
    )


def _lacks_scope(error: psycopg.Error, _: _Parameters) -> RotaError:
    scope = error.diag.message_detail or ""
    return InsufficientScopeError(
        f"This token may not do that: it lacks the scope `{scope}`.", scope=scope
    )


def _read_only(error: psycopg.Error, parameters: _Parameters) -> RotaError:
    """Tell a token that may only look from a server that takes no writes."""
    if looks_only():
        return InsufficientScopeError(
            "This token may not do that: with the scope `read` alone nothing is changed."
        )
    return _otherwise(error, parameters)


def _token_named(_: psycopg.Error, parameters: _Parameters) -> RotaError:
    return ConflictError(
        f"There is a token named {parameters['name']!r} already; choose another name, or revoke it."
    )


def _otherwise(error: psycopg.Error, _: _Parameters) -> RotaError:
    if isinstance(error, psycopg.DataError) and "NUL" in str(error):  # psycopg's own: no SQLSTATE
        return InvalidInputError("A NUL character cannot be stored.")
    said = " ".join(str(error).split())
    if is_outage(error):
        is_deadlock = isinstance(error, errors.DeadlockDetected)
        state = error.sqlstate or ""
        what = _OUTAGES.get(state) or _OUTAGES.get(state[:2]) or "The database went away"
        return LostTransactionError(f"{what}: {said}", deadlock=is_deadlock)
    if isinstance(error, psycopg.DataError) and "NUL" in said:  # psycopg's own, without a SQLSTATE
        return InvalidInputError("A text has a NUL character, which nothing here can have.")
    return StatementError(f"{type(error).__name__}: {said}")


def is_outage(error: psycopg.Error) -> bool:
    """Whether an error says how the server is, and waiting helps: no fault of the statement."""
    state = error.sqlstate
    if state is None:  # psycopg's own: the connection is gone
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return (state[:2] in _OUTAGE_CLASSES or state in _OUTAGES) and state not in _CORRUPTIONS


def has_stale_plan(error: Exception) -> bool:
    """Whether a connection keeps a plan of before `rota migrate`, and answers so for ever."""
    return isinstance(error.__cause__ or error, errors.FeatureNotSupported)


_OUTAGE_CLASSES: Final = frozenset(
    {
        "08",  # connection exception
        "28",  # a role or a password that does not hold any more
        "40",  # transaction rollback: serialization, deadlock
        "53",  # insufficient resources: disk, memory, connections
        "57",  # operator intervention: shutdown, cancelled, timeouts
        "58",  # system error: input and output
        "F0",  # configuration file error
        "HV",  # foreign data wrapper
        "XX",  # internal error; poolers use it too
    }
)

_CORRUPTIONS: Final = frozenset({"XX001", "XX002"})
"""A page or an index that is damaged: waiting mends neither, and other rows can be read."""

_OUTAGES: Final[Mapping[str, str]] = {
    "0A000": "The schema changed under a prepared statement",
    "25006": "The database is read-only",
    "25P03": "The database ended a transaction that was idle",
    "25P04": "The database ended a transaction that took too long",
    "40": "The database broke a transaction off",
    "53": "The database has run out of resources",
    "53100": "The disk of the database is full",
    "53300": "The database has no connection left",
    "55P03": "The database waited too long for a lock",
    "57014": "The database cancelled a statement",
    "72000": "The database ended a transaction that took too long",
}
"""Outages that are said in their own words, by SQLSTATE or class."""

_BY_CONSTRAINT: Final[Mapping[str, _Meaning]] = {
    "api_tokens_user_id_name_key": _token_named,
    "rota_scopes": _lacks_scope,  # insufficient_privilege too, and raised by our triggers
    "agent_configurations_bounds_check": _beyond(
        "an agent has a system prompt of at most 200,000 characters, a description of 2,000, model "
        "settings of 20,000 and a script of 1,000,000. Its JSON is at most 32 levels deep"
    ),
    "agent_runs_bounds_check": _beyond(
        "a run has a prompt of at most 100,000 characters, an agent's name of 63, and "
        "options of 100,000, at most 32 levels deep. A fire time is between the years "
        "1900 and 9000"
    ),
    "agent_schedules_bounds_check": _beyond(
        "a schedule has a prompt of at most 100,000 characters, an agent's name of 63, a note of "
        "1,000, and options of 100,000, at most 32 levels deep"
    ),
    "approval_rules_bounds_check": _beyond(
        "the conditions of a rule are at most 10,000 characters, and at most 32 levels deep"
    ),
    "pauses_bounds_check": _beyond(
        "a note has at most 1,000 characters, and a time is between the years 1900 and 9000"
    ),
    "agent_schedules_user_id_name_key": _name_taken,
    "approval_rules_for_user_fkey": _deleted_person,
    "approval_rules_schedule_id_fkey": _schedule_of_another,
    "approval_rules_user_id_fkey": _deleted_person,
    "audit_blocks_chain_id_fkey": _deleted_person,
    "audit_chains_user_id_fkey": _deleted_person,
    "may_run_agents": _may_not_run,  # insufficient_privilege too, and raised by our triggers
}

_BY_SQLSTATE: Final[Mapping[str, _Meaning]] = {
    "25006": _read_only,  # read_only_sql_transaction
    "22023": _invalid,  # invalid_parameter_value
    "42501": _schedule_of_another,  # insufficient_privilege
    "54000": _conflict,  # program_limit_exceeded
    "55000": _moved_on,  # object_not_in_prerequisite_state
    "55006": _conflict,  # object_in_use
    "P0002": _no_such,  # no_data_found
}
