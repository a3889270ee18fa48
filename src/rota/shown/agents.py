"""Agents, checks of agent files, and what applying files changes, as JSON."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

from rota.bootstrap.app import App
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.errors import ConflictError, InvalidInputError
from rota.domain.ids import UserId
from rota.services.agent_files.applying import Applied
from rota.shown.models import Shown, model_of

AgentShown: Final = model_of(AgentConfiguration)
AppliedShown: Final = model_of(Applied)


class CheckedShown(Shown):
    """The result of checking an agent file: its faults, or what applying it would change."""

    file: str
    error: str | None
    errors: list[str]
    changes: list[AppliedShown]  # type: ignore[valid-type]  # a type that is made
    valid: bool


@dataclass(frozen=True, slots=True)
class Checked:
    """The result of checking an agent file: its faults, or what applying it would change."""

    file: str
    error: str | None
    errors: tuple[str, ...]
    changes: tuple[Applied, ...]


def checked_json(checked: Checked) -> dict[str, Any]:
    """Return the result of a check as JSON."""
    return asdict(checked) | {"valid": checked.error is None}


async def check_agent_text(
    app: App, user_id: UserId, text: str, *, source: str, is_operator: bool
) -> dict[str, Any]:
    """Check a text, and return the result as JSON."""
    from rota.services.agent_files.reading import read_agent_text  # noqa: PLC0415  as the CLI

    try:
        file = read_agent_text(text, source=source, now=app.clock())
        changes = await app.agent_files.validate(user_id, file, is_operator=is_operator)
    except (InvalidInputError, ConflictError) as error:
        return checked_json(failed(source, error))
    return checked_json(Checked(source, None, (), changes))


def failed(file: str, error: InvalidInputError | ConflictError) -> Checked:
    """Return the result of checking a file that is not valid."""
    faults = getattr(error, "faults", ()) or (error,)
    return Checked(file, error.message, tuple(fault.message for fault in faults), ())
