from __future__ import annotations

import pytest

from rota.domain.errors import InvalidInputError
from rota.domain.notifications.notification import Category
from rota.services.notifications.service import NotificationService


@pytest.fixture
def service(database):
    return NotificationService(database)


async def stored(workshop):
    return await workshop.row("notifications")


async def test_notification_is_a_row(workshop, service):
    made = await service.notify_user(workshop.user, "Hello", "World", metadata={"a": 1})

    row = await stored(workshop)
    assert (row["id"], row["user_id"]) == (made, workshop.user)
    assert (row["category"], row["title"], row["body"]) == ("info", "Hello", "World")
    assert row["metadata"] == {"a": 1}
    assert row["read_at"] is None


@pytest.mark.parametrize("length", [9_999, 10_000, 10_001, 25_000])
async def test_body_is_cut_at_10000_code_points(workshop, service, length):
    await service.notify_user(workshop.user, "t", "😀" * length)

    row = await stored(workshop)
    assert len(row["body"]) == min(length, 10_000)
    assert row["metadata"] == ({"body_length": length} if length > 10_000 else {})


async def test_title_becomes_one_line_of_300(workshop, service):
    await service.notify_user(workshop.user, "a\n\tb " + "c" * 400, "")

    title = (await stored(workshop))["title"]
    assert title.startswith("a b ccc")
    assert len(title) == 300


async def test_unstorable_text_is_marked(workshop, service):
    await service.notify_user(workshop.user, "a\0b", "c\ud800", metadata={"k\0": "v\0"})

    row = await stored(workshop)
    assert (row["title"], row["body"]) == ("a\ufffdb", "c\ufffd")
    assert row["metadata"] == {"k\ufffd": "v\ufffd"}


@pytest.mark.parametrize("category", list(Category))
async def test_categories_are_the_specs(workshop, service, category):
    await service.notify_user(workshop.user, "t", "b", category=category)

    assert (await stored(workshop))["category"] == category.value


async def test_unknown_category_is_refused(workshop, service):
    with pytest.raises(ValueError, match="gossip"):
        await service.notify_user(workshop.user, "t", "b", category="gossip")


@pytest.mark.parametrize(("count", "words"), [(1, "1 action waits"), (3, "3 actions wait")])
async def test_pending_actions_are_counted_in_words(workshop, service, count, words):
    await service.notify_pending_actions(workshop.user, count, agent_name="watcher")

    row = await stored(workshop)
    assert row["category"] == "approval_needed"
    assert row["title"] == f"{words} for your approval"
    assert "watcher" in row["body"]


async def test_notification_goes_with_the_callers_transaction(workshop, service, database):
    with pytest.raises(RuntimeError):
        async with database.transaction() as conn:
            await service.notify_user(workshop.user, "t", "b", conn=conn)
            raise RuntimeError("rolled back")

    assert await workshop.rows("notifications") == []


async def test_several_that_fit_are_named_and_none_is_marked(workshop, service, owner):
    for n in (1, 2):
        await owner.execute(
            "INSERT INTO public.notifications (id, user_id, category, title, body)"
            " VALUES (%s, %s, 'info', 't', 'b')",
            (f"4a3f000{n}-0000-0000-0000-000000000000", workshop.user),
        )

    with pytest.raises(InvalidInputError, match=r"one notification \(4a3f0001, 4a3f0002\);"):
        await service.mark_read(workshop.user, ["4A3F"])
    assert len(await service.latest(workshop.user, unread_only=True)) == 2
    assert await service.mark_read(workshop.user, ["4A3F0001"]) == 1
