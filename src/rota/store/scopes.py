"""The scopes of the token that a request came with, for all transactions of its task."""

from __future__ import annotations

from contextvars import ContextVar

_scopes: ContextVar[frozenset[str] | None] = ContextVar("scopes", default=None)


def limited_to(scopes: frozenset[str] | None) -> None:
    """Let what this task does from now on do no more than these scopes; None: all.

    They are a claim of each transaction, `rota_scopes`, which the database checks.
    """
    _scopes.set(scopes)


def scopes_of_task() -> frozenset[str] | None:
    """Return the scopes of this task, None where it is limited to none."""
    return _scopes.get()


def looks_only() -> bool:
    """Return whether this task changes nothing: its transactions as a person are read-only."""
    scopes = _scopes.get()
    return scopes is not None and scopes <= {"read"}
