"""Requests that Schemathesis makes of the OpenAPI: no fault, no leak, and answers as described."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rota.api.callers import Scope
from tests import http_api
from tests.api.world import MARK, populate
from tests.services.harness import Workshop

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
EXAMPLES = 3
"""Requests of each operation, half of which are about things that are there."""

OF_CALLERS = {"Cookie", "Authorization"}
ALONE = {
    *("stream_events", "stream_run_events", "sign_out", "end_session", "remove_person_and_data"),
    *("begin_connection_sign_in", "finish_connection_sign_in"),  # which ask a provider
}


def cases():
    """Return requests of each operation, always the same ones."""
    schema = schemathesis.openapi.from_dict(http_api.described())
    found = []
    for result in schema.get_all_operations():
        operation = result.ok()
        name = operation.definition.raw["operationId"]
        if name in ALONE or "text/event-stream" in str(operation.definition.raw["responses"]):
            continue

        @settings(
            max_examples=EXAMPLES,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy())
        def collect(case):
            found.append((name, case))  # noqa: B023  called at once

        collect()
    return found


def sent(client, case):
    """Return a request as httpx has it; None where httpx cannot even write it."""
    kwargs = case.as_transport_kwargs(base_url="http://127.0.0.1")
    content = kwargs.pop("data", None)
    headers = {
        k: v for k, v in dict(kwargs.pop("headers", None) or {}).items() if k not in OF_CALLERS
    }
    try:
        return client.build_request(
            kwargs["method"],
            kwargs["url"],
            params=kwargs.get("params") or None,
            json=kwargs.get("json"),
            content=content if isinstance(content, str | bytes) else None,
            headers={k: str(v) for k, v in headers.items()},
        )
    except (UnicodeError, httpx.InvalidURL, ValueError):
        return None


@pytest.fixture
async def worlds(client, database, owner, alice, bob):
    theirs = await populate(client(bob), Workshop(database, owner, bob), "bob@example.com")
    desk = Workshop(database, owner, alice)
    await desk.agent()
    return theirs


async def test_requests_made_of_the_description(client, worlds, alice, bob):
    callers = {
        "alice": client(alice),
        "operator": client(alice, operator=True),
        "bob": client(bob),
        "nobody": client(),
        **{str(scope): client(alice, scopes=frozenset({scope})) for scope in Scope},
    }
    faults, count = set(), 0
    for number, (name, case) in enumerate(cases()):
        if number % 2 and case.path_parameters:
            known = {k: v for k, v in worlds.names.items() if k in case.path_parameters}
            case.path_parameters.update(known)
        chosen = list(callers)[number % len(callers)]
        for who in {"alice", chosen}:
            request = sent(callers[who], case)
            if request is None:
                continue
            answer = await callers[who].send(request)
            count += 1
            if MARK in answer.text and who not in {"bob", "operator"}:
                faults.add(f"{name} as {who}: leaks {answer.text[:200]}")
            try:
                case.validate_response(answer, checks=CHECKS)
            except BaseExceptionGroup as group:
                for error in group.exceptions:
                    faults.add(f"{name} as {who}: {' '.join(str(error).split())[:400]}")
            except AssertionError as error:
                faults.add(f"{name} as {who}: {' '.join(str(error).split())[:400]}")
    assert count > 100
    assert not faults, "\n".join(sorted(faults))
