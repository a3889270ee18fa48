"""What is said where no request is found: that none waits, or that others do."""

from __future__ import annotations

from rota.domain.agents.configuration import Risk

NOTHING = "Nothing waits for your approval."


def none_waits(
    others: int, *, agent: str | None = None, tool: str | None = None, up_to: Risk = "high"
) -> str:
    """Say that none of those that wait, `others` of them, is of the kind that was asked for."""
    kind = _kind(agent, tool, up_to)
    if not others or not kind:
        return NOTHING
    if others == 1:
        return f"The one that waits is not {kind}."
    return f"None of the {others} that wait is {kind}."


def none_like_it(others: int, up_to: Risk) -> str:
    """Say that none of those that are like a request, `others` of them, is of so low a risk."""
    if not others:
        return "Nothing like it waits for your approval."
    if others == 1:
        return f"The one that waits is not {_kind(None, None, up_to)}."
    return f"None of the {others} like it that wait is {_kind(None, None, up_to)}."


def none_of_status(status: str, *, agent: str | None, tool: str | None, up_to: Risk) -> str:
    """Say that there is none of a status, or of `all`."""
    kind = _kind(agent, tool, up_to)
    named = f"request {kind}" if kind else "request"
    return f"There is no {named}." if status == "all" else f"No {named} is {status}."


def _kind(agent: str | None, tool: str | None, up_to: Risk) -> str:
    parts = [f"from {agent}"] if agent is not None else []
    parts += [f"for {tool}"] if tool is not None else []
    parts += [f"of {up_to} risk{' or less' * (up_to != 'low')}"] if up_to != "high" else []
    return ", ".join(parts)
