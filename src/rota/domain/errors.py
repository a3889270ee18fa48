"""Every error that rota raises on purpose, with fields, from one base.

    RotaError                 1
    ├─ UnreadableError        1   a row holds what cannot be read
    ├─ InvalidInputError      2   what a person wrote is not valid
    ├─ NotFoundError          3   it is not there, or somebody else's
    ├─ ConflictError          4   it is there already, in use, or changed meanwhile
    │  └─ ChangedMeanwhileError   it was changed since its reader saw it
    ├─ UnavailableError       5   the database, a provider or a mailbox did not answer
    │  └─ LostTransactionError    the database answered, and broke a transaction off
    ├─ SetupRequiredError     6   a person has to set something up first
    ├─ MigrationError         7   the schema cannot be brought up to date
    ├─ SuspendedError        10   the run is parked until its owner decides
    ├─ InsufficientScopeError 11  an API token may not do this
    ├─ NotSignedInError      11   who it is cannot be told: a link, a token or a cookie is not valid
    └─ StatementError        70   the database refused a statement: a fault of rota's own

The number is `exit_code`, what the command line exits with (docs/reference/exit-codes.md, tested
against this module). Errors of one room derive from these and live there: FencedError in
domain/runs/run.py, for example. What is raised here has a sentence for a person; a broken invariant
of the code is a RuntimeError, and nobody catches it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class RotaError(Exception):
    """Base of all errors with a message that a person can act on: one or more plain sentences.

    >>> try:
    ...     await app.agents.get(me, "nobody")
    ... except rota.RotaError as error:
    ...     print(error.message)
    No agent 'nobody'. See `rota agents list`.
    """

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class UnreadableError(RotaError):
    """A row cannot be read: it was written without rota, or by an older rota."""


class InvalidInputError(RotaError):
    """Something a person wrote is not valid: a cron expression, a zone, JSON, an id.

    Where several things are, `faults` has an error for each, and the message a line.

    >>> new = rota.NewSchedule("rain", "clerk", rota.Draft(when="when it rains"))
    >>> try:
    ...     await app.schedules.add(me, new)
    ... except rota.InvalidInputError as error:
    ...     print(error.field)
    when
    """

    exit_code = 2

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        line: int | None = None,
        faults: Sequence[InvalidInputError] = (),
    ) -> None:
        super().__init__(message)
        self.field = field
        self.line = line
        self.faults = tuple(faults)


class NotFoundError(RotaError):
    """What was asked for does not exist, or belongs to somebody else (never told apart).

    >>> try:
    ...     await app.schedules.get(me, "never")
    ... except rota.NotFoundError as error:
    ...     print(error.kind, error.reference)
    schedule never
    """

    exit_code = 3

    def __init__(self, kind: str, reference: str, *, hint: str = "") -> None:
        super().__init__(f"No {kind} {reference!r}.{' ' + hint if hint else ''}")
        self.kind = kind
        self.reference = reference


class ConflictError(RotaError):
    """The thing exists already, is in use, or changed meanwhile.

    >>> edit = rota.ScheduleEdit(prompt="Be brief.", revision=0)
    >>> try:
    ...     await app.schedules.edit(me, "each-morning", edit)
    ... except rota.ConflictError as error:
    ...     print(error.message)
    each-morning was changed meanwhile: it has revision 1, not 0. Read it again.
    """

    exit_code = 4

    def __init__(self, message: str, *, status: str | None = None) -> None:
        """`status`: what the thing is by now, where the database said."""
        super().__init__(message)
        self.status = status


class ChangedMeanwhileError(ConflictError):
    """The thing is not any more as its reader saw it, and was not changed."""


class UnavailableError(RotaError):
    """Something that rota needs did not answer: the database, a provider, a mailbox.

    A tool raises it for a service that does not answer, and the agent is told of it:

    >>> error = rota.UnavailableError("The shop does not answer.", service="shop")
    >>> error.service, error.permanent
    ('shop', False)
    """

    exit_code = 5

    def __init__(self, message: str, *, service: str, permanent: bool = False) -> None:
        super().__init__(message)
        self.service = service
        self.permanent = permanent


class LostTransactionError(UnavailableError):
    """The database broke a transaction off: nothing of it was done, and it may be tried again.

    The connection was lost, the server stops, or, with `deadlock`, another transaction had to pass.
    """

    def __init__(self, message: str, *, deadlock: bool = False) -> None:
        super().__init__(message, service="database")
        self.deadlock = deadlock


class SetupRequiredError(RotaError):
    """A person has to set something up first: a key, a connection, a mailbox, an extra.

    A tool raises it, and the agent is told of it:

    >>> error = rota.SetupRequiredError("Set SHOP_KEY, the key of the shop.", what="SHOP_KEY")
    >>> error.what
    'SHOP_KEY'
    """

    exit_code = 6

    def __init__(self, message: str, *, what: str) -> None:
        super().__init__(message)
        self.what = what


class MigrationError(RotaError):
    """The schema cannot be brought up to date as things stand."""

    exit_code = 7


class SuspendedError(RotaError):
    """A run is parked: a call of it waits for its owner's decision.

    >>> from datetime import timedelta
    >>> options = rota.RunOptions.parse({"approvals": "suspend"})
    >>> run_id = await app.runs.request(me, "clerk", "Write it down.", options)
    >>> try:
    ...     await app.runs.wait(me, run_id, limit=timedelta(minutes=1))
    ... except rota.SuspendedError as error:
    ...     print(error.message)
    The run waits for your decision: see `rota approvals list`.
    """

    exit_code = 10

    def __init__(self) -> None:
        """Say what is to be done."""
        super().__init__("The run waits for your decision: see `rota approvals list`.")


class InsufficientScopeError(RotaError):
    """An API token may not do this: it lacks a scope, which `scope` names where it is one."""

    exit_code = 11

    def __init__(self, message: str, *, scope: str | None = None) -> None:
        super().__init__(message)
        self.scope = scope


class NotSignedInError(RotaError):
    """Who it is cannot be told: a link, a token or a cookie is not valid, or not any more."""

    exit_code = 11


class StatementError(RotaError):
    """The database refused a statement for a reason that no rule of ours names."""

    exit_code = 70

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The database refused a statement ({reason}). This is a bug in rota. "
            "ROTA_LOG_LEVEL=debug shows where."
        )
        self.reason = reason
