"""`rota export` and `rota apply`: what a person set up as files of a directory, for git."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rota.cli import output
from rota.cli.agents.changes import print_changes
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

if TYPE_CHECKING:
    from rota.bootstrap.app import App
    from rota.domain.ids import UserId
    from rota.services.agent_files.applying_sets import FilesApplied

group = CommandGroup()
Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The directory.")]


@group.command("export")
def export(
    common: CommonOptions,
    folder: Folder,
    prune: Annotated[
        bool,
        typer.Option("--prune", help="Also remove files of what is gone, if an export wrote them."),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Write over files that no export wrote.")
    ] = False,
) -> None:
    """Write your agents, schedules, calendars, rules and settings into a directory, as files.

    Each of your own agents has a file with its schedules. Secrets are in none. `rota apply` reads
    the directory.
    """
    from rota.services.agent_files.directories import write_directory

    made = common.as_person(lambda app, me: app.file_sets.export(me))
    written = write_directory(folder, made.files, prune=prune, force=force)
    for said in made.left_out:
        output.warn(f"Not exported: {said}.")
    if common.json:
        output.print_json({**asdict(written), "left_out": made.left_out})
        return
    for name in written.written:
        output.say_line(f"Wrote {folder / name}")
    for name in written.removed:
        output.say_line(f"Removed {folder / name}")
    for name in written.kept:
        output.say_line(f"{folder / name} is of something that is gone; --prune removes it.")
    if not written.written and not written.removed:
        output.say(f"{folder} is as it is here.")


@group.command("apply")
def apply(
    common: CommonOptions,
    folder: Folder,
    diff: Annotated[
        bool,
        typer.Option("--diff", help="Show what would change as a diff. Nothing is changed."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would change. Nothing is changed.")
    ] = False,
    prune: Annotated[
        bool,
        typer.Option(
            "--prune",
            help="Also remove what no file names: agents with their schedules, calendars and "
            "rules. What there is no file for at all stays.",
        ),
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove without asking.")] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Take a file although somebody changed the same thing here."),
    ] = False,
) -> None:
    """Change your agents, schedules, calendars, rules and settings to what a directory says.

    All of it or nothing. What you changed here since the export, while its file stayed, stays. If
    its file changed too, nothing is applied.
    """
    from rota.services.agent_files.directories import read_directory
    from rota.shown.files import files_applied_json

    files = read_directory(folder)
    is_rehearsal = diff or dry_run

    async def apply_files(app: App, me: UserId, *, is_rehearsal: bool) -> FilesApplied:
        # Whoever can open the database is the operator, whatever name `--as` gives.
        return await app.file_sets.apply(
            me, files, is_operator=True, prune=prune, force=force, is_rehearsal=is_rehearsal
        )

    if prune and not is_rehearsal:
        applied = common.as_person_between(
            lambda app, me: apply_files(app, me, is_rehearsal=True),
            lambda seen: _tell_of_removal(seen, yes=yes or common.json),
            lambda app, me, _: apply_files(app, me, is_rehearsal=False),
        )
    else:
        applied = common.as_person(lambda app, me: apply_files(app, me, is_rehearsal=is_rehearsal))
    if common.json:
        output.print_json(files_applied_json(applied, with_diffs=diff))
        return
    if diff:
        for one in applied.diffs:
            output.say_block(one.diff)
        if not applied.diffs:
            output.say(f"{folder} is as it is here.")
    else:
        print_changes(applied.changes, would=is_rehearsal)
    for passed in applied.passed_over:
        output.warn(f"Not applied: {passed.why}")


def _tell_of_removal(seen: FilesApplied, *, yes: bool) -> None:
    """Say what will be removed before it is, and ask where somebody can answer."""
    gone = [change for change in seen.changes if change.change == "removed"]
    if not gone or yes:
        return
    output.say("No file names these, so they will be removed:")
    for change in gone:
        output.say(f"  {change.kind} {change.name}")
    if output.is_conversation() and not typer.confirm("Remove them?"):
        output.say("Nothing was changed.")
        raise typer.Exit(1)
