"""Writes the agent files of `rota agents new`, for what a person has connected.

The texts are the templates in `ready/`. Their delimiters are `<<` and `<%`, because the scripts in
them are templates too. Nothing is stored: the file is the person's to change and to apply.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.resources import files
from typing import Final

from rota.domain.agents.connections import KINDS, ConnectionInfo, Gives
from rota.domain.agents.mail_accounts import SENDING
from rota.domain.errors import InvalidInputError
from rota.domain.schedules.rules.cron import CronSchedule
from rota.domain.text.cleaning import clean_line
from rota.domain.text.shortening import quoted
from rota.services.agent_files.reading import parse_agent_file

PROMPTS: Final = {
    "briefing": "Prepare today's briefing.",
    "inbox-triage": "Sort the new mail.",
    "calendar-day": "What does today hold?",
}
"""The kinds of agent that can be written, and what their schedules ask."""

_TIME: Final = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DAYS: Final = re.compile(r"[A-Za-z0-9,*#/-]+")
_NO_DAY: Final = (
    "day of the week. Write --days as mon-fri or mon,thu; the days are mon, tue, wed, thu, fri, "
    "sat and sun"
)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NO_KEY: Final = (
    "No provider's key is set here, so this follows a script, which costs nothing. For a model",
    "write a key into ~/.config/rota/.env (ANTHROPIC_API_KEY=...), and make this file anew:",
)


@dataclass(frozen=True, slots=True)
class ReadyAgent:
    """What is to be written.

    `model` is None for a script, called `script`. `why_script` says in lines why it is one, and
    `suggested` is named as a model.
    """

    kind: str
    name: str
    zone: str
    file: str
    at: str = "7:00"
    days: str = "mon-fri"
    model: str | None = None
    script: str = ""
    why_script: tuple[str, ...] = ()
    suggested: str = "PROVIDER:MODEL"


def write_ready_agent(
    wanted: ReadyAgent, connected: Sequence[ConnectionInfo], *, now: datetime
) -> str:
    """Return an agent file, which `apply` takes as it is; raises InvalidInputError.

    `connected` are the person's connections. Where there is nothing to read from, the file says how
    to connect it.
    """
    from jinja2 import Environment, FunctionLoader, StrictUndefined  # noqa: PLC0415  takes long

    if wanted.kind not in PROMPTS:
        raise InvalidInputError(
            f"There is no ready agent {quoted(wanted.kind, 40)}; there are {', '.join(PROMPTS)}.",
            field="kind",
        )
    for value, form, field, said in (
        (wanted.name, _NAME, "name", "name: small letters, digits, - and _"),
        (wanted.at, _TIME, "at", "time of a day. Write it as 7:00 or 16:30"),
        (wanted.days, _DAYS, "days", _NO_DAY),
    ):
        if not form.fullmatch(value):
            raise InvalidInputError(f"{quoted(value, 40)} is no {said}.", field=field)
    hour, _, minute = wanted.at.partition(":")
    try:
        CronSchedule.parse(f"{int(minute)} {int(hour)} * * {wanted.days}")
    except InvalidInputError as error:
        said = f"{quoted(wanted.days, 40)} is no {_NO_DAY}."
        raise InvalidInputError(said, field="days") from error
    folder = files("rota.services.agent_files") / "ready"
    environment = Environment(  # noqa: S701  it writes YAML, and what is inserted is quoted
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<<",
        variable_end_string=">>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=StrictUndefined,
        loader=FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
    )
    mailboxes = _giving(connected, Gives.MAIL)
    calendars = _giving(connected, Gives.CALENDAR)
    senders = [one for one in mailboxes if _can_send(one)]
    text = environment.get_template(f"{wanted.kind}.yaml").render(
        kind=wanted.kind,
        name=wanted.name,
        title=wanted.name,
        file=shlex.quote(clean_line(wanted.file)),
        zone=_scalar(wanted.zone),
        hour=int(hour),
        minute=int(minute),
        days=wanted.days,
        model=None if wanted.model is None else _scalar(wanted.model),
        script=_scalar(wanted.script or f"scripted:{wanted.kind}"),
        why_script=wanted.why_script or _NO_KEY,
        suggested=wanted.suggested,
        prompt=PROMPTS[wanted.kind],
        mailboxes=mailboxes,
        calendars=calendars,
        senders=senders,
        sender_lines=_sender_lines(senders, mailboxes),
        mailbox_names=[one.name for one in mailboxes],
        mailbox_lines=_mailbox_lines(mailboxes),
        situation=_situation(wanted, mailboxes, calendars),
    )
    text = f"{text.rstrip()}\n"
    # What a person gave is in it: its faults are told before the file is written.
    parse_agent_file(text, source=wanted.file, now=now)
    return text


def _giving(connected: Sequence[ConnectionInfo], gives: Gives) -> list[ConnectionInfo]:
    return [one for one in connected if one.is_active and KINDS[one.kind].gives is gives]


def _situation(
    wanted: ReadyAgent, mailboxes: Sequence[ConnectionInfo], calendars: Sequence[ConnectionInfo]
) -> list[str]:
    """Say what the agent reads, and how to connect what it could."""
    said = []
    if wanted.kind != "calendar-day":
        said += (
            [f"Mail:      {_named(mailboxes)}"]
            if mailboxes
            else [
                "Mail:      the mail folder on disk (rota up --mail PATH). To connect a mailbox:",
                "             rota connections add imap --account you@example.com",
                "           Then make this file anew.",
            ]
        )
    if wanted.kind != "inbox-triage":
        said += (
            [f"Calendars: {_named(calendars)}"]
            if calendars
            else [
                "Calendars: none yet"
                + (", and until then its runs fail." if wanted.kind == "calendar-day" else "."),
                "           To connect one (docs/howto/calendar.md):",
                "             rota connections add ics",
                "             rota connections add caldav --account you@example.com",
                *(["           Then make this file anew."] if wanted.kind == "briefing" else []),
            ]
        )
    return said


def _named(connections: Sequence[ConnectionInfo]) -> str:
    return ", ".join(
        f"{one.name} ({clean_line(one.account)})" if one.account else one.name
        for one in connections
    )


def _mailbox_lines(mailboxes: Sequence[ConnectionInfo]) -> list[str]:
    """Tell the model which mailboxes there are, where it has to choose."""
    if len(mailboxes) < 2:
        return []
    return [f"Read each of these mailboxes, by its name as `mailbox`: {_named(mailboxes)}."]


def _sender_lines(
    senders: Sequence[ConnectionInfo], mailboxes: Sequence[ConnectionInfo]
) -> list[str]:
    """Tell the model which mailboxes can send, where not all can."""
    if len(senders) == len(mailboxes):
        return []
    return [f"Only from these you can answer: {_named(senders)}."]


def _can_send(mailbox: ConnectionInfo) -> bool:
    """Tell whether mail can be sent from a mailbox; of one without scopes nothing is known."""
    from rota.agents.tools.oauth.providers import SCOPES  # noqa: PLC0415  takes long

    needed = SCOPES[mailbox.kind].acting if mailbox.kind in SCOPES else (SENDING,)
    granted = {scope.lower() for scope in mailbox.scopes}
    return not granted or granted >= {scope.lower() for scope in needed}


def _scalar(text: str) -> str:
    """Return a text as YAML has it: plain where that is safe, else quoted."""
    return (
        text if re.fullmatch(r"[A-Za-z][A-Za-z0-9_/.+:-]*[A-Za-z0-9]", text) else json.dumps(text)
    )
