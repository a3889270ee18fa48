"""`rota agents`: list, show, write, apply from a file, export and remove agents."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.agents.changes import print_changes
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions, Limit
from rota.domain.errors import ConflictError, InvalidInputError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.configuration import AgentConfiguration
    from rota.domain.ids import UserId
    from rota.shown.agents import Checked

group = CommandGroup()
_SCRIPT_WANTED: Final = ("This follows a script, which costs nothing. With a model:",)
Name = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's name.")]


@group.command("list")
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


@group.command("show")
def show_agent(common: CommonOptions, name: Name) -> None:
    """Show an agent: its model, its prompt, and whether calls of its tools need approval."""
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
        output.say(f"Settings   {json.dumps(dict(agent.model_settings), ensure_ascii=False)}")
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


@group.command("apply")
def apply_file(
    common: CommonOptions,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE...", help="YAML or JSON; see docs/howto/agent-files.md."),
    ],
    prune: Annotated[
        bool,
        typer.Option(
            "--prune", help="Also remove schedules of these agents that are not in the file."
        ),
    ] = False,
) -> None:
    """Create or update all agents and schedules of files. After an error, nothing is changed."""
    from rota.bootstrap.app import clock
    from rota.services.agent_files.reading import read_agent_files

    read = read_agent_files(files, now=clock())
    # Whoever can open the database is the operator, whatever name `--as` gives.
    applied = common.as_person(
        lambda app, me: app.agent_files.apply(me, *read, is_operator=True, prune=prune)
    )
    if common.json:
        output.print_json(applied)
        return
    print_changes(applied)


@group.command("validate")
def validate_files(
    common: CommonOptions,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="YAML or JSON.")],
) -> None:
    """Check agent files, and show what `apply` would change. Nothing is written.

    Every file is checked, and every error is named. The exit status is 2 if one is not valid.
    """
    from rota.bootstrap.app import clock
    from rota.services.agent_files.reading import read_agent_file
    from rota.shown.agents import Checked, checked_json, failed

    async def work(app: App, me: UserId) -> list[Checked]:
        checked = []
        for file in files:
            try:
                read = read_agent_file(file, now=clock())
                changes = await app.agent_files.validate(me, read, is_operator=True)
            except (InvalidInputError, ConflictError) as error:
                checked.append(failed(str(file), error))
            else:
                checked.append(Checked(str(file), None, (), changes))
        return checked

    checked = common.as_person(work)
    if common.json:
        output.print_json([checked_json(one) for one in checked])
    else:
        for one in checked:
            _print_checked(one)
    if any(one.error is not None for one in checked):
        raise typer.Exit(InvalidInputError.exit_code)


@group.command("new")
def new_agent(
    common: CommonOptions,
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="briefing, inbox-triage or calendar-day.")
    ],
    output_file: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="The file to write. Default: print."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    name: Annotated[
        str | None,
        typer.Option("--name", help="The name of the agent and its schedule. Default: the kind."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="provider:model, or scripted for a script, which needs no key. Default: that of "
            "your other agents, or of a provider, if its key is set here; else a script.",
        ),
    ] = None,
    at: Annotated[str, typer.Option("--at", help="When it runs, in your time zone.")] = "7:00",
    days: Annotated[
        str, typer.Option("--days", help="On which days, as cron has them.")
    ] = "mon-fri",
) -> None:
    """Write an agent file for what you have connected: mailboxes, calendars and a model.

    briefing: new mail and today's events. inbox-triage: sorts new mail and drafts answers, which
    wait for your approval. calendar-day: today's events and free times. The file has comments, and
    `rota agents apply` takes it as it is. Nothing is stored.
    """
    from rota.agents.models.providers import SCRIPTED, SUGGESTED_MODELS, parse_model
    from rota.bootstrap.app import clock
    from rota.services.agent_files.ready_agents import ReadyAgent, write_ready_agent
    from rota.services.agents.option_checks import needed_key

    # The word alone, too: of a script the name means nothing.
    is_script = model is not None and model.strip().partition(":")[0] == SCRIPTED
    if model is not None and model.strip() != SCRIPTED:
        parse_model(model)
    if output_file is not None and output_file.exists() and not force:
        raise ConflictError(f"{output_file} exists already. --force writes over it.")

    async def work(app: App, me: UserId) -> str:
        available = [
            SUGGESTED_MODELS[one] for one in SUGGESTED_MODELS if one in app.settings.api_keys
        ]
        used = [
            one.model
            for one in await app.agents.all(me)
            if one.user_id is not None and not one.model.startswith(("scripted:", "callable:"))
        ]
        keys = {one: needed_key(one, {}) for one in used}
        usable = [one for one in used if keys[one] in {None, *app.settings.compared}]
        chosen = [model] if model is not None else [*usable, *available]
        why: tuple[str, ...] = ()
        if is_script:
            chosen, why = [], _SCRIPT_WANTED
        elif used and not chosen:
            why = _key_is_missing(used[0], keys[used[0]])
        wanted = ReadyAgent(
            kind=kind,
            name=name or kind,
            zone=await app.schedules.zone(me),
            file=str(output_file or f"{name or kind}.yaml"),
            at=at,
            days=days,
            model=chosen[0] if chosen else None,
            script=model.strip() if model is not None and ":" in model and is_script else "",
            why_script=why,
            suggested=used[0] if used else SUGGESTED_MODELS["anthropic"],
        )
        return write_ready_agent(wanted, await app.connections.all(me), now=clock())

    text = common.as_person(work)
    if output_file is not None:
        _write(output_file, text, force=force)
    if common.json:
        output.print_json({"file": None if output_file is None else str(output_file), "text": text})
    elif output_file is None:
        print(output.plain(text) if sys.stdout.isatty() else text, end="")
    else:
        output.say(f"Wrote {output_file}. Read it, then: rota agents apply {output_file}")


def _key_is_missing(model: str, key: str | None) -> tuple[str, ...]:
    return (
        f"Your other agents use {model}, but {key} is not set here,",
        "so this follows a script, which costs nothing. For a model write the key into",
        "~/.config/rota/.env, or name one whose key a worker has, and make this file anew:",
    )


def _write(file: Path, text: str, *, force: bool) -> None:
    try:
        with file.open("w" if force else "x", encoding="utf-8") as out:
            out.write(text)
    except FileExistsError as error:
        raise ConflictError(f"{file} exists already. --force writes over it.") from error
    except OSError as error:
        raise InvalidInputError(f"{file} cannot be written: {error.strerror}.") from error


@group.command("export")
def export_agents(
    common: CommonOptions,
    names: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[AGENT]...", help="The agents to export. Default: all of your own."
        ),
    ] = None,
) -> None:
    """Print agents and your schedules of them as a file that `apply` reads, in YAML or JSON.

    If you apply the file where it comes from, nothing changes. A shared agent is exported only if
    you name it.
    """
    from rota.services.agent_files.writing import write_yaml

    exported = common.as_person(lambda app, me: app.agent_files.export(me, names or ()))
    for said in exported.left_out:
        output.warn(f"Not exported: {said}.")
    if common.json:
        output.print_json(exported.agents)
        return
    if not exported.agents:
        output.warn("You have no agents of your own.")
        return
    text = write_yaml(exported.agents)
    print(output.plain(text) if sys.stdout.isatty() else text, end="")


@group.command("history")
def show_history(common: CommonOptions, name: Name, limit: Limit = 20) -> None:
    """Show what changed of an agent, when and by whom, the latest first; also of one that is gone.

    A version is kept as long as other history is (`rota retention show`), the latest 100.
    """
    zone, found = common.as_person_with_zone(
        lambda app, me: app.agent_edits.history(me, name, limit=limit)
    )
    output.print_list(
        found,
        {
            "VERSION": lambda one: one.version,
            "WHEN": lambda one: output.when(one.changed_at, zone),
            "BY": lambda one: "you" if one.by == "owner" else "the operator",
            "CHANGE": lambda one: one.change,
            "FIELDS": lambda one: ", ".join(one.fields),
        },
        as_json=common.json,
        empty="Nothing is known of it.",
    )


@group.command("restore")
def restore_agent(
    common: CommonOptions,
    name: Name,
    version: Annotated[
        int, typer.Argument(metavar="VERSION", min=1, help="A version of its history.")
    ],
) -> None:
    """Make an agent of your own what it was at a version, also if it is gone.

    Its schedules stay as they are.
    """
    # Whoever can open the database is the operator, whatever name `--as` gives.
    written = common.as_person(
        lambda app, me: app.agent_edits.restore(me, name, version, is_operator=True)
    )
    for said in written.warnings:
        output.warn(f"Warning: {said}")
    output.print_done(
        f"{name} is what it was at version {version}.", written.agent, as_json=common.json
    )


@group.command("remove")
def remove_agent(
    common: CommonOptions,
    name: Name,
    with_schedules: Annotated[
        bool, typer.Option("--with-schedules", help="Also remove the agent's schedules.")
    ] = False,
) -> None:
    """Remove one of your agents. Its runs and results are kept.

    This is refused while a schedule uses the agent, while a run of it is not over, or while a call
    of it waits for your decision.
    """
    removed = common.as_person(
        lambda app, me: app.agent_files.remove(me, name, with_schedules=with_schedules)
    )
    if common.json:
        output.print_json(removed)
        return
    output.say(f"Removed {removed.agent}.")
    for schedule in removed.schedules:
        output.say(f"Removed its schedule {schedule}.")


def _print_checked(checked: Checked) -> None:
    if checked.error is not None:
        output.warn(checked.error)
        return
    output.say(f"{checked.file}: valid.")
    print_changes(checked.changes, would=True, indent="  ")


def _limits(agent: AgentConfiguration) -> str:
    """Say what one run may use, or what is wrong with a row that was written past rota."""
    from rota.domain.runs.limits import Limits
    from rota.domain.runs.option_kinds import in_words

    try:
        limits = Limits(steps=agent.max_steps).overridden_by(Limits.parse(agent.limits))
    except InvalidInputError as error:
        return f"cannot be read, so its runs fail: {error.message}"
    return in_words(limits)
