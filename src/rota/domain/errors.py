"""Every error that rota raises on purpose, with fields, from one base.

`exit_code` is what the CLI exits with; the table in docs/reference/exit-codes.md is tested
against this module.
"""

from __future__ import annotations

from typing import ClassVar


class RotaError(Exception):
    """Base of all errors with a message that a person can act on: one or more plain sentences."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class InvalidInputError(RotaError):
    """Something a person wrote is not valid: a cron expression, a zone, JSON, an id."""

    exit_code = 2

    def __init__(self, message: str, *, field: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.field = field
        self.line = line


class NotFoundError(RotaError):
    """What was asked for does not exist, or belongs to somebody else (never told apart)."""

    exit_code = 3

    def __init__(self, kind: str, reference: str, *, hint: str = "") -> None:
        super().__init__(f"No {kind} {reference!r}.{' ' + hint if hint else ''}")
        self.kind = kind
        self.reference = reference


class ConflictError(RotaError):
    """The thing exists already, is in use, or changed meanwhile."""

    exit_code = 4


class UnavailableError(RotaError):
    """Something that rota needs did not answer: the database, a provider, a mailbox."""

    exit_code = 5

    def __init__(self, message: str, *, service: str, permanent: bool = False) -> None:
        super().__init__(message)
        self.service = service
        self.permanent = permanent


class SetupRequiredError(RotaError):
    """A person has to set something up first: a key, a connection, a mailbox, an extra."""

    exit_code = 6

    def __init__(self, message: str, *, what: str) -> None:
        super().__init__(message)
        self.what = what


class MigrationError(RotaError):
    """The schema cannot be brought up to date as things stand."""

    exit_code = 7


class SuspendedError(RotaError):
    """A run is parked: a call of it waits for its owner's decision."""

    exit_code = 10

    def __init__(self) -> None:
        """Say what is to be done."""
        super().__init__("The run waits for a decision of its owner: see `rota approvals list`.")
