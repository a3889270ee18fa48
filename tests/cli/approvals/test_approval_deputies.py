"""Deputies from the command line: the operator names them, and they see whose a request is."""

from __future__ import annotations

import re

import pytest

from rota.domain.errors import ConflictError, InvalidInputError, NotFoundError
from tests.cli.approving import ids, terminal_of_alice
from tests.services.deciding import desk_of, send
from tests.services.harness import Workshop


@pytest.fixture
async def desk(database, owner, alice):
    workshop = Workshop(database, owner, alice)
    await workshop.declare_tools()
    return desk_of(workshop)


@pytest.fixture
def rota(database_url, monkeypatch):
    return terminal_of_alice(database_url, monkeypatch)


def rows(said):
    """The lines below the head of a table, as words."""
    return [line.split() for line in said.splitlines()[1:]]


@pytest.fixture
def as_bob(rota, bob):
    """What Bob says at his own terminal."""

    async def run(*arguments, **options):
        return await rota(*arguments, "--as", "bob@example.com", **options)

    return run


@pytest.fixture
def operator(rota, monkeypatch):
    """The operator's terminal: nobody is named to act as."""

    async def run(*arguments):
        with monkeypatch.context() as context:
            context.delenv("ROTA_USER")
            return await rota("deputies", *arguments)

    return run


async def test_operator_names_lists_and_removes_deputies(rota, operator, alice, bob):
    assert await operator("list") == "There are no deputies.\n"

    said = await operator("add", "alice@example.com", "bob@example.com")
    assert said == (
        "bob@example.com may decide on requests that alice@example.com does not decide in time.\n"
    )
    assert rows(await operator("list")) == [["alice@example.com", "bob@example.com"]]
    (listed,) = await operator("list", "--json")
    assert (listed["user_id"], listed["deputy_id"]) == (str(alice), str(bob))

    said = await operator("remove", "alice@example.com", str(bob))
    assert said == f"{bob} no longer decides for alice@example.com.\n"
    assert await operator("list", "--json") == []
    with pytest.raises(NotFoundError):
        await operator("remove", "alice@example.com", "bob@example.com")


@pytest.mark.parametrize(
    ("deputy", "error"),
    [("nobody@example.com", NotFoundError), ("alice@example.com", InvalidInputError)],
)
async def test_who_cannot_be_a_deputy_is_none(rota, operator, alice, deputy, error):
    with pytest.raises(error):
        await operator("add", "alice@example.com", deputy)
    assert await operator("list", "--json") == []


async def test_what_is_passed_on_to_nobody_does_not_say_so(desk, rota, operator):
    await desk.run(send("carl"), options={"approvals_remind": 3600})
    await desk.workshop.owner.execute("UPDATE pending_actions SET remind_at = now()")
    await desk.times.look()
    (reference,) = ids(await desk.actions())
    assert (await desk.action())["escalated_at"] is not None
    assert "Passed on" not in await rota("show", reference)


async def test_deputy_sees_whose_a_request_is_and_decides(desk, rota, as_bob, operator):
    await operator("add", "alice@example.com", "bob@example.com")
    await desk.run(send("carl"), options={"approvals_remind": 3600})
    (reference,) = ids(await desk.actions())
    assert await as_bob("list") == "Nothing waits for your approval.\n"
    with pytest.raises(NotFoundError):
        await as_bob("show", reference)
    await desk.workshop.owner.execute("UPDATE pending_actions SET remind_at = now()")
    await desk.times.look()

    for options in ([], ["--grouped"]):
        head, line = (await as_bob("list", *options)).splitlines()
        assert "WHOSE" in head
        assert "alice@example.com" in line
        assert "WHOSE" not in await rota("list", *options)
    shown = await as_bob("show", reference)
    assert "Whose         alice@example.com\n" in shown
    assert re.search(r"^Passed on     .* to you$", shown, re.MULTILINE)
    assert re.search(
        r"^Passed on     .* to bob@example\.com$", await rota("show", reference), re.MULTILINE
    )
    assert "Whose" not in await rota("show", reference)
    assert (await as_bob("show", reference, "--json"))["whose"] == "alice@example.com"

    said = await as_bob("approve", reference, "--version", "1", "--yes")
    assert said == f"{reference} send: approved\n"
    await desk.work()

    assert desk.sent == ["carl"]
    assert ", by you as a deputy" in await as_bob("show", reference)
    assert ", by bob@example.com as a deputy, from cli\n" in await rota("show", reference)
    with pytest.raises(ConflictError, match="Only its owner"):
        await as_bob("settle", reference, "again")
