"""Notifications over HTTP: what a person was told, and what they have read of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Body, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from rota.api.answers import StrictRoute, answer
from rota.api.callers import Manager, Reader, Services
from rota.api.pages import LARGEST_PAGE, Page, page_of
from rota.domain.errors import InvalidInputError
from rota.domain.notifications.notification import Category, Notification
from rota.shown.models import Shown, model_of

router = APIRouter(prefix="/notifications", tags=["notifications"], route_class=StrictRoute)

NotificationShown = model_of(Notification)


class ToMark(BaseModel):
    """Which notifications are to be marked: those with these ids, or all."""

    model_config = ConfigDict(extra="forbid", strict=True)

    ids: list[str] | None = Field(
        None,
        min_length=1,
        max_length=LARGEST_PAGE,
        description="Ids of notifications, or the beginnings of the ids.",
    )
    all: bool = Field(False, description="All that you have.")


class Marked(Shown):
    """How many were unread, and are read now."""

    marked: int


@router.get("", response_model=page_of(NotificationShown, "NotificationPage"))
async def list_notifications(
    me: Reader,
    app: Services,
    page: Page,
    category: Annotated[
        Category | None, Query(description="Only of this category.", examples=["approval_needed"])
    ] = None,
    unread: Annotated[bool, Query(description="Only unread ones.")] = False,
) -> Response:
    """List your notifications, the newest first."""
    found = await app.notifications.latest(
        me.user_id,
        unread_only=unread,
        category=category,
        after=page.keys(datetime, UUID),
        limit=page.fetched,
    )
    count = None
    if page.wants_count:
        count = await app.notifications.count(me.user_id, unread_only=unread, category=category)
    return answer(page.page(found, lambda one: (one.created_at, one.id), count=count))


@router.post("/read", response_model=Marked)
async def mark_notifications_read(
    me: Manager,
    app: Services,
    body: Annotated[
        ToMark,
        Body(
            openapi_examples={
                "one": {"value": {"ids": ["3f2a61c4"]}},
                "all": {"value": {"all": True}},
            }
        ),
    ],
) -> Response:
    """Mark notifications as read: all of them, or none if one is not there."""
    if (body.ids is not None) is body.all:
        raise InvalidInputError("Give the ids of the notifications to mark, or all.", field="ids")
    return answer({"marked": await app.notifications.mark_read(me.user_id, body.ids)})


@router.get("/{notification}", response_model=NotificationShown)
async def get_notification(
    me: Reader,
    app: Services,
    notification: Annotated[
        str,
        Path(
            description="The notification's id, or the beginning of it.",
            max_length=100,
            examples=["3f2a61c4-90d1-4a57-b1f0-5e2c8d7a9b13"],
        ),
    ],
) -> Response:
    """Return a notification in full. It stays unread."""
    return answer(await app.notifications.get(me.user_id, notification))
