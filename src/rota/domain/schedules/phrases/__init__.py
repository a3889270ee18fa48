"""Plain phrases such as "weekdays at 7:30": read into cron expressions, an interval or instants.

The grammar is docs/reference/phrases.md, whose table is tested. Nothing is guessed: an error quotes
words that are not understood, repeated or unclear. The clauses of a phrase may come in any order.
They are read into `Clauses`, which then become one rule.
"""

from __future__ import annotations

from datetime import datetime

from rota.domain.schedules.phrases.clauses import read_clause
from rota.domain.schedules.phrases.rules import (
    Phrase,
    begun,
    check_that_times_are_named,
    crons,
    day_fields,
    delayed,
    instants,
    stepped,
)
from rota.domain.schedules.phrases.words import Clauses, Reader, refuse, tokens

__all__ = ["Phrase", "parse_phrase"]


def parse_phrase(text: str, *, now: datetime) -> Phrase:
    """Read a plain phrase; `now` is aware, in the schedule's zone, and dates one-off phrases.

    A local time that comes twice means its first pass. Raises InvalidInputError, whose sentence
    quotes what is not understood, lies in the past or does not exist.
    """
    reader = Reader(tokens(text))
    clauses = Clauses()
    while not reader.is_done:
        read_clause(reader, clauses, now)
        if reader.accept(",") and reader.is_done:
            refuse("Something is missing after the last comma; write 'daily at 7 and 19'")
    if clauses.delay is not None:
        return delayed(clauses, clauses.delay, now)
    if clauses.start is not None:
        if clauses.step is None:
            refuse(
                "A start needs an interval; write 'every 2 weeks from 2026-12-04 at 9', or give "
                "--start"
            )
        return begun(clauses, clauses.step, clauses.start, now)
    if clauses.step is not None:
        return stepped(clauses, clauses.step)
    if clauses.window or clauses.marks:
        what = "hours such as 'from 9 to 17'" if clauses.window else "minutes such as ':15'"
        refuse(f"The {what} need a step; write 'every hour at :15' or 'hourly from 9 to 17'")
    if clauses.dates and not clauses.period:
        return Phrase(instants=instants(clauses, now))
    days = day_fields(clauses)
    check_that_times_are_named(clauses)
    return Phrase(crons=crons(clauses.times, days))
