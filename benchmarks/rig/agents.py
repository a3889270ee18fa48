"""The agents of a herd: a callable that does nothing, and a script that reads mail once.

Workers import this module by the name that ROTA_CALLABLES gives them, so it imports nothing heavy.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final

NAME: Final = "herd"

SCRIPT: Final[dict[str, Any]] = {
    "steps": [{"calls": [{"tool": "mail_search", "args": {"query": "", "max_results": 5}}]}],
    "answer": "{{ results[0] | length }} messages",
}

CALLABLES: Final = f"noop={__name__}:noop"
"""What ROTA_CALLABLES is to say; the folder of `rig` is to be in PYTHONPATH."""


class Kind(Enum):
    """Which agent a herd runs."""

    CALLABLE = "callable"
    SCRIPTED = "scripted"

    @property
    def model(self) -> str:
        """The model, as the agent's row names it."""
        return "callable:noop" if self is Kind.CALLABLE else "scripted:herd"

    @property
    def steps(self) -> int:
        """Rows that a run leaves in its journal: a scripted one calls its model twice."""
        return 1 if self is Kind.CALLABLE else 3

    @property
    def concurrency(self) -> int:
        """ROTA_CONCURRENCY that suits it."""
        return 50 if self is Kind.CALLABLE else 10


async def noop(context: object, prompt: str) -> str:  # noqa: ARG001  rota calls a callable with context and prompt
    """Answer at once: what is left of a run is rota's own part."""
    return "done"
