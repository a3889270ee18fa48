"""Plain phrases such as "weekdays at 7:30": read into cron expressions, an interval or instants.

The grammar is docs/reference/phrases.md, whose table is tested. Nothing is guessed: what is left
over, said twice or unclear is an error that quotes it. A phrase is read clause by clause into
`_Said`, in any order, which then becomes one rule.
"""

from __future__ import annotations

from datetime import datetime

from rota.domain.schedules.phrases.clauses import read_clause
from rota.domain.schedules.phrases.rules import (
    Phrase,
    check_that_times_are_named,
    crons,
    day_fields,
    delayed,
    instants,
    stepped,
)
from rota.domain.schedules.phrases.words import Reader, Said, refuse, tokens

__all__ = ["Phrase", "parse_phrase"]


def parse_phrase(text: str, *, now: datetime) -> Phrase:
    """Read a plain phrase; `now` is aware, in the schedule's zone, and dates one-off phrases.

    A local time that comes twice means its first pass. Raises InvalidInputError, whose sentence
    quotes what is not understood, lies in the past or does not exist.
    """
    reader = Reader(tokens(text))
    said = Said()
    while not reader.is_done:
        read_clause(reader, said, now)
        if reader.accept(",") and reader.is_done:
            refuse("Something is missing after the last comma; write 'daily at 7 and 19'")
    if said.delay is not None:
        return delayed(said, said.delay, now)
    if said.step is not None:
        return stepped(said, said.step)
    if said.window or said.marks:
        what = "hours such as 'from 9 to 17'" if said.window else "minutes such as ':15'"
        refuse(f"The {what} need a step; write 'every hour at :15' or 'hourly from 9 to 17'")
    if said.dates and not said.period:
        return Phrase(instants=instants(said, now))
    days = day_fields(said)
    check_that_times_are_named(said)
    return Phrase(crons=crons(said.times, days))
