"""`rota agents`: what can run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.errors import InvalidInputError

if TYPE_CHECKING:
    from rota.domain.agents.configuration import AgentConfiguration

group = CommandGroup()
_NOT_IN_FILE: Final = "not in the file, and goes on as it was; --prune removes it"
Name = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")]


@group.command("list", json=True)
def list_agents(common: CommonOptions) -> None:
    """List the agents that you can run."""
    found = common.as_person(lambda app, me: app.agents.all(me))
    output.print_list(
        found,
        {
            "NAME": lambda agent: agent.agent_name,
            "MODEL": lambda agent: agent.model,
            "TOOLS": lambda agent: len(agent.tools),
            "WHOSE": lambda agent: "shared" if agent.user_id is None else "yours",
            "DESCRIPTION": lambda agent: output.first_line(agent.description),
        },
        as_json=common.json,
        empty="There are no agents. `rota agents apply FILE` makes some.",
    )


@group.command("show", json=True)
def show_agent(common: CommonOptions, name: Name) -> None:
    """Show an agent: model, prompt, and what may happen with each tool."""
    from rota.domain.approvals.verdict import judge

    agent = common.as_person(lambda app, me: app.agents.get(me, name))
    if common.json:
        output.print_json(agent)
        return
    output.say(agent.agent_name, style="bold")
    if agent.description:
        output.say(agent.description)
    output.say(f"Model      {agent.model}")
    if agent.model_settings:
        output.say(f"Settings   {dict(agent.model_settings)}")
    if agent.fallback_models:
        output.say(f"Fallback   {', then '.join(agent.fallback_models)}")
    output.say(f"Each run   {_limits(agent)}")
    if agent.max_concurrency is not None:
        output.say(f"At a time  at most {agent.max_concurrency} runs queued or running")
    output.say(f"Whose      {'shared' if agent.user_id is None else 'yours'}")
    if agent.system_prompt:
        output.say("Prompt")
        output.say("\n".join(f"  {line}" for line in agent.system_prompt.splitlines()))
    output.say()
    output.table(
        ["TOOL", "CHANGES THINGS", "A CALL"],
        [
            (
                tool.name,
                "no" if tool.read_only else "yes",
                "runs" if judge(tool.name, tool).decision == "allowed" else "waits for approval",
            )
            for tool in agent.tools
        ],
        empty="It has no tools.",
    )


@group.command("apply", json=True)
def apply_file(
    common: CommonOptions,
    file: Annotated[Path, typer.Argument(help="YAML or JSON; see docs/howto/agent-files.md.")],
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Remove schedules of these agents that the file has not."),
    ] = False,
) -> None:
    """Write the agents and schedules of a file, all of them or none."""
    from rota.bootstrap.app import clock
    from rota.services.agent_files.reading import read_agent_file

    read = read_agent_file(file, now=clock())
    # Whoever can open the database is the operator, in whoever's name they write.
    applied = common.as_person(
        lambda app, me: app.agent_files.apply(me, read, is_operator=True, prune=prune)
    )
    if common.json:
        output.print_json(applied)
        return
    for change in applied:
        said = _NOT_IN_FILE if change.change == "kept" else change.change
        output.say(f"{change.kind} {change.name}: {said}")


def _limits(agent: AgentConfiguration) -> str:
    """Say what one run may use, or what is wrong with a row that was written past rota."""
    from rota.domain.runs.limits import Limits
    from rota.domain.runs.option_kinds import in_words

    try:
        limits = Limits(steps=agent.max_steps).overridden_by(Limits.parse(agent.limits))
    except InvalidInputError as error:
        return f"cannot be read, so its runs fail: {error.message}"
    return in_words(limits)
