"""Each list: its pages hold each item once, and a cursor that is not its own is refused."""

from __future__ import annotations

import base64

from rota.api.app import PREFIX
from rota.api.description import OPERATORS
from tests import http_api
from tests.api.world import populate
from tests.services.harness import Workshop

FOREIGN = base64.urlsafe_b64encode(b'["00000000","x","y"]').decode().rstrip("=")


def lists():
    for method, path, operation in http_api.each_operation(http_api.described()):
        names = {one["name"] for one in operation.get("parameters", [])}
        if "events" in path or operation.get(OPERATORS):
            continue
        if method == "GET" and "after" in names:
            yield path.removeprefix(PREFIX)


async def walked(client, path):
    """Return the items of all pages, one by one."""
    items, after = [], {}
    while True:
        page = (await client.get(path, params={"limit": 1, **after})).json()
        items += page["items"]
        if page["next"] is None or len(items) > 100:
            return items
        after = {"after": page["next"]}


async def test_pages_hold_each_item_once_and_cursors_are_checked(client, database, owner, bob):
    me = client(bob)
    world = await populate(me, Workshop(database, owner, bob), "bob@example.com")
    faults, several = [], 0
    for path in (one.format_map(world.names) for one in lists()):
        whole = await me.get(path)
        assert whole.status_code == 200, (path, whole.text)
        once = await walked(me, path)
        several += len(once) > 1
        if [str(one) for one in once] != [str(one) for one in whole.json()["items"]]:
            faults.append(f"{path}: {len(once)} items by one, {len(whole.json()['items'])} at once")
        for cursor in ("x", "", "AAAA", FOREIGN, FOREIGN[:-3]):
            refused = await me.get(path, params={"after": cursor})
            if refused.status_code != 422:
                faults.append(f"{path}: {refused.status_code} for the cursor {cursor!r}")
    assert several > 2
    assert not faults, "\n".join(faults)
