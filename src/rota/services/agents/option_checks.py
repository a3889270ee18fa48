"""Checks the options of a run or a schedule against its agent: the model and the pre-check."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from rota.agents.models.providers import CALLABLE, PROVIDERS, SCRIPTED, parse_model
from rota.domain.agents.configuration import AgentConfiguration
from rota.domain.approvals.verdict import judge
from rota.domain.errors import InvalidInputError
from rota.domain.runs.options import Precheck, RunOptions
from rota.domain.text.shortening import quoted
from rota.domain.text.validation import near_or_all

_PROMPT: Final = re.compile(r"\{[{%][^{}]*\bprompt\b")

NO_DRY_RUN: Final = (
    "A dry run cannot hold back an agent that is the operator's own code: it may act without tools."
)


@dataclass(frozen=True, slots=True)
class Registered:
    """What is registered in this process. A worker may have another configuration.

    `endpoints`, `keys` or `callables` None: this process does not know them. `argument_names`
    returns the names of all arguments of a tool. `keys` are the names of the variables that are
    set.
    """

    endpoints: Collection[str] | None = None
    argument_names: Callable[[str], Collection[str] | None] = lambda _: None
    keys: Collection[str] | None = None
    callables: Collection[str] | None = None


NOBODY_KNOWS: Final = Registered()


def check_options(
    options: RunOptions, agent: AgentConfiguration, registered: Registered = NOBODY_KNOWS
) -> None:
    """Raise InvalidInputError for a model, or a pre-check, that this agent cannot run with.

    Whether a callable is registered is not looked at: each worker knows its own.
    """
    if options.dry_run and agent.model.startswith(CALLABLE):
        raise InvalidInputError(NO_DRY_RUN, field="dry_run")
    if options.model is not None:
        _check_model(options.model, agent)
    if options.precheck is not None and options.precheck.kind == "tool":
        _check_tool(options.precheck, agent)
        check_arguments(options.precheck, registered.argument_names)


def check_arguments(check: Precheck, names_of: Callable[[str], Collection[str] | None]) -> None:
    """Raise InvalidInputError for an argument of a pre-check that its tool does not have."""
    known = names_of(check.name) if check.arguments else None
    for name in check.arguments:
        if known is not None and name not in known:
            raise InvalidInputError(
                f"The pre-check {check.name} has no argument {quoted(name)}; "
                f"{near_or_all(name, known)}",
                field="precheck",
            )


def missing_endpoint(settings: Mapping[str, Any], registered: Registered) -> str | None:
    """Say that a model's settings name an endpoint that this process does not know, else None."""
    name, known = settings.get("endpoint"), registered.endpoints
    if name is None or known is None or name in known:
        return None
    return (
        f"there is no endpoint {quoted(str(name))} here; {near_or_all(name, known)} Its runs fail "
        "on a worker whose ROTA_ENDPOINTS lacks it"
    )


def needed_key(model: str, settings: Mapping[str, Any]) -> str | None:
    """Return the variable of the API key that a model needs, None where it needs none.

    An endpoint has a key of its own, or none.
    """
    if model.startswith(CALLABLE) or settings.get("endpoint") is not None:
        return None
    provider, _ = parse_model(model)
    return None if provider == SCRIPTED else PROVIDERS[provider].key_variable


def missing_callable(name: str, registered: Registered) -> str | None:
    """Say that this process does not know a callable, else None. A worker may know others."""
    known = registered.callables
    if known is None or name in known:
        return None
    near = get_close_matches(name, known, n=1)
    did_you = f" (did you mean {near[0]}?)" if near else ""
    return (
        f"this terminal's ROTA_CALLABLES does not name {name}{did_you}; its runs fail on a worker "
        "whose ROTA_CALLABLES lacks it"
    )


def doubts_of_schedule(
    prompt: str | None,
    options: RunOptions,
    registered: Registered,
    *,
    agent_name: str,
    model: str,
    script: Mapping[str, Any] | None,
) -> str | None:
    """Say what of a schedule may not be as it was meant, None where nothing is doubtful."""
    said = [missing_prompt(prompt, options, agent_name=agent_name, model=model, script=script)]
    if options.precheck is not None and options.precheck.kind == "callable":
        said.append(missing_callable(options.precheck.name, registered))
    return "; ".join(doubt for doubt in said if doubt) or None


def missing_prompt(
    prompt: str | None,
    options: RunOptions,
    *,
    agent_name: str,
    model: str,
    script: Mapping[str, Any] | None,
) -> str | None:
    """Say what is wrong with asking an agent for nothing, None where it needs no prompt.

    The operator's own code may need none, nor does a script that does not look at it.
    """
    model = options.model or model
    if (prompt and prompt.strip()) or options.checklist or model.startswith(CALLABLE):
        return None
    if model.startswith(f"{SCRIPTED}:") and not _PROMPT.search(json.dumps(script)):
        return None
    return f"there is no prompt, so {agent_name} is not told what to do; give one (--prompt)"


def _check_model(model: str, agent: AgentConfiguration) -> None:
    if agent.model.startswith(CALLABLE):
        raise InvalidInputError(
            f"{agent.agent_name} is the operator's own code ({agent.model}); it has no model that "
            "could be chosen.",
            field="model",
        )
    if model.startswith(CALLABLE):
        raise InvalidInputError(
            f"{model} is the operator's own code, which an agent is made of; it cannot be "
            "chosen as a model.",
            field="model",
        )
    provider, _ = parse_model(model)
    if provider == SCRIPTED and agent.script is None:
        raise InvalidInputError(
            f"{agent.agent_name} has no script, so no scripted model can run it.", field="model"
        )


def _check_tool(check: Precheck, agent: AgentConfiguration) -> None:
    tool = next((tool for tool in agent.tools if tool.name == check.name), None)
    if tool is None:
        readers = [tool.name for tool in agent.tools if tool.read_only]
        near = get_close_matches(check.name, readers, n=1) or readers
        hint = f"it may be {' or '.join(near)}" if near else "it has no tool that only reads"
        raise InvalidInputError(
            f"{agent.agent_name} has no tool {check.name!r} for a pre-check; {hint}.",
            field="precheck",
        )
    if not tool.read_only:
        raise InvalidInputError(
            f"{check.name} changes things; a pre-check may only read.", field="precheck"
        )
    verdict = judge(check.name, tool)
    if verdict.decision != "allowed":
        raise InvalidInputError(
            f"{check.name} cannot be a pre-check, which runs by itself: {verdict.reason}.",
            field="precheck",
        )
