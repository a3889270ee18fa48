"""`rota status`: shows what happened today, what failed, what waits, and what comes next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Final

from rota.cli import output
from rota.cli.groups import CommandGroup
from rota.cli.options import CommonOptions
from rota.domain.runs.option_kinds import counted, money

if TYPE_CHECKING:
    from rota.domain.operations.processes import Kind
    from rota.domain.operations.status import Status, Today

group = CommandGroup()
_WITHOUT: Final[Mapping[Kind, str]] = {
    "scheduler": "nothing fires",
    "worker": "scheduled runs wait (`rota run` and `rota schedules run` execute theirs)",
}


@group.command("status")
def status(common: CommonOptions) -> None:
    """Show what happened today, what failed, what waits, what comes next, and who works.

    Today begins at midnight in your time zone. `rota doctor` checks the installation.
    """
    found = common.as_person(lambda app, me: app.status.get(me))
    if common.json:
        from rota.shown.system import status_json

        output.print_json(status_json(found, for_operator=True))
        return
    for name, said, style in _lines(found):
        output.say_field(name, said) if style is None else output.say(
            f"{name:13} {said}", style=style
        )


def _lines(found: Status) -> Iterator[tuple[str, str, str | None]]:
    """Yield what is said, each line with its label, and how it is coloured."""
    zone = found.time_zone
    for kind, does in _WITHOUT.items():
        said = _alive(found, kind)
        if said:
            yield kind.capitalize(), said, None
        else:
            start = f"none is running, {does}: start `rota up` or `rota {kind}`"
            yield kind.capitalize(), start, "yellow"
    if said := _alive(found, "server"):
        urls = dict.fromkeys(p.url for p in found.processes if p.kind == "server" and p.url)
        yield "Server", " ".join([said, *urls]), None
    else:
        yield "Server", "not running (`rota up` or `rota serve` starts one)", None
    if found.pause is not None:
        from rota.cli.schedules.texts import pause_in_words

        yield "Paused", f"{pause_in_words(found.pause, zone)} (`rota resume`)", None
    yield "Today", _today(found.today), None
    for index, failed in enumerate(found.failures):
        run = str(failed.run_id)[:8]
        at = f"{output.local(failed.ended_at, zone):%H:%M}"
        what = output.first_line(failed.message)
        said = f"{at} {failed.schedule or failed.agent}: {what} (`rota runs show {run}`)"
        yield "" if index else "Failed", said, None
    yield from _waits(found)
    for index, paused in enumerate(found.paused_schedules):
        note = f": {paused.note}" if paused.note else ""
        yield "" if index else "At rest", f"{paused.schedule} is paused{note}", None
    if found.overdue:
        yield "Overdue", f"{', '.join(found.overdue)} (`rota schedules why`)", "yellow"
    for index, fire in enumerate(found.next_fires):
        far = output.from_now(fire.at, found.now)
        said = f"{output.local(fire.at, zone):%Y-%m-%d %H:%M}, {far}: {fire.schedule}"
        yield "" if index else "Next", said, None
    if not found.next_fires:
        yield "Next", "nothing fires (`rota schedules list`)", None
    yield "Times", f"in {zone}", None


def _alive(found: Status, kind: Kind) -> str:
    """Say which processes of a kind are alive, nothing where none is."""
    named = [
        f"{p.host}:{p.pid}, last seen {p.silent_for:.0f} s ago"
        for p in found.processes
        if p.kind == kind
    ]
    return f"alive ({'; '.join(named)})" if named else ""


def _today(today: Today) -> str:
    runs = today.succeeded + today.partial + today.failed + today.cancelled
    parts = [
        f"{count:,} {what}"
        for count, what in (
            (today.succeeded, "succeeded"),
            (today.partial, "partial"),
            (today.failed, "failed"),
            (today.cancelled, "cancelled"),
        )
        if count
    ]
    said = [f"{counted(runs, 'run')}: {', '.join(parts)}" if runs else "no run has ended"]
    if today.skipped_fires:
        said.append(f"{counted(today.skipped_fires, 'fire')} skipped")
    if today.missed_fires:
        said.append(f"{counted(today.missed_fires, 'fire')} missed")
    if today.tokens:
        said.append(f"{counted(today.tokens, 'token')}, {money(today.cost_usd)}")
    return "; ".join(said)


def _waits(found: Status) -> Iterator[tuple[str, str, str | None]]:
    """Yield what waits: runs for their turn, calls for a person, notifications to be read."""
    waiting = found.waiting
    runs = [
        f"{count:,} {what}"
        for count, what in (
            (waiting.runs_running, "running"),
            (waiting.runs_queued, "queued"),
            (waiting.runs_waiting, "waiting for their turn or time"),
            (waiting.runs_parked, "suspended until you decide"),
        )
        if count
    ]
    if runs:
        yield "Runs", ", ".join(runs), None
    said: list[tuple[str, str | None]] = []
    if count := waiting.calls_to_decide:
        what = f"{counted(count, 'call')} for your approval"
        if waiting.next_expiry is not None:
            first = "it expires" if count == 1 else "the first expires"
            what = f"{what}, {first} {output.from_now(waiting.next_expiry, found.now)}"
        said.append((f"{what} (`rota approvals list`)", "yellow"))
    if count := waiting.calls_to_settle:
        what = f"{counted(count, 'call')} of unknown outcome"
        said.append((f"{what} (`rota approvals list --status unknown`)", "yellow"))
    if count := waiting.unread_notifications:
        what = counted(count, "unread notification")
        said.append((f"{what} (`rota notifications list --unread`)", None))
    for index, (line, style) in enumerate(said):
        yield "" if index else "Waits", line, style
