"""Each error of rota has its status, and says over HTTP what the command line says."""

from __future__ import annotations

import asyncio
import importlib
import json
import pkgutil

import pytest
from typer.testing import CliRunner

from rota.api.app import COMMON
from rota.api.problems import DESCRIPTIONS, STATUS_OF, kind_of, problem_of, status_of
from rota.cli.main import app
from rota.domain.errors import (
    ConflictError,
    InvalidInputError,
    NotFoundError,
    RotaError,
    SetupRequiredError,
    StatementError,
    UnavailableError,
)

FLOORS = ("domain", "store", "services", "engine", "security", "bootstrap")
"""What a request may run into; errors of agents end in the runs of workers."""


class FakeRequest:
    method = "POST"


def each_error():
    for floor in FLOORS:
        package = importlib.import_module(f"rota.{floor}")
        for found in pkgutil.walk_packages(package.__path__, f"rota.{floor}."):
            importlib.import_module(found.name)
    waiting, seen = [RotaError], set()
    while waiting:
        kind = waiting.pop()
        if kind.__module__.split(".")[1] in FLOORS:
            seen.add(kind)
        waiting += kind.__subclasses__()
    return sorted(seen, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", each_error(), ids=lambda kind: kind.__name__)
def test_each_error_has_a_status_that_somebody_chose(kind):
    bases = [base for base in kind.__mro__ if base in STATUS_OF]
    assert bases[0] is not RotaError or kind is RotaError, "add it to STATUS_OF"
    assert kind_of(kind.__new__(kind)).replace("-", "").isalpha()


def test_each_status_is_described_and_may_be_answered():
    assert set(STATUS_OF.values()) - {412, 500} <= set(COMMON)
    assert set(STATUS_OF.values()) - {500} <= set(DESCRIPTIONS)


@pytest.mark.parametrize(
    ("error", "status", "kind", "known"),
    [
        (NotFoundError("agent", "x"), 404, "not-found", {"kind": "agent", "reference": "x"}),
        (ConflictError("No.", status="running"), 409, "conflict", {"reached": "running"}),
        (SetupRequiredError("Set it.", what="KEY"), 409, "setup-required", {"what": "KEY"}),
        (UnavailableError("Away.", service="shop"), 503, "unavailable", {"service": "shop"}),
        (
            InvalidInputError("Not so.", field="when"),
            422,
            "invalid-input",
            {"errors": [{"field": "body.when", "detail": "Not so."}]},
        ),
        (
            InvalidInputError(
                "Two.",
                faults=[InvalidInputError("A.", field="a"), InvalidInputError("B.", field="b")],
            ),
            422,
            "invalid-input",
            {"errors": [{"field": "body.a", "detail": "A."}, {"field": "body.b", "detail": "B."}]},
        ),
    ],
)
def test_a_problem_has_what_the_error_has(error, status, kind, known):
    told = json.loads(problem_of(FakeRequest(), error).body)
    assert told["status"] == status == status_of(error)
    assert told["type"] == f"urn:rota:problem:{kind}"
    assert told["detail"] == error.message
    assert {name: told[name] for name in known} == known


def test_a_fault_of_the_database_is_not_quoted():
    told = problem_of(FakeRequest(), StatementError("Key (secret)=(of Bob) is there")).body
    assert b"Bob" not in told
    assert b'"status":500' in told


@pytest.mark.parametrize(
    ("path", "command"),
    [("/schedules/nothing", "schedules show nothing"), ("/runs/0000/result", "runs show 0000")],
)
async def test_the_sentence_is_the_one_of_the_command(client, alice, database_url, path, command):
    told = (await client(alice).get(path)).json()
    words = [*command.split(), "--database-url", database_url, "--as", "alice@example.com"]
    typed = await asyncio.to_thread(CliRunner().invoke, app, words)
    assert typed.exception.message == told["detail"]


async def test_several_faults_are_sentences_and_the_title_is_that_of_the_standard(client, alice):
    told = (await client(alice).post("/rules", json={"effect": 5, "wen": 1})).json()
    assert told["title"] == "Unprocessable Content"
    assert len(told["errors"]) > 1
    assert all(f"{one['detail'].rstrip('.')}." in told["detail"] for one in told["errors"])


async def test_what_is_no_object_and_what_is_not_there_is_said_in_plain_words(client, alice):
    me = client(alice)
    refused = (await me.put("/calendars/feasts", json={"days": ["tomorrow"]})).json()
    assert refused["detail"] == "body.days.0: this is an object"
    assert (await me.get("/prices/nobody:knows")).json()["kind"] == "price"
    assert (await me.delete("/pause")).json()["detail"] == "Nothing is paused."
