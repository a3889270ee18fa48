"""`rota backup` and `rota restore`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions

if TYPE_CHECKING:
    from rota.domain.operations.backups import Manifest, Restored

group = CommandGroup()


@group.command("backup", person=False)
def backup(
    common: CommonOptions,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file, of mode 0600.")],
) -> None:
    """Write all that rota keeps to a new file, but for the key; rota may go on running.

    The file is a zip archive, with the rows of one moment. On a server of your own it takes the URL
    of the role that owns the tables, as `rota migrate` does.
    """
    from rota.bootstrap import backups

    with common.server() as server:
        made = asyncio.run(backups.back_up(common.settings, server, file))
    where = backups.where_the_key_is(common.settings)
    if common.json:
        output.print_json({**_summary(made), "file": str(file), "key": where})
        return
    size = decimal(file.stat().st_size)
    output.say(f"Backed up to {file} ({size}): {_contents(made)}.")
    output.say(
        f"The key that decrypts stored secrets is not in it. Keep that too, and elsewhere: {where}"
    )


@group.command("restore", person=False)
def restore(
    common: CommonOptions,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `rota backup` wrote.")],
    replace: Annotated[
        bool, typer.Option("--replace", help="Delete what the database holds now.")
    ] = False,
    go_on: Annotated[
        bool,
        typer.Option(
            "--go-on",
            help="Let runs that were under way go on: nothing ran after the backup, as on a move.",
        ),
    ] = False,
    skip_due: Annotated[
        bool,
        typer.Option(
            "--skip-due", help="Catch up on no schedule: each fires at its next time from now."
        ),
    ] = False,
) -> None:
    """Bring a backup into an empty database, and say what was under way when it was made.

    Runs that were under way are cancelled, and their people told: what they did after the backup is
    not known. Schedules that fell due since are caught up as after an outage, by their own rules.
    rota has to be stopped.
    """
    from rota.bootstrap import backups

    with backups.open_backup(file) as opened, common.server() as server:
        restored = asyncio.run(
            backups.restore(
                common.settings,
                server,
                opened,
                replaces=replace,
                goes_on=go_on,
                skips_due=skip_due,
            )
        )
    where = backups.where_the_key_is(common.settings)
    if common.json:
        output.print_json(
            {
                **_summary(restored.manifest),
                "runs_under_way": restored.left.under_way,
                "runs_cancelled": restored.cancelled,
                "schedules_due": restored.left.due,
                "calls_to_decide": restored.left.to_decide,
                "key_opens_secrets": restored.opens,
            }
        )
        return
    for line in _told(restored, where):
        output.say(line)


def _summary(made: Manifest) -> dict[str, object]:
    return {
        "taken_at": made.taken_at,
        "rota": made.rota,
        "postgres": made.postgres,
        "key_id": made.key_id,
        "secrets": made.sealed,
        "tables": {table.name: table.rows for table in made.tables},
    }


def _contents(made: Manifest) -> str:
    counts = (
        (made.rows_of("auth.users"), "person", "people"),
        (made.rows_of("public.agent_schedules"), "schedule", "schedules"),
        (made.rows_of("public.agent_runs"), "run", "runs"),
        (made.rows_of("public.agent_execution_results"), "result", "results"),
        (made.sealed, "secret", "secrets"),
    )
    return ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts)


def _told(restored: Restored, where: str) -> list[str]:
    made, left = restored.manifest, restored.left
    when = f"{made.taken_at:%Y-%m-%d %H:%M} UTC"
    lines = [f"Restored the backup of {when}: {_contents(made)}."]
    if restored.cancelled:
        lines.append(
            f"Runs that were under way then and are cancelled: {restored.cancelled}. Their people "
            "are told; `rota runs retry RUN` repeats one."
        )
    elif left.under_way:
        lines.append(f"Runs that go on: {left.under_way}.")
    if left.due:
        lines.append(
            f"Schedules that fell due since then: {left.due}. They are caught up as after an "
            "outage, also where they ran after the backup. Restore with --skip-due to pass over "
            "them."
        )
    if left.to_decide:
        lines.append(
            f"Calls that wait for a decision: {left.to_decide}. One that was approved after the "
            "backup may be done already: look before you approve it again."
        )
    if not restored.opens:
        lines.append(
            f"Its stored secrets ({made.sealed}) cannot be decrypted without the key "
            f"{made.key_id}. Put the one that you kept to {where}, or connect the accounts again."
        )
    if made.rows_of("auth.users"):
        lines.append(
            "Commands show what belongs to one person: name them with `--as ADDRESS` or ROTA_USER."
        )
    lines.append("See that all is well with `rota doctor`, then start rota.")
    return lines
