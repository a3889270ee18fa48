"""`rota tools`: lists tools, stores the operator's declarations, and calls a tool to try it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Final

import typer

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.agents.configuration import Risk, Tier
from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError, RotaError

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.agents.declared_tools import DeclaredTool
    from rota.domain.ids import UserId
    from rota.services.agents.tools import Declared
    from rota.services.approvals.rules import Explanation
    from rota.services.approvals.tool_tests import ToolTest
    from rota.settings import Settings

group = CommandGroup()


@group.command("list", person=False)
def list_tools(common: CommonOptions) -> None:
    """List the declared tools, and the tools in ROTA_TOOLS that are not declared yet."""
    found = [tool.effective() for tool in common.as_operator(lambda app: app.tools.all())]
    undeclared = sorted(set(common.settings.tools) - {tool.name for tool in found})
    if common.json:
        from rota.shown.tools import listed_json

        output.print_json(listed_json(found, undeclared))
        return
    output.table(
        [
            *("NAME", "CHANGES THINGS", "REPEATABLE", "OUTSIDE TEXT", "REACHES OUT", "RISK"),
            *("A CALL", "SECONDS", "VERSION"),
        ],
        [
            (
                tool.name,
                "no" if tool.read_only else "yes",
                "yes" if tool.read_only or tool.idempotent else "no",
                "yes" if tool.brings_outside_text else "no",
                "yes" if tool.reaches_outside else "no",
                tool.risk,
                _a_call(tool),
                f"{tool.timeout_seconds:g}",
                tool.version,
            )
            for tool in found
        ],
        empty="No tool is declared.",
        optional=["SECONDS", "VERSION", "REPEATABLE", "OUTSIDE TEXT", "REACHES OUT"],
    )
    for name in undeclared:
        output.say(f"{name} is registered in ROTA_TOOLS, but agents cannot use it yet. Declare it.")


@group.command("declare", person=False)
def declare(
    common: CommonOptions,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name, as in ROTA_TOOLS.")],
    read_only: Annotated[
        bool | None,
        typer.Option("--read-only/--changes", help="Whether calls only read, or change something."),
    ] = None,
    idempotent: Annotated[
        bool | None,
        typer.Option(
            "--idempotent/--not-idempotent",
            help="Whether two equal calls have the same effect as one. If so, rota repeats a "
            "call after a crash.",
        ),
    ] = None,
    risk: Annotated[
        Risk | None, typer.Option("--risk", help="How much harm a wrong call can do.")
    ] = None,
    tier: Annotated[
        Tier | None,
        typer.Option("--tier", help="Whether calls run, wait for approval, or the person chooses."),
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(
            "--timeout",
            metavar="SECONDS",
            help="The longest time that a call may take, in seconds.",
        ),
    ] = None,
    outside_text: Annotated[
        bool | None,
        typer.Option(
            "--outside-text/--no-outside-text",
            help="Whether results can contain text that somebody other than the run's owner wrote.",
        ),
    ] = None,
    reaches_outside: Annotated[
        bool | None,
        typer.Option(
            "--reaches-outside/--stays-inside",
            help="Whether the model can send data to a place that it chooses. A fixed account "
            "does not count.",
        ),
    ] = None,
    description: Annotated[
        str | None,
        typer.Option(
            "--description",
            help="The description that the model reads. '' means the one in the code.",
        ),
    ] = None,
    hints: Annotated[
        str | None,
        typer.Option(
            "--hints",
            metavar="JSON",
            help='Hints of the tool, such as {"destructiveHint": true}. A hint can only add '
            "restrictions.",
        ),
    ] = None,
    pin: Annotated[
        bool | None,
        typer.Option(
            "--pin/--no-pin",
            help="Whether its calls wait for approval after its definition changes.",
        ),
    ] = None,
) -> None:
    """Declare a tool so that agents can use it, or change parts of its declaration."""
    from rota.domain.agents.declared_tools import ToolChange
    from rota.domain.agents.tool_hints import parse_hints
    from rota.domain.text.json_values import json_object

    _check_arguments(common.settings, name)
    change = ToolChange(
        description=description,
        read_only=read_only,
        idempotent=idempotent,
        risk=risk,
        default_tier=tier,
        timeout_seconds=timeout,
        brings_outside_text=outside_text,
        reaches_outside=reaches_outside,
        annotations=parse_hints(json_object(hints, "The hints", "hints")) if hints else None,
        definition_hash=_definition(common.settings, name, pin=pin),
    )

    async def work(app: App) -> tuple[Declared, int]:
        declared = await app.tools.declare(name, change)
        stopped = 0
        if declared.change == "updated":
            stopped = await app.rules.count_stopped(name, declared.tool.version)
        return declared, stopped

    declared, stopped = common.as_operator(work)
    if stopped:
        rules, have, them = ("rules", "have", "them") if stopped > 1 else ("rule", "has", "it")
        output.warn(
            f"{stopped} {rules} made by --always no longer {have} an effect, because the "
            f"declaration of {name} changed. `rota approvals policy list` marks {them} as stale."
        )
    if declared.change == "created":
        _warn_of_unknown(common.settings, name)
    tool = declared.tool.effective()
    if common.json:
        from rota.shown.tools import declared_json

        output.print_json(declared_json(tool) | {"change": declared.change})
        return
    output.say(
        f"{tool.name}: {declared.change}, version {tool.version}. It "
        f"{'only reads' if tool.read_only else 'changes things'}; a call {_a_call(tool)}."
    )
    if tool.is_active and tool.default_tier == "auto" and tool.reaches_outside:
        output.say(_AFTER_READING)
    if hints:
        output.say(f"Its hints {_tightened_in_words(declared.tool, tool)}.")
    if pin is not None:
        output.say(_PINNED if pin else _UNPINNED)
    elif declared.tool.definition_hash:
        output.say(_STILL_PINNED)


@group.command("forget", person=False)
def forget(
    common: CommonOptions,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")],
) -> None:
    """Take the declaration of a tool away. This is refused while an agent uses the tool.

    Afterwards agents cannot use the tool. What was logged and asked of it stays.
    """
    from rota.shown.tools import declared_json

    gone = common.as_operator(lambda app: app.tools.forget(name))
    output.print_done(f"{gone.name}: forgotten.", declared_json(gone), as_json=common.json)


def _warn_of_unknown(settings: Settings, name: str) -> None:
    """Say of a new declaration that no tool of this name is known here: it may be a typo."""
    from difflib import get_close_matches

    from rota.agents.tools.builtin import builtin_facts

    known = {*builtin_facts(), *settings.tools}
    near = get_close_matches(name, known, n=1, cutoff=0.75)
    if name in known or not (near or settings.tools):
        return
    did_you = f" Did you mean {near[0]}?" if near else ""
    output.warn(
        f"Warning: {settings.name_of('ROTA_TOOLS')} has no tool {name}.{did_you} "
        f"`rota tools forget {name}` takes the declaration away."
    )


_AFTER_READING: Final = (
    "In a run that has read text from outside it waits for approval. If the model does not choose "
    "where data goes, declare it with --stays-inside."
)
_PINNED: Final = (
    "It is pinned to its definition as it is now. When its name, description, schema or hints "
    "change, its calls wait for approval until you declare it with --pin again."
)
_STILL_PINNED: Final = (
    "It stays pinned to its definition of before. --pin pins it to the one as it is now."
)
_UNPINNED: Final = "It is not pinned. Its calls go on as declared when its definition changes."


def _tightened_in_words(declared: DeclaredTool, tool: DeclaredTool) -> str:
    """Say what hints add to a declaration."""
    said = [
        words
        for is_stricter, words in (
            (declared.read_only and not tool.read_only, "it counts as changing things"),
            (declared.idempotent and not tool.idempotent, "rota does not repeat its calls"),
            (declared.risk != tool.risk, f"its risk is {tool.risk}"),
            (declared.default_tier != tool.default_tier, f"a call {_a_call(tool)}"),
            (declared.reaches_outside != tool.reaches_outside, "it counts as reaching outside"),
        )
        if is_stricter
    ]
    if not said:
        return "add no restriction to what is declared"
    return f"add restrictions: {'; '.join(said)}"


@group.command("test")
def try_tool(
    common: CommonOptions,
    name: Annotated[str, typer.Argument(metavar="TOOL", help="The tool's name.")],
    arguments: Annotated[
        str, typer.Argument(metavar="ARGUMENTS", help="The arguments of the call, as JSON.")
    ] = "{}",
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="AGENT", help="Make the call as this agent.")
    ] = None,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="Do not ask, even if the call changes something or needs approval."
        ),
    ] = False,
) -> None:
    """Call one tool yourself, under the rules that hold for agents, and show its answer.

    First it says what would happen with the call in a run. What would wait, or changes something,
    is asked about; what a rule denies is not called. It is a real call, with your accounts, from
    this terminal's ROTA_TOOLS, and it is in the audit log.
    """
    from rota.bootstrap.background import OperatorsCode, load_code, tool_tests
    from rota.domain.text.json_values import json_object

    given = json_object(arguments, "The arguments", "arguments")
    is_approved = yes
    code: OperatorsCode

    async def look(app: App, me: UserId) -> Explanation:
        check_registered(common.settings, name)
        return await app.rules.explain(me, name, given, agent_name=agent, unattended=False)

    def ask(explained: Explanation) -> None:
        nonlocal is_approved, code
        is_approved = _is_wanted(common, name, explained, yes=yes)
        code = load_code(common.settings)

    async def work(app: App, me: UserId, _: Explanation) -> ToolTest:
        async with tool_tests(app, code) as tests:
            return await tests.call(
                me,
                name,
                given,
                agent_name=agent,
                is_approved=is_approved,
                is_operator=True,  # whoever can open the database
                via="cli",
            )

    tested = common.as_person_between(look, ask, work)
    if common.json:
        output.print_json(tested)
    else:
        style = "bold green" if tested.outcome == "succeeded" else "bold red"
        output.say(f"{_OUTCOMES[tested.outcome]} after {tested.seconds:.2f} s.", style=style)
        for left_out in tested.left_out:
            output.say_line(
                f"{name} has no argument {left_out}, so it was not passed.", style="yellow"
            )
        output.say_block(tested.answer)
    if tested.outcome != "succeeded":
        is_stopped = tested.outcome == "not_run"
        raise typer.Exit(ConflictError.exit_code if is_stopped else RotaError.exit_code)


_OUTCOMES: Final = {
    "succeeded": "It succeeded",
    "failed": "It failed",
    "not_run": "It did not run",
    "unknown": "It may have taken effect",
}


def _is_wanted(common: CommonOptions, name: str, explained: Explanation, *, yes: bool) -> bool:
    """Say what becomes of a call, and return whether a person said yes to it.

    Raises Exit for one that is not to be called.
    """
    verdict = explained.verdict
    in_a_run = {
        "allowed": f"In a run, this call needs no approval: {verdict.reason}.",
        "held": f"In a run, this call waits for approval: {verdict.reason}.",
        "refused": f"This call is refused and was not made: {verdict.reason}.",
    }[verdict.decision]
    is_asked = verdict.decision == "held" or not explained.read_only
    effect = "It only reads." if explained.read_only else f"{name} may change things."
    if verdict.decision == "refused":
        raise ConflictError(in_a_run)
    if is_asked and not yes and (common.json or not output.is_conversation()):
        raise InvalidInputError(f"{in_a_run} {effect} Use --yes to call it.", field="yes")
    if not common.json:
        output.say_line(f"{in_a_run} {effect}")
    if yes or not is_asked:
        return yes
    if not typer.confirm("Call it now?"):
        output.say("Nothing was called.")
        raise typer.Exit(1)
    return True


def check_registered(settings: Settings, name: str) -> None:
    """Raise NotFoundError for a tool that this terminal does not have."""
    from difflib import get_close_matches

    from rota.agents.tools.builtin import builtin_facts

    known = sorted({*builtin_facts(), *settings.tools})
    if name not in known:
        near = get_close_matches(name, known, n=1)
        hint = f"Did you mean {near[0]}?" if near else f"There are {', '.join(known)}."
        raise NotFoundError("tool", name, hint=f"{hint} Tools of your own are named in ROTA_TOOLS.")


def _check_arguments(settings: Settings, name: str) -> None:
    """Raise InvalidInputError for a tool that no run could have; a warning where nobody can say."""
    from rota.bootstrap.background import tool_problem

    if name not in settings.tools:
        return
    only = replace(settings, tools={name: settings.tools[name]})
    try:
        problem = tool_problem(only, name)
    except RotaError as error:
        output.warn(f"{name} could not be looked at: {error.message}")
        return
    if problem is not None:
        raise InvalidInputError(f"{problem}.", field="name")


def _definition(settings: Settings, name: str, *, pin: bool | None) -> str | None:
    """Return the hash that a tool is pinned to, '' to unpin it, None to leave it as it is."""
    from rota.bootstrap.background import tool_definition

    if pin is None:
        return None
    return tool_definition(settings, name) if pin else ""


def _a_call(tool: DeclaredTool) -> str:
    if not tool.is_active:
        return "is not possible: the tool is off"
    sentences: dict[Tier, str] = {
        "auto": "runs",
        "requires_approval": "waits for approval",
        "user_configurable": "waits for approval, unless its owner allows it",
    }
    return sentences[tool.default_tier]
