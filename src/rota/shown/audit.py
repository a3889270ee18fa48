"""The audit log as JSON: its entries, and the result of a check."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import Field, create_model

from rota.domain.audit.chain import AuditEntry
from rota.domain.audit.checks import Problem, Verification
from rota.domain.text.jsonable import fields_of
from rota.services.audit.service import head_line
from rota.shown.models import Shown, model_of

_TIME: Any = (datetime | str, Field(description="A text that is no time, if somebody wrote such."))
AuditEntryShown = create_model(
    "AuditEntry",
    __base__=model_of(AuditEntry),
    __doc__="An entry of the audit log. `arguments` are JSON as text, as they were sealed.",
    called_at=_TIME,
    created_at=_TIME,
)
ProblemShown = model_of(Problem, "AuditProblem")


class HeadShown(Shown):
    """The last block of a chain. Keep it elsewhere, to find out later if the log was changed."""

    type: Literal["head"]
    chain: UUID
    seq: int
    hash: str


class ChainShown(Shown):
    """The result of checking one chain; see `rota audit verify`."""

    head: HeadShown
    is_forgotten: bool = Field(description="Its person was deleted.")
    blocks: int
    entries: int
    pruned: int
    blanked: int
    late: list[int]
    unsealed: int


class VerificationShown(Shown):
    """The result of checking the audit log. It is in order if there is no problem."""

    problems: list[ProblemShown]  # type: ignore[valid-type]  # a type that is made
    notes: list[str]
    heads_there: int = Field(description="How many of the given heads were found.")
    chains: list[ChainShown]


def entry_json(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as JSON; its times say that they are in UTC."""
    return {
        **fields_of(entry),
        "called_at": entry.called or entry.called_at,
        "created_at": entry.created or entry.created_at,
    }


def verification_json(found: Verification) -> dict[str, object]:
    """Return what was found as JSON has it."""
    return {
        "problems": [asdict(problem) for problem in found.problems],
        "notes": list(found.notes),
        "heads_there": found.heads_there,
        "chains": [
            {
                "head": head_line(chain.head),
                "is_forgotten": chain.is_forgotten,
                "blocks": chain.blocks,
                "entries": chain.entries,
                "pruned": chain.pruned,
                "blanked": chain.blanked,
                "late": list(chain.late),
                "unsealed": chain.unsealed,
            }
            for chain in found.chains
        ],
    }
