"""Calendars over HTTP: days on which schedules do not fire."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import APIRouter, Body, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer, etag_of, require_match, require_match_to_put
from rota.api.callers import Manager, Reader, Services
from rota.api.pages import Page, page_of
from rota.api.problems import ApiError, responses
from rota.bootstrap.app import App
from rota.domain.errors import InvalidInputError
from rota.domain.ids import UserId
from rota.domain.schedules.calendars import Calendar, CalendarDay, parse_days
from rota.shown.calendars import calendar_json
from rota.shown.schedule_models import CalendarDetailModel, CalendarModel

router = APIRouter(prefix="/calendars", tags=["calendars"], route_class=StrictRoute)

MOST_DAYS: Final = 5_000
"""Entries of one request, as many as of one file."""

_DAY: Final = r"^\d{4}-\d{2}-\d{2}$"
_DAYS: Final[dict[str, Any]] = {
    "days": {
        "value": {
            "days": [
                {"first": "2026-12-24", "last": "2027-01-01", "summary": "Holidays"},
                {"first": "2027-05-01"},
            ]
        }
    }
}
_EDITS: Final = responses(412, 428)
_PUT: Final[dict[int | str, dict[str, Any]]] = {
    201: {"model": CalendarDetailModel, "description": "It was made."},
    **_EDITS,
}
_ICALENDAR: Final = "text/calendar"

Name = Annotated[
    str, Path(max_length=100, description="The calendar's name.", examples=["holidays"])
]


class DayAsked(BaseModel):
    """One or more days off in a row."""

    model_config = ConfigDict(extra="forbid", strict=True)

    first: str = Field(pattern=_DAY, description="The first day: `2026-12-24`.")
    last: str | None = Field(None, pattern=_DAY, description="The last day. Left out: the first.")
    summary: str = Field("", max_length=2_000, description="What they are called.")

    def day(self, index: int) -> CalendarDay:
        """Return it as a value; raises InvalidInputError."""
        try:
            (read,) = parse_days(f"{self.first}..{self.last or self.first}")
        except InvalidInputError as error:
            raise InvalidInputError(error.message, field=f"days.{index}") from error
        return CalendarDay(read.first, read.last, self.summary)


class DaysAsked(BaseModel):
    """Days off."""

    model_config = ConfigDict(extra="forbid", strict=True)

    days: list[DayAsked] = Field(max_length=MOST_DAYS)

    def read(self) -> list[CalendarDay]:
        """Return them as values; raises InvalidInputError."""
        return [day.day(index) for index, day in enumerate(self.days)]


Days = Annotated[DaysAsked, Body(openapi_examples=_DAYS)]


@router.get("", response_model=page_of(CalendarModel, "CalendarPage"))
async def list_calendars(me: Reader, app: Services, page: Page) -> Response:
    """List your calendars by name, and the next day off of each; `days` counts the entries."""
    after = page.keys(str)
    found, count = await app.calendars.page(
        me.user_id,
        after=None if after is None else after[0],
        limit=page.fetched,
        counted=page.wants_count,
    )
    return answer(page.page(found, lambda one: (one.name,), count=count))


@router.get("/{calendar}", response_model=CalendarDetailModel)
async def get_calendar(me: Reader, app: Services, calendar: Name) -> Response:
    """Return a calendar and its days off."""
    return await _shown(app, me.user_id, calendar)


@router.put("/{calendar}", response_model=CalendarDetailModel, responses=_PUT)
async def put_calendar(
    request: Request, me: Manager, app: Services, calendar: Name, body: Days
) -> Response:
    """Make a calendar with these days off, or replace the days of the one that is there."""
    found = await app.calendars.find(me.user_id, calendar)
    require_match_to_put(request, _etag(found))
    await app.calendars.put(me.user_id, calendar, body.read(), seen=found and found[1])
    return await _shown(app, me.user_id, calendar, 201 if found is None else 200)


@router.put(
    "/{calendar}/icalendar",
    response_model=CalendarDetailModel,
    responses={**_PUT, **responses(415)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_ICALENDAR: {"schema": {"type": "string"}, "example": "BEGIN:VCALENDAR"}},
        }
    },
)
async def import_calendar(
    request: Request,
    me: Manager,
    app: Services,
    calendar: Name,
    source: Annotated[
        str, Query(max_length=200, description="Where the text is from, for people.")
    ] = "",
) -> Response:
    """Make the all-day events of an iCalendar text the days off of a calendar.

    The body is the text, of type `text/calendar`. To import again whatever is there, send
    `If-Match: *`.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _ICALENDAR:
        raise ApiError(415, "unsupported-media-type", f"Send the text as `{_ICALENDAR}`.")
    found = await app.calendars.find(me.user_id, calendar)
    require_match_to_put(request, _etag(found))
    await app.calendars.import_file(
        me.user_id, calendar, await request.body(), source, seen=found and found[1]
    )
    return await _shown(app, me.user_id, calendar, 201 if found is None else 200)


@router.delete("/{calendar}", status_code=204, response_model=None, responses=_EDITS)
async def delete_calendar(request: Request, me: Manager, app: Services, calendar: Name) -> Response:
    """Remove a calendar. This is refused while a schedule uses it."""
    found = await app.calendars.get(me.user_id, calendar)
    require_match(request, _etag(found))
    await app.calendars.remove(me.user_id, calendar, seen=found[1])
    return Response(status_code=204)


@router.post("/{calendar}/days", response_model=CalendarDetailModel)
async def add_days_off(me: Manager, app: Services, calendar: Name, body: Days) -> Response:
    """Add days off to a calendar. It is made if it does not exist."""
    await app.calendars.add_days(me.user_id, calendar, body.read())
    return await _shown(app, me.user_id, calendar)


@router.delete("/{calendar}/days/{day}", status_code=204, response_model=None)
async def delete_day_off(
    me: Manager,
    app: Services,
    calendar: Name,
    day: Annotated[
        str,
        Path(
            max_length=100,
            description="One day, or the first and the last of an entry.",
            examples=["2026-12-24..2027-01-01"],
        ),
    ],
) -> Response:
    """Remove an entry of a calendar: just these days."""
    first, _, last = day.partition("..")
    entry = DayAsked.model_construct(first=first, last=last or None, summary="").day(0)
    await app.calendars.remove_day(me.user_id, calendar, entry)
    return Response(status_code=204)


def _etag(found: tuple[Calendar, Sequence[CalendarDay]] | None) -> Any:
    return None if found is None else etag_of((found[0].name, found[1]))


async def _shown(app: App, me: UserId, name: str, status: int = 200) -> Response:
    found = await app.calendars.get(me, name)
    return answer(calendar_json(*found), status, etag=_etag(found))
